package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/config"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "liveapid.toml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

func TestLoad(t *testing.T) {
	path := write(t, `
mode     = "personal"
account  = "demo"
accounts = "accounts"
socket   = "run/s"
run_dir  = "/run/x"
[[plugin]]
path     = "plugins/mail"
sha256   = "`+strings.Repeat("ab", 32)+`"
settings = { scheme = "BLF-CRYPT" }
[limits]
call = "90s"
sessions = 5
`)
	c, err := config.Load(path)
	require.NoError(t, err)
	dir := filepath.Dir(path)
	require.Equal(t, config.Personal, c.Mode)
	require.Equal(t, filepath.Join(dir, "run/s"), c.Socket)
	require.Equal(t, filepath.Join(dir, "accounts"), c.Accounts)
	require.Equal(t, "/run/x", c.RunDir)
	require.Equal(t, filepath.Join(dir, "plugins/mail"), c.Plugins[0].Path)
	require.Equal(t, map[string]any{"scheme": "BLF-CRYPT"}, c.Plugins[0].Settings)
	sum, err := c.Plugins[0].Sum()
	require.NoError(t, err)
	require.Len(t, sum, 32)
	require.Equal(t, config.Duration(90*time.Second), c.Limits.Call)
	require.Equal(t, config.Duration(5*time.Minute), c.Limits.WorkerIdle)
	require.Equal(t, path, c.Path())
}

// Validate reports all mistakes at once.
func TestValidate(t *testing.T) {
	_, err := config.Load(write(t, "mode = \"both\"\naccount = \"a\"\n[[plugin]]\nsha256 = \"abc\"\n[limits]\nsessions = -1\nframe = 99999999\n"))
	for _, says := range []string{`mode: "both" is neither`, "account: ", "plugin 1: sha256: must be 64", "limits.sessions: must not be negative", "limits.frame: must be at most"} {
		require.ErrorContains(t, err, says)
	}
	_, err = config.Load(write(t, "mode = \"server\"\naccount = \"a\"\n"))
	require.ErrorContains(t, err, "accounts: not set; server mode needs")
	require.ErrorContains(t, err, "account: this key is allowed only in personal mode")
	for text, says := range map[string]string{
		"soket = \"x\"": "unknown key", "mode = ": "liveapid.toml", "[limits]\ncall = \"soon\"": "call", "[limits]\nidle = \"-5s\"": "must not be negative",
	} {
		_, err := config.Load(write(t, text))
		require.ErrorContains(t, err, says, text)
	}
}

func TestFind(t *testing.T) {
	t.Setenv(config.Env, "")
	c, err := config.Find("")
	require.NoError(t, err)
	if _, err := os.Stat(config.DefaultPath); err != nil {
		require.Equal(t, config.Personal, c.Mode)
		require.Empty(t, c.Path())
		require.Equal(t, config.DefaultSocket, c.Socket)
	}
	path := write(t, "mode = \"personal\"\n")
	t.Setenv(config.Env, path)
	c, err = config.Find("")
	require.NoError(t, err)
	require.Equal(t, path, c.Path())
	require.Equal(t, "liveapi-email", filepath.Base(c.Plugins[0].Path))
	_, err = config.Find(path + ".gone")
	require.ErrorIs(t, err, os.ErrNotExist, "one that is named must be there")
}
