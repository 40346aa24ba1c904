// Package atomicfile writes files atomically and durably: after a crash, a file contains either its old or
// its new text. The package is for the host's own files. The files of accounts are written by the Email
// plugin, which has stricter rules for writing.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// MkdirAll creates a directory and all missing parents with the given mode, whatever the umask is, so that
// others can use what the host puts there. Existing directories stay as they are.
func MkdirAll(dir string, mode os.FileMode) error {
	err := os.Mkdir(dir, mode)
	switch {
	case errors.Is(err, fs.ErrExist):
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return fmt.Errorf("%s exists, but is not a directory, or is a link to nothing", dir)
		}
		return nil
	case errors.Is(err, fs.ErrNotExist):
		if err := MkdirAll(filepath.Dir(dir), mode); err != nil {
			return err
		}
		return MkdirAll(dir, mode)
	case err != nil:
		return err
	}
	return os.Chmod(dir, mode)
}

// Write writes text to the file at path and sets the file's mode to mode. An existing file is replaced.
func Write(path string, text []byte, mode os.FileMode) error {
	return write(path, text, mode, os.Rename, (*os.File).Sync)
}

// WriteNew writes text to a new file at path and sets the file's mode to mode. If path exists, WriteNew
// changes nothing, and its error wraps os.ErrExist.
func WriteNew(path string, text []byte, mode os.FileMode) error {
	place := func(from, to string) error {
		err := os.Link(from, to) // Unlike os.Rename, os.Link never replaces a file.
		_ = os.Remove(from)
		return err
	}
	return write(path, text, mode, place, (*os.File).Sync)
}

// write writes text to a temporary file in the directory of path, calls sync to flush the file to disk, and
// calls place to move the file to path. Then it calls sync for the directory, so that the new name is on
// disk, too.
func write(path string, text []byte, mode os.FileMode, place func(from, to string) error, sync func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".liveapid-")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), sync(f), f.Close())
	if err == nil {
		err = place(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return errors.Join(sync(dir), dir.Close())
}
