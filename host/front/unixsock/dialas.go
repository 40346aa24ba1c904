package unixsock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/protocol"
)

// DialAs connects to the UNIX socket at path as the user with the given uid and gid. The calling process must
// be root. The kernel reports to the server the effective ids that the connecting thread has at the time of
// connect; later changes of the thread's ids have no effect. DialAs does not start a process with the user's
// uid, because the user could read the memory of such a process, which may contain secrets of the
// configuration.
func DialAs(path string, uid, gid int) (*net.UnixConn, error) {
	if len(path) > protocol.MaxSocketPath {
		return nil, fmt.Errorf("socket %s: the path of a UNIX socket can have at most %d bytes, but this path has %d", path, protocol.MaxSocketPath, len(path))
	}
	if uid <= 0 || gid <= 0 {
		return nil, errors.New("connect as another user: the uid and the gid must not be 0 (root)")
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), path)
	defer func() { _ = file.Close() }()
	if err := connectAs(fd, path, uid, gid); err != nil {
		return nil, &net.OpError{Op: "dial", Net: "unix", Addr: &net.UnixAddr{Name: path, Net: "unix"}, Err: err}
	}
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// Dial connects to the UNIX socket at path as the user that runs this process.
func Dial(path string) (*net.UnixConn, error) {
	return net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
}

// connectAs changes the effective ids of the current thread only, connects, and restores the ids. The
// thread's real and saved uids stay root's, so that the other user can neither signal nor trace the process
// during the connect.
func connectAs(fd int, path string, uid, gid int) error {
	runtime.LockOSThread()
	gidBefore, uidBefore := os.Getegid(), os.Geteuid()
	if err := setEffective(gid, uid); err != nil {
		return err // Don't unlock the thread: Go ends it with the goroutine.
	}
	err := unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	if restoreErr := restoreEffective(gidBefore, uidBefore); restoreErr != nil {
		return restoreErr
	}
	runtime.UnlockOSThread()
	return err
}

const keepID = ^uintptr(0) // The id -1: setresuid and setresgid leave the id unchanged.

// setEffective changes the thread's effective ids. It sets the gid first, because a thread that no longer has
// root's effective uid may not change its gid.
func setEffective(gid, uid int) error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESGID, keepID, uintptr(gid), keepID); errno != 0 {
		return fmt.Errorf("gid: %w", errno)
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keepID, uintptr(uid), keepID); errno != 0 {
		return fmt.Errorf("uid: %w", errno)
	}
	return nil
}

// restoreEffective restores the thread's effective ids. It sets the uid first, because only root may change
// the gid.
func restoreEffective(gid, uid int) error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keepID, uintptr(uid), keepID); errno != 0 {
		return fmt.Errorf("uid: %w", errno)
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESGID, keepID, uintptr(gid), keepID); errno != 0 {
		return fmt.Errorf("gid: %w", errno)
	}
	return nil
}
