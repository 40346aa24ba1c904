package account

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRemembered(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "demo.toml")
	write := func(domain string) {
		t.Helper()
		require.NoError(t, os.WriteFile(path, []byte("home = \"/home/demo\"\ndomains = [\""+domain+"\"]\n"), 0o644))
	}
	r := NewRemembered(NewDir(dir, true), "demo")
	age := time.Duration(0)
	r.now = func() time.Time { return time.Now().Add(age) }
	domain := func() string {
		t.Helper()
		a, err := r.Account()
		require.NoError(t, err)
		return a.Domains[0]
	}
	_, err := r.Account()
	require.ErrorIs(t, err, ErrUnknown)

	write("a.example")
	require.Equal(t, "a.example", domain())
	require.Zero(t, r.version, "the file is too young: another change could have the same times")
	write("b.example") // The size does not change.
	require.Equal(t, "b.example", domain())

	age = time.Hour
	require.Equal(t, "b.example", domain())
	require.NotZero(t, r.version)
	r.account.Domains = []string{"remembered.example"}
	require.Equal(t, "remembered.example", domain(), "the file is not read again")

	// The new file differs only in its inode and its time of change.
	old, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Rename(path, path+".old"))
	write("c.example")
	require.NoError(t, os.Chtimes(path, old.ModTime(), old.ModTime()))
	require.Equal(t, "c.example", domain())

	require.NoError(t, os.WriteFile(path, []byte("domains = 1"), 0o644))
	_, err = r.Account()
	require.ErrorContains(t, err, "account file")
	require.NoError(t, os.Remove(path))
	_, err = r.Account()
	require.ErrorIs(t, err, ErrUnknown)
}
