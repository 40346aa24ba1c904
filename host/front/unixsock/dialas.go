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

// DialAs connects root to a UNIX socket as another user: the kernel tells the other end the effective
// uid and gid of the thread that connects, at that moment, and nothing later changes them. The process
// stays root, and so out of that user's reach; what it holds in memory (a configuration's secrets) is
// never in a process with that user's uid.
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

// connectAs connects with the effective user of this thread alone changed for the moment. The real and the
// saved user stay root's, so that the other user can neither signal nor trace the process meanwhile.
func connectAs(fd int, path string, uid, gid int) error {
	runtime.LockOSThread()
	gidBefore, uidBefore := os.Getegid(), os.Geteuid()
	if err := setEffective(gid, uid); err != nil {
		return err // The thread, whose user is not known, stays locked and ends with its goroutine.
	}
	err := unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	if restoreErr := restoreEffective(gidBefore, uidBefore); restoreErr != nil {
		return restoreErr
	}
	runtime.UnlockOSThread()
	return err
}

const keepID = ^uintptr(0) // setresuid and setresgid leave an id that is -1 as it is.

// setEffective changes the thread's effective ids; the group first, while it still may.
func setEffective(gid, uid int) error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESGID, keepID, uintptr(gid), keepID); errno != 0 {
		return fmt.Errorf("gid: %w", errno)
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keepID, uintptr(uid), keepID); errno != 0 {
		return fmt.Errorf("uid: %w", errno)
	}
	return nil
}

// restoreEffective takes root's ids back; the user first, which may change the group again.
func restoreEffective(gid, uid int) error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keepID, uintptr(uid), keepID); errno != 0 {
		return fmt.Errorf("uid: %w", errno)
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESGID, keepID, uintptr(gid), keepID); errno != 0 {
		return fmt.Errorf("gid: %w", errno)
	}
	return nil
}
