package isolate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxLeftFiles is how many names are removed of what a worker left in its folder. A worker makes
// one socket; who makes a million does so to keep root busy.
const maxLeftFiles = 1000

// maxDepth is how deep folders in it may be nested.
const maxDepth = 8

// ErrTooManyFiles is a folder with more in it than is worth removing.
var ErrTooManyFiles = fmt.Errorf("more than %d files, or folders more than %d deep, were left in a worker's folder, which stays", maxLeftFiles, maxDepth)

// Reclaim makes a folder that was handed to a worker the host's again: nothing can be made
// in it any more. The folder that it lies in is root's, so its name stays its own; and the owner
// is changed before it is opened, which without the right to pass by modes only an owner can.
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
	// What was made without a right for its owner is opened for nothing but its mode.
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

// RemoveDir removes a worker's folder with what is in it, following no link, and gives up where
// that is too much. What it removes from can't be filled meanwhile.
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
