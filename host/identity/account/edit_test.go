package account

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEdit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "alice.toml")
	require.NoError(t, os.WriteFile(path, []byte("# Alice\ndomains = [\"a.example\"] # main\n[data]\nIP = \"192.0.2.1\"\n"), 0o600))
	f, err := Edit(dir, "alice", Change{Keys: map[string]string{"plan": Quoted("a \"big\"\none")}, Data: map[string]string{"OWNER": Quoted("bob"), "IP": ""}})
	require.NoError(t, err)
	require.Equal(t, "a \"big\"\none", f.Plan)
	require.Equal(t, map[string]string{"OWNER": "bob"}, f.Data)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "plan = \"a \\\"big\\\"\\u000Aone\"\n# Alice\ndomains = [\"a.example\"] # main\n[data]\nOWNER = \"bob\"\n", string(text))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "the mode stays")

	// A line that looks like a table is part of a text. The file stays as it is.
	odd := "domains = [\"a.example\"]\ncontact = \"\"\"\n[data]\n\"\"\"\n"
	require.NoError(t, os.WriteFile(path, []byte(odd), 0o600))
	_, err = Edit(dir, "alice", Change{Data: map[string]string{"OWNER": Quoted("bob")}})
	require.ErrorContains(t, err, "change it by hand")
	text, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, odd, string(text))

	for _, name := range []string{"nobody", "../alice", ""} {
		_, err = Edit(dir, name, Suspension(true, "", time.Now()))
		require.ErrorIs(t, err, ErrNoFile)
		require.ErrorIs(t, Remove(dir, name), ErrNoFile)
	}
	_, err = Edit(filepath.Join(dir, "missing"), "alice", Suspension(true, "", time.Now()))
	require.ErrorIs(t, err, ErrNoFile)
}

// Changes at the same time are all kept, and no change brings back a removed account.
func TestEditAtTheSameTime(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "alice.toml")
	for round := range 50 {
		require.NoError(t, os.WriteFile(path, []byte("domains = [\"a.example\"]\n"), 0o644))
		plan := Quoted(strconv.Itoa(round))
		var all sync.WaitGroup
		for _, change := range []Change{Suspension(true, "late", time.Now()), {Keys: map[string]string{"plan": plan}}, {Data: map[string]string{"OWNER": plan}}} {
			all.Go(func() {
				_, err := Edit(dir, "alice", change)
				require.NoError(t, err)
			})
		}
		all.Wait()
		f, err := Edit(dir, "alice", Change{})
		require.NoError(t, err)
		require.True(t, f.Suspended)
		require.Equal(t, []string{strconv.Itoa(round), strconv.Itoa(round)}, []string{f.Plan, f.Data["OWNER"]})

		all.Go(func() { _, _ = Edit(dir, "alice", Suspension(false, "", time.Now())) })
		all.Go(func() { require.NoError(t, Remove(dir, "alice")) })
		all.Wait()
		require.NoFileExists(t, path)
	}
}
