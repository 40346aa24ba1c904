package plugins_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/admin/plugins"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/hosttest"
)

// A plugin is registered with its checksum, checked, and removed; a changed program is found.
func TestAddCheckRemove(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	dir := filepath.Join(w.Dir, "plugins")
	require.NoError(t, os.Mkdir(dir, 0o755))
	w.Set(t, "mode ", "plugin_dir = \"plugins\"\nmode ")
	program := filepath.Join(w.Dir, "my-email")
	text, err := os.ReadFile(hosttest.Bin(t, "liveapi-email"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, text, 0o755))
	c, err := config.Load(w.Config)
	require.NoError(t, err)
	c.Plugins = nil

	added, err := plugins.Add(t.Context(), c, "", program, nil)
	require.NoError(t, err)
	require.Equal(t, plugins.Added{Name: "my-email", File: filepath.Join(dir, "my-email.toml"), Modules: []string{"Email", "PasswdStrength", "NVData", "Personalization", "Quota"}}, added)
	_, err = plugins.Add(t.Context(), c, "", program, nil)
	require.ErrorContains(t, err, "already registered")
	findings := plugins.Check(t.Context(), c)
	require.Len(t, findings, 1)
	require.Equal(t, plugins.Good, findings[0].Kind)
	require.Contains(t, findings[0].Text, "plugin my-email serves Email PasswdStrength NVData Personalization Quota, ")

	require.NoError(t, os.WriteFile(program, append(text, 0), 0o755))
	findings = plugins.Check(t.Context(), c)
	require.Len(t, findings, 1)
	require.Equal(t, plugins.Problem, findings[0].Kind)
	require.Contains(t, findings[0].Text, "its SHA-256 is")

	require.NoError(t, plugins.Remove(c, "my-email"))
	require.ErrorContains(t, plugins.Remove(c, "my-email"), "there is no plugin")
	require.ErrorContains(t, plugins.Remove(c, "../x"), "there is no plugin")
}

// A program that is not a plugin is not registered.
func TestAddRejects(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	c, err := config.Load(w.Config)
	require.NoError(t, err)
	_, err = plugins.Add(t.Context(), c, "", "/bin/true", nil)
	require.ErrorContains(t, err, "the configuration key plugin_dir")
	c.PluginDir = t.TempDir()
	_, err = plugins.Add(t.Context(), c, "a/b", "/bin/true", nil)
	var usage admin.UsageError
	require.ErrorAs(t, err, &usage)
	_, err = plugins.Add(t.Context(), c, "", "/bin/true", nil)
	require.ErrorContains(t, err, "can't be used as a plugin and was not registered")
	left, err := os.ReadDir(c.PluginDir)
	require.NoError(t, err)
	require.Empty(t, left)
}
