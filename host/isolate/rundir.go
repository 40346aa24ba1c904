package isolate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	runDirPrefix = "liveapid-host-"
	// newDirPrefix is of a directory that is not locked yet. Another host's sweep would
	// take one of the other prefix for a dead host's.
	newDirPrefix = "liveapid-new-"
	// newDirAge is how old a directory that was never locked must be to count as left.
	newDirAge = time.Minute
	// maxRunDir keeps room for go-plugin's "/plugin-dirNNNNNNNNNN/pluginNNNNNNNNNN"
	// within the 107 bytes of a UNIX socket's path.
	maxRunDir = 107 - 42
)

// RunDir is one host's private directory for the sockets of its workers.
type RunDir struct {
	Path string
	lock *os.File // Locked as long as the host lives; tells the living from the dead.
}

// NewRunDir makes a directory in parent, or in the temporary directory where parent is
// "" or too long for socket paths, and removes the directories that dead hosts left.
// In server mode tenants must reach their own sockets below it: mode is then 0711.
func NewRunDir(parent string, mode os.FileMode) (*RunDir, error) {
	if parent == "" || len(parent)+len("/liveapid-host-0123456789") > maxRunDir {
		parent = filepath.Join(os.TempDir(), fmt.Sprintf("liveapid-%d", os.Geteuid()))
		if err := ownDir(parent, mode); err != nil {
			// Somebody else took the name, which must not keep this user's hosts down.
			parent = os.TempDir()
		}
	}
	if err := os.MkdirAll(parent, mode); err != nil {
		return nil, fmt.Errorf("make the run directory: %w", err)
	}
	sweep(parent)
	path, err := os.MkdirTemp(parent, newDirPrefix)
	if err != nil {
		return nil, fmt.Errorf("make the run directory: %w", err)
	}
	d, err := claim(path, mode)
	if err != nil {
		_ = os.Remove(path)
		return nil, fmt.Errorf("make the run directory: %w", err)
	}
	return d, nil
}

// claim locks a new directory and gives it the name of a living host's.
func claim(path string, mode os.FileMode) (*RunDir, error) {
	lock, err := lockDir(path)
	if err != nil {
		return nil, err
	}
	name := runDirPrefix + strings.TrimPrefix(filepath.Base(path), newDirPrefix)
	claimed := filepath.Join(filepath.Dir(path), name)
	if err = os.Chmod(path, mode); err == nil {
		err = os.Rename(path, claimed)
	}
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return &RunDir{Path: claimed, lock: lock}, nil
}

// ownDir makes path, or checks that the one that is there is ours alone: others may
// make names in a shared temporary directory. Either way it ends with mode.
func ownDir(path string, mode os.FileMode) error {
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the run directory: %w", err)
	}
	dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("open the run directory: %w", err)
	}
	defer func() { _ = dir.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return fmt.Errorf("open the run directory: %w", err)
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return fmt.Errorf("run directory %s: it must be a directory that user %d owns and nobody else can write", path, os.Geteuid())
	}
	// The umask may have taken bits away, or a host of another mode made it. It is never
	// closed again: another host may need it open.
	if want := uint32(mode.Perm()) &^ st.Mode; want != 0 {
		return dir.Chmod(os.FileMode(st.Mode&0o777) | mode.Perm())
	}
	return nil
}

func lockDir(path string) (*os.File, error) {
	dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = dir.Close()
		return nil, err
	}
	return dir, nil
}

// sweep removes the directories in parent whose host is gone.
func sweep(parent string) {
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		if !e.IsDir() || !ours(e) || !strings.HasPrefix(e.Name(), runDirPrefix) && !abandoned(e) {
			continue
		}
		path := filepath.Join(parent, e.Name())
		dir, err := lockDir(path)
		if err != nil {
			continue // Its host lives.
		}
		removeRunDir(path)
		_ = dir.Close()
	}
}

// removeRunDir removes a host's directory: the workers' in it, each within bounds, then itself.
func removeRunDir(path string) {
	entries, _ := os.ReadDir(path)
	for _, e := range entries {
		if name := filepath.Join(path, e.Name()); os.Remove(name) != nil {
			_ = RemoveDir(name)
		}
	}
	_ = os.Remove(path)
}

// ours tells whether the directory is this user's; in a shared parent others have theirs.
func ours(e os.DirEntry) bool {
	info, err := e.Info()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// abandoned tells whether a host died between making its directory and locking it.
func abandoned(e os.DirEntry) bool {
	info, err := e.Info()
	return err == nil && strings.HasPrefix(e.Name(), newDirPrefix) && time.Since(info.ModTime()) > newDirAge
}

// Close removes the directory.
func (d *RunDir) Close() error {
	removeRunDir(d.Path)
	_ = d.lock.Close()
	if _, err := os.Lstat(d.Path); err == nil {
		return fmt.Errorf("%s: %w", d.Path, ErrTooManyFiles)
	}
	return nil
}
