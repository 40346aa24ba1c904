package unixsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/protocol"
)

// Listen creates the UNIX socket at path and listens on it. It replaces a socket that remained after a host
// ended without removing it. mode decides which users may connect; Of returns the user of an accepted
// connection.
func Listen(path string, mode os.FileMode) (*net.UnixListener, error) {
	if len(path) > protocol.MaxSocketPath {
		return nil, fmt.Errorf("socket %s: the path of a UNIX socket can have at most %d bytes, but this path has %d; choose a shorter path", path, protocol.MaxSocketPath, len(path))
	}
	// Without the lock, if two hosts start at once, each of them could take the other's new socket for a
	// stale socket and remove it.
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("listen: lock: %w", err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// The kernel gives the new socket the mode of the descriptor, without the bits of the umask. So before the
	// chmod below nobody can connect who may not. The umask itself belongs to the whole process, and must not
	// change while other goroutines create files.
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), uint32(mode)) })
		return errors.Join(err, failed)
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(path, mode); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l.(*net.UnixListener), nil
}

// removeStale removes the socket at path if no process listens on it. It returns an error if a process
// listens, or if path is not a socket.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if st.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("socket %s: the path exists, but is not a socket; move that file away", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("socket %s: another host already listens on this socket", path)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("socket %s: %w", filepath.Base(path), err)
	}
	return os.Remove(path)
}
