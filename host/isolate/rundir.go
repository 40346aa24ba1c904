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
	// newDirPrefix marks a directory that is not locked yet. With the other prefix, another host's sweep
	// would take it for a dead host's directory.
	newDirPrefix = "liveapid-new-"
	// newDirAge is the age from which a directory that was never locked counts as abandoned.
	newDirAge = time.Minute
	// maxRunDir leaves room for go-plugin's "/plugin-dirNNNNNNNNNN/pluginNNNNNNNNNN" within the 107 bytes of
	// a UNIX socket's path.
	maxRunDir = 107 - 42
)

// RunDir is a host's private directory for the sockets of its workers.
type RunDir struct {
	Path string
	lock *os.File // Locked as long as the host lives, so that other hosts know that it does.
}

// NewRunDir makes a directory in parent, or in the temporary directory if parent is "" or too long for the
// paths of sockets. It removes the directories of dead hosts. In server mode, tenants must reach their own
// sockets below it, so mode is 0711.
func NewRunDir(parent string, mode os.FileMode) (*RunDir, error) {
	if parent == "" || len(parent)+len("/liveapid-host-0123456789") > maxRunDir {
		parent = filepath.Join(os.TempDir(), fmt.Sprintf("liveapid-%d", os.Geteuid()))
		if err := ownDir(parent, mode); err != nil {
			// Another user took the name. That must not keep this user's hosts from starting.
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

// claim locks a new directory and renames it to a living host's name.
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

// ownDir makes path, or checks that the existing directory belongs to this user alone: in a shared temporary
// directory, other users can create names. In both cases the directory ends up with mode.
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
	// The umask may have removed permissions, or a host in another mode made the directory. Permissions are
	// only added, because another host may need them.
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

// sweep removes the directories of dead hosts in parent.
func sweep(parent string) {
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		if !e.IsDir() || !ours(e) || !strings.HasPrefix(e.Name(), runDirPrefix) && !abandoned(e) {
			continue
		}
		path := filepath.Join(parent, e.Name())
		dir, err := lockDir(path)
		if err != nil {
			continue // Its host is alive.
		}
		removeRunDir(path)
		_ = dir.Close()
	}
}

// removeRunDir removes a host's directory: the workers' directories in it, within the limits of RemoveDir,
// and then itself.
func removeRunDir(path string) {
	entries, _ := os.ReadDir(path)
	for _, e := range entries {
		if name := filepath.Join(path, e.Name()); os.Remove(name) != nil {
			_ = RemoveDir(name)
		}
	}
	_ = os.Remove(path)
}

// ours reports whether the directory belongs to this user. In a shared parent, other users have directories,
// too.
func ours(e os.DirEntry) bool {
	info, err := e.Info()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// abandoned reports whether a host died between making its directory and locking it.
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
