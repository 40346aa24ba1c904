package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// maxLitter is how many names are removed of what a worker left in its folder. A worker makes
// one socket; who makes a million does so to keep root busy.
const maxLitter = 1000

// errLitter is a folder with more in it than is worth removing.
var errLitter = fmt.Errorf("more than %d files were left in a worker's folder, which stays", maxLitter)

// takeBack makes a folder that was handed to a worker the host's again: nothing can be made
// in it any more.
func takeBack(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "take back", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	return takeBackFD(fd)
}

func takeBackFD(fd int) error {
	if err := unix.Fchown(fd, os.Geteuid(), os.Getegid()); err != nil {
		return err
	}
	return unix.Fchmod(fd, 0o700)
}

// removeDir removes a worker's folder with what is in it, following no link, and gives up where
// that is too much. What it removes from can't be filled meanwhile.
func removeDir(path string) error {
	left := maxLitter
	err := removeAt(unix.AT_FDCWD, path, &left)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func removeAt(parent int, name string, left *int) error {
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	dir := os.NewFile(uintptr(fd), name)
	defer func() { _ = dir.Close() }()
	if err := takeBackFD(fd); err != nil {
		return err
	}
	for {
		names, err := dir.Readdirnames(100)
		for _, n := range names {
			if *left--; *left < 0 {
				return errLitter
			}
			err := unix.Unlinkat(fd, n, 0)
			if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EPERM) {
				err = removeAt(fd, n, left)
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
