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
	return write(path, text, mode, (*os.File).Sync)
}

// write is Write with what puts a file, or a folder, on disk.
func write(path string, text []byte, mode os.FileMode, sync func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".liveapid-")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), sync(f), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
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
