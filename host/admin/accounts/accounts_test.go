package accounts_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/admin/accounts"
	"github.com/liveapid/liveapid/host/config"
)

// world returns the configuration of a personal host whose accounts are in files.
func world(t *testing.T) *config.Config {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "accounts"), 0o700))
	path := filepath.Join(dir, "liveapid.toml")
	require.NoError(t, os.WriteFile(path, []byte("account = \"alice\"\naccounts = \"accounts\"\n"), 0o600))
	c, err := config.Load(path)
	require.NoError(t, err)
	return c
}

func TestCreateFindDelete(t *testing.T) {
	c := world(t)
	path, err := accounts.Create(c, "alice", t.TempDir(), []string{"a.example", "b.example"})
	require.NoError(t, err)
	require.FileExists(t, path)
	a, err := accounts.Find(c, "alice")
	require.NoError(t, err)
	require.Equal(t, []string{"a.example", "b.example"}, a.Domains)
	_, problems := accounts.Check(c)
	require.Empty(t, problems)
	_, err = accounts.Create(c, "alice", t.TempDir(), []string{"c.example"})
	require.Error(t, err, "the name is taken")
	chosen, err := accounts.Chosen(c, "alice")
	require.NoError(t, err)
	require.Len(t, chosen, 1)
	_, err = accounts.Chosen(c, "bob")
	require.ErrorContains(t, err, "serves only the account alice")

	require.NoError(t, accounts.Delete(c, "alice"))
	require.NoFileExists(t, path)
	require.ErrorContains(t, accounts.Delete(c, "alice"), `there is no account "alice"`)
	_, err = accounts.Find(c, "alice")
	require.Error(t, err)
}

func TestCreateRejects(t *testing.T) {
	c := world(t)
	for name, args := range map[string]struct {
		name, home string
		domains    []string
	}{
		"a bad name":   {"../x", "/home/x", []string{"a.example"}},
		"no domain":    {"alice", "/home/x", nil},
		"a bad domain": {"alice", "/home/x", []string{"a_b"}},
		"no home":      {"alice", "", []string{"a.example"}},
	} {
		_, err := accounts.Create(c, args.name, args.home, args.domains)
		var usage admin.UsageError
		require.ErrorAs(t, err, &usage, name)
	}
	c.Accounts = ""
	_, err := accounts.Create(c, "alice", "/home/x", []string{"a.example"})
	require.ErrorContains(t, err, "the configuration key accounts")
}

// Suspending changes only lines of its own. Comments and all other lines stay.
func TestSetSuspended(t *testing.T) {
	c := world(t)
	path := filepath.Join(c.Accounts, "alice.toml")
	home := t.TempDir()
	text := "# Alice's account.\nhome = \"" + home + "\"\ndomains = [\"a.example\"]\n\n[data]\nsuspended = \"kept\"\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	require.NoError(t, accounts.SetSuspended(c, "alice", true))
	require.NoError(t, accounts.SetSuspended(c, "alice", true), "again")
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Regexp(t, `^suspend_time = \d+\nsuspended = true\n`, string(got))
	require.True(t, strings.HasSuffix(string(got), text), "all other lines stay")
	require.NoError(t, accounts.SetSuspended(c, "alice", false))
	got, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, text, string(got))
	require.Error(t, accounts.SetSuspended(c, "bob", true))
}

func TestCheck(t *testing.T) {
	c := world(t)
	path := filepath.Join(c.Accounts, "alice.toml")
	require.NoError(t, os.WriteFile(path, []byte("home = \"/nonexistent/alice\"\ndomains = [\"a.example\"]\n"), 0o644))
	all, problems := accounts.Check(c)
	require.Len(t, all, 1)
	require.Len(t, problems, 1)
	require.Contains(t, problems[0], "account alice: its home directory /nonexistent/alice: no such file")
}
