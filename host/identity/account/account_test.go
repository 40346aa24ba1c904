package account_test

import (
	"os"
	"os/user"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/protocol"
)

func dir(t *testing.T, files map[string]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "accounts")
	require.NoError(t, os.Mkdir(path, 0o755))
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(path, name), []byte(text), 0o644))
	}
	return path
}

func TestPersonal(t *testing.T) {
	path := dir(t, map[string]string{"demo.toml": "home = \"home/demo\"\ndomains = [\"Example.COM\", \"example.net\"]\n"})
	got, err := account.NewDir(path, true).ByName("demo")
	require.NoError(t, err)
	require.Equal(t, protocol.Account{
		Name: "demo", UID: os.Geteuid(), GID: os.Getegid(), Home: filepath.Join(filepath.Dir(path), "home/demo"), Domains: []string{"example.com", "example.net"},
	}, got)
	require.Equal(t, "example.com", got.MainDomain())
	require.Empty(t, protocol.Account{}.MainDomain())
}

func TestServer(t *testing.T) {
	path := dir(t, map[string]string{
		"alice.toml":  "uid = 1001\ngid = 1001\nhome = \"/home/alice\"\ndomains = [\"a.example\"]\n",
		"bob.toml":    "uid = 1002\ngid = 1002\nhome = \"/home/bob\"\ndomains = [\"b.example\"]\n",
		"twin.toml":   "uid = 1002\ngid = 1002\nhome = \"/home/twin\"\ndomains = [\"c.example\"]\n",
		"root.toml":   "user = \"root\"\ndomains = [\"r.example\"]\n",
		"broken.toml": "uid = ",
		"README":      "not an account",
	})
	d := account.NewDir(path, false)
	names, err := d.Names()
	require.NoError(t, err)
	require.Equal(t, []string{"alice", "bob", "broken", "root", "twin"}, names)
	root, err := d.ByName("root")
	require.NoError(t, err)
	require.Equal(t, 0, root.UID)
	require.Equal(t, "/root", root.Home)
}

func TestBadFilesAndNames(t *testing.T) {
	for text, says := range map[string]string{
		"":                              "home: must be set",
		"home = \"h\"":                  "must contain at least one domain",
		"home = \"h\"\nhoem = 1":        "hoem",
		"home = 5":                      "home",
		"home = \"h\"\ndomains = \"a\"": "domains",
	} {
		_, err := account.NewDir(dir(t, map[string]string{"demo.toml": text}), true).ByName("demo")
		require.ErrorContains(t, err, says, text)
		require.ErrorContains(t, err, "demo.toml")
	}
	_, err := account.NewDir(dir(t, map[string]string{"x.toml": "user = \"no-such-user-here\"\ndomains = [\"a.example\"]"}), false).ByName("x")
	require.ErrorContains(t, err, "user: ")
	d := account.NewDir(dir(t, nil), true)
	for _, name := range []string{"", "nobody", "../demo", "a/b", ".", "-x", "a\nb", "a\x00", "ä"} {
		_, err := d.ByName(name)
		require.ErrorIs(t, err, account.ErrUnknown, "%q", name)
	}
}

func TestSelf(t *testing.T) {
	u, err := user.Current()
	require.NoError(t, err)
	got, err := account.Self()
	require.NoError(t, err)
	require.Equal(t, u.Username, got.Name)
	require.Equal(t, u.HomeDir, got.Home)
	require.Equal(t, os.Geteuid(), got.UID)
}
