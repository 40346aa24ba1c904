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

// DialAs connects to a UNIX socket as another user; it needs root. The kernel tells the other end the
// effective uid and gid that the connecting thread has at that moment, and nothing changes them later. The
// process stays root and out of the user's reach: its memory, which may hold secrets of the configuration, is
// never in a process with the user's uid.
func DialAs(path string, uid, gid int) (*net.UnixConn, error) {
	if len(path) > protocol.MaxSocketPath {
		return nil, fmt.Errorf("socket %s: a socket's path has at most %d bytes, this one has %d", path, protocol.MaxSocketPath, len(path))
	}
	if uid <= 0 || gid <= 0 {
		return nil, errors.New("connect as another user: root is not one")
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

// Dial connects to a UNIX socket as the running user.
func Dial(path string) (*net.UnixConn, error) {
	return net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
}

// connectAs connects with a changed effective user of this thread only. The real and the saved user stay
// root, so that the other user can neither signal nor trace the process meanwhile.
func connectAs(fd int, path string, uid, gid int) error {
	runtime.LockOSThread()
	gidBefore, uidBefore := os.Getegid(), os.Geteuid()
	if err := setEffective(gid, uid); err != nil {
		return err // The thread's user is not known. The thread stays locked and ends with its goroutine.
	}
	err := unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	if restoreErr := restoreEffective(gidBefore, uidBefore); restoreErr != nil {
		return restoreErr
	}
	runtime.UnlockOSThread()
	return err
}

const keepID = ^uintptr(0) // setresuid and setresgid leave an id unchanged if it is -1.

// setEffective changes the thread's effective ids. The gid comes first, while the thread may still change it.
func setEffective(gid, uid int) error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESGID, keepID, uintptr(gid), keepID); errno != 0 {
		return fmt.Errorf("gid: %w", errno)
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keepID, uintptr(uid), keepID); errno != 0 {
		return fmt.Errorf("uid: %w", errno)
	}
	return nil
}

// restoreEffective restores root's ids. The uid comes first, because it allows changing the gid.
func restoreEffective(gid, uid int) error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keepID, uintptr(uid), keepID); errno != 0 {
		return fmt.Errorf("uid: %w", errno)
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESGID, keepID, uintptr(gid), keepID); errno != 0 {
		return fmt.Errorf("gid: %w", errno)
	}
	return nil
}
