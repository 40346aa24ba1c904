package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	require.NoError(t, Write(path, []byte("one"), 0o644))
	require.NoError(t, Write(path, []byte("two"), 0o600))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "two", string(text))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	// If a file can't be replaced, nothing is left behind and the old file is unchanged.
	require.NoError(t, os.Mkdir(filepath.Join(dir, "d"), 0o700))
	require.Error(t, Write(filepath.Join(dir, "d"), []byte("x"), 0o600))
	require.Error(t, Write(filepath.Join(dir, "none", "f"), []byte("x"), 0o600))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2)
}

// The text is synced before the rename, and the directory after it, so that after a power failure the old or
// the new file is complete. A failed sync is reported; before the rename, the old file stays.
func TestWriteIsForGood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, Write(path, []byte("old"), 0o600))
	read := func() string {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(text)
	}
	var synced []string
	record := func(f *os.File) error {
		what := "directory"
		if f.Name() != filepath.Dir(path) {
			text, err := os.ReadFile(f.Name())
			require.NoError(t, err)
			what = string(text)
		}
		synced = append(synced, what+" while it is "+read())
		return f.Sync()
	}
	require.NoError(t, write(path, []byte("new"), 0o600, os.Rename, record))
	require.Equal(t, []string{"new while it is old", "directory while it is new"}, synced)

	broken := errors.New("the disk is broken")
	for n, want := range []string{"new", "newest"} {
		err := write(path, []byte("newest"), 0o600, os.Rename, func(*os.File) error {
			n--
			if n < 0 {
				return broken
			}
			return nil
		})
		require.ErrorIs(t, err, broken)
		require.Equal(t, want, read())
		entries, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Len(t, entries, 1)
	}
}

func TestWriteNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, WriteNew(path, []byte("first"), 0o640))
	require.ErrorIs(t, WriteNew(path, []byte("second"), 0o640), os.ErrExist)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "first", string(text))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing else is left there")
}
