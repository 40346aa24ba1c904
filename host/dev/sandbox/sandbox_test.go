package sandbox_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/daemon"
	"github.com/liveapid/liveapid/host/dev/sandbox"
)

// The sandbox is a valid configuration. A directory that is not empty is not changed.
func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	signIn, err := sandbox.Write(dir, "$6$hash")
	require.NoError(t, err)
	require.Len(t, signIn, 16)
	c, err := config.Load(sandbox.ConfigPath(dir))
	require.NoError(t, err)
	a, err := daemon.Account(c)
	require.NoError(t, err)
	require.Equal(t, sandbox.Account, a.Name)
	require.Equal(t, []string{sandbox.Domain}, a.Domains)
	shadow, err := os.ReadFile(filepath.Join(dir, "vmail", sandbox.Domain, "shadow"))
	require.NoError(t, err)
	require.Contains(t, string(shadow), sandbox.Mailbox+":$6$hash:")
	_, err = sandbox.Write(dir, "$6$other")
	require.ErrorContains(t, err, "is not empty")
	require.ErrorContains(t, sandbox.WriteServer(dir, "x"), "is not empty")
}

func TestWriteServer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	require.NoError(t, sandbox.WriteServer(dir, "helper-user"))
	c, err := config.Load(sandbox.ConfigPath(dir))
	require.NoError(t, err)
	require.Equal(t, config.Server, c.Mode)
	require.Equal(t, "helper-user", c.Helper)
}
