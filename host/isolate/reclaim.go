package isolate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxLeftFiles limits the number of files that are removed from a worker's directory. A worker makes a single
// socket; a million files could only serve to keep root busy.
const maxLeftFiles = 1000

// maxDepth limits the nesting of directories in it.
const maxDepth = 8

// ErrTooManyFiles is returned for a directory with more files than are removed.
var ErrTooManyFiles = fmt.Errorf("a worker left more than %d files, or directories more than %d levels deep, in its directory, which was not removed", maxLeftFiles, maxDepth)

// Reclaim takes a worker's directory back for the host, so that the worker can't create files in it any more.
// Its parent belongs to root, so its name can't be changed. The owner is changed before the directory is
// opened, because its mode may allow only the owner to open it.
func Reclaim(path string) error { return reclaimAt(unix.AT_FDCWD, path) }

func reclaimAt(parent int, name string) error {
	fd, err := openReclaimed(parent, name)
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}

func openReclaimed(parent int, name string) (fd int, err error) {
	if err := unix.Fchownat(parent, name, os.Geteuid(), os.Getegid(), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return -1, &fs.PathError{Op: "take back", Path: name, Err: err}
	}
	// A directory without permissions for its owner can only be opened with O_PATH, which is enough to change
	// its mode.
	path, err := unix.Openat(parent, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &fs.PathError{Op: "take back", Path: name, Err: err}
	}
	defer func() { _ = unix.Close(path) }()
	self := "/proc/self/fd/" + strconv.Itoa(path)
	if err := unix.Chmod(self, 0o700); err != nil {
		return -1, &fs.PathError{Op: "take back", Path: name, Err: err}
	}
	return unix.Open(self, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// RemoveDir removes a worker's directory with its files. It follows no link, and gives up if there are too
// many files. Each directory is reclaimed first, so that it can't be filled meanwhile.
func RemoveDir(path string) error {
	left := maxLeftFiles
	err := removeAt(unix.AT_FDCWD, path, maxDepth, &left)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func removeAt(parent int, name string, deeper int, left *int) error {
	if deeper < 0 {
		return ErrTooManyFiles
	}
	fd, err := openReclaimed(parent, name)
	if err != nil {
		return err
	}
	dir := os.NewFile(uintptr(fd), name)
	defer func() { _ = dir.Close() }()
	for {
		names, err := dir.Readdirnames(100)
		for _, n := range names {
			if *left--; *left < 0 {
				return ErrTooManyFiles
			}
			err := unix.Unlinkat(fd, n, 0)
			if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EPERM) {
				err = removeAt(fd, n, deeper-1, left)
			}
			if err != nil {
				return err
			}
		}
		if err != nil || len(names) == 0 {
			break
		}
	}
	return unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
}
