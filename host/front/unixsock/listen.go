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

// Listen makes the UNIX socket at path and listens on it. It replaces a socket that a dead host left. The
// mode limits the users that may connect; SO_PEERCRED names the user that did.
func Listen(path string, mode os.FileMode) (*net.UnixListener, error) {
	if len(path) > protocol.MaxSocketPath {
		return nil, fmt.Errorf("socket %s: a socket's path has at most %d bytes, this one has %d; choose a shorter directory", path, protocol.MaxSocketPath, len(path))
	}
	// The lock keeps two hosts that start at once from taking each other's socket for a dead host's.
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
	// The umask gives the socket its mode from the start: a client that connects before chmod would fail.
	old := unix.Umask(0o777 &^ int(mode))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(path, mode); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// removeStale removes a socket on which no process listens. It removes nothing else.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if st.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("socket %s: a file that is not a socket is there; move it away", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("socket %s: another host listens there already", path)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("socket %s: %w", filepath.Base(path), err)
	}
	return os.Remove(path)
}
