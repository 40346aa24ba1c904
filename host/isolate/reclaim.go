package isolate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxLeftFiles is the maximum number of files that RemoveDir removes from a worker's directory. A worker
// needs a single socket; the only purpose of a million files would be to keep root busy.
const maxLeftFiles = 1000

// maxDepth is the maximum depth of nested directories in a worker's directory.
const maxDepth = 8

// ErrTooManyFiles is returned if a directory contains more files or deeper directories than RemoveDir
// removes.
var ErrTooManyFiles = fmt.Errorf("a worker left more than %d files, or directories more than %d levels deep, in its directory, which was not removed", maxLeftFiles, maxDepth)

// Reclaim makes the host the owner of a worker's directory again, so that the worker can't create any more
// files in the directory. The parent directory belongs to root, so the worker can't rename or replace the
// directory. Reclaim changes the owner before it opens the directory, because the mode of the directory may
// allow only its owner to open it.
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
	// A directory with a mode that gives its owner no permissions can only be opened with O_PATH, which is enough
	// to change the mode.
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

// RemoveDir removes a worker's directory and the files in it. It follows no links, and returns
// ErrTooManyFiles if there are too many files. It reclaims each directory before it removes the files, so
// that the worker can't create files in the meantime. A directory that does not exist is no error.
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
