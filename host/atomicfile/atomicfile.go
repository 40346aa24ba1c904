// Package atomicfile replaces a file whole or not at all, and for good: what the host keeps of its own.
// The files of accounts are the Email plugin's, which has more to mind.
package atomicfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Write puts text at path with a mode, in place of what is there.
func Write(path string, text []byte, mode os.FileMode) error {
	return write(path, text, mode, os.Rename, (*os.File).Sync)
}

// WriteNew puts text at path with a mode. The error wraps os.ErrExist if something is there.
func WriteNew(path string, text []byte, mode os.FileMode) error {
	place := func(from, to string) error {
		err := os.Link(from, to) // Unlike a rename it replaces nothing.
		_ = os.Remove(from)
		return err
	}
	return write(path, text, mode, place, (*os.File).Sync)
}

// write writes a file beside path and has place move it there; sync puts a file, or a directory, on
// disk.
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
