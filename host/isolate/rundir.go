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
	// newDirPrefix is the prefix of a new run directory until it is locked. The directory must not have
	// runDirPrefix before that: another host, which removes the directories of dead hosts, would treat an
	// unlocked directory with runDirPrefix as one of these and remove it.
	newDirPrefix = "liveapid-new-"
	// newDirAge is the age at which a directory that was never locked counts as abandoned.
	newDirAge = time.Minute
	// maxRunDir is the maximum length of a run directory's path. The socket's path may have 107 bytes in
	// total; 42 bytes are reserved for the text "/plugin-dirNNNNNNNNNN/pluginNNNNNNNNNN", which go-plugin
	// appends.
	maxRunDir = 107 - 42
)

// RunDir is a host's private directory, in which go-plugin creates a directory for the socket of each worker.
type RunDir struct {
	Path string
	lock *os.File // Locked while the host runs; shows that the host is alive.
}

// NewRunDir creates a directory for this host in parent. If parent is "", or so long that the path of a
// socket below it would be too long, the directory is created below the system's temporary directory.
// NewRunDir also removes the directories of dead hosts. In server mode, mode must be 0711, because tenants
// must reach their own sockets below the directory.
func NewRunDir(parent string, mode os.FileMode) (*RunDir, error) {
	if parent == "" || len(parent)+len("/liveapid-host-0123456789") > maxRunDir {
		parent = filepath.Join(os.TempDir(), fmt.Sprintf("liveapid-%d", os.Geteuid()))
		if err := ownDir(parent, mode); err != nil {
			// The directory can't be used, for example because another user has created a directory with this
			// name. In that case the system's temporary directory itself is the parent, so that another user
			// can't prevent this user's hosts from starting.
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

// claim locks a new directory, then renames it from newDirPrefix to runDirPrefix, the prefix of a running
// host's directory.
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

// ownDir creates the directory path, or uses an existing directory that belongs to this user and that no
// other user can write. It returns an error for any other existing file, because in a shared temporary
// directory another user may have created path. ownDir adds the permissions of mode that the directory lacks.
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
		return fmt.Errorf("run directory %s: must be a directory that belongs to uid %d and that no other user can write", path, os.Geteuid())
	}
	// The umask may have removed permissions, or a host in another mode may have created the directory.
	// Permissions are added but never removed, because another host may need them.
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

// sweep removes the directories that dead hosts of this user left in parent.
func sweep(parent string) {
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		if !e.IsDir() || !ours(e) || !strings.HasPrefix(e.Name(), runDirPrefix) && !abandoned(e) {
			continue
		}
		path := filepath.Join(parent, e.Name())
		dir, err := lockDir(path)
		if err != nil {
			continue // The host of this directory is alive.
		}
		removeRunDir(path)
		_ = dir.Close()
	}
}

// removeRunDir removes a host's run directory: first the directories of the workers in it, within the limits
// of RemoveDir, and then the run directory itself.
func removeRunDir(path string) {
	entries, _ := os.ReadDir(path)
	for _, e := range entries {
		if name := filepath.Join(path, e.Name()); os.Remove(name) != nil {
			_ = RemoveDir(name)
		}
	}
	_ = os.Remove(path)
}

// ours reports whether the directory belongs to this user. A shared parent also contains directories of other
// users.
func ours(e os.DirEntry) bool {
	info, err := e.Info()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// abandoned reports whether e is a directory that was never locked and is older than newDirAge: its host died
// between creating and locking it.
func abandoned(e os.DirEntry) bool {
	info, err := e.Info()
	return err == nil && strings.HasPrefix(e.Name(), newDirPrefix) && time.Since(info.ModTime()) > newDirAge
}

// Close removes the directory and releases its lock. It returns an error if the directory could not be
// removed.
func (d *RunDir) Close() error {
	removeRunDir(d.Path)
	_ = d.lock.Close()
	if _, err := os.Lstat(d.Path); err == nil {
		return fmt.Errorf("%s: %w", d.Path, ErrTooManyFiles)
	}
	return nil
}
