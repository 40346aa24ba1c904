// Package atomicfile replaces a file completely or not at all, and durably. It is for the host's own files.
// Files of accounts are written by the Email plugin, which has more rules.
package atomicfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Write writes text to path with a mode, and replaces an existing file.
func Write(path string, text []byte, mode os.FileMode) error {
	return write(path, text, mode, os.Rename, (*os.File).Sync)
}

// WriteNew writes text to path with a mode. The error wraps os.ErrExist if path exists.
func WriteNew(path string, text []byte, mode os.FileMode) error {
	place := func(from, to string) error {
		err := os.Link(from, to) // Unlike a rename, a link replaces nothing.
		_ = os.Remove(from)
		return err
	}
	return write(path, text, mode, place, (*os.File).Sync)
}

// write writes a temporary file in the directory of path; place moves it to path, and sync flushes a file or
// a directory to disk.
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
