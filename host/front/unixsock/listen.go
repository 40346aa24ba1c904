package unixsock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

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
	l, err := listen(path, mode)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// listen creates the socket and sets its mode before it listens: nobody can connect before who may not, and no
// caller for whom the socket is meant is refused by a mode that is not set yet.
func listen(path string, mode os.FileMode) (*net.UnixListener, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	socket := os.NewFile(uintptr(fd), path)
	defer func() { _ = socket.Close() }()
	// The kernel gives the name of the socket the mode of the descriptor, without the bits of the umask. The umask
	// belongs to the whole process, and must not change while other goroutines create files.
	if err := unix.Fchmod(fd, uint32(mode)); err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, err
	}
	err = os.Chmod(path, mode)
	if err == nil {
		err = unix.Listen(fd, unix.SOMAXCONN)
	}
	var l net.Listener
	if err == nil {
		l, err = net.FileListener(socket)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	socketListener := l.(*net.UnixListener)
	socketListener.SetUnlinkOnClose(true)
	return socketListener, nil
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
