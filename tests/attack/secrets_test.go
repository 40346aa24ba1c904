package attack

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// T52: a configuration with a secret that tenants can read is rejected at the start and on reload. The error
// names the file and not the secret, and the doctor reports it. When only root can read the file, the host
// starts.
func TestT52_AConfigurationThatTenantsCanRead(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, alice)
	h := w.Serve(t)
	const secret = "a key of the mail server"
	w.Set(t, "required_strength = 0 ", "doveadm = \"http://127.0.0.1:9\"\ndoveadm_key = \""+secret+"\"\nrequired_strength = 0 ")
	refused := func(said string) {
		t.Helper()
		require.Contains(t, said, "doveadm_key")
		require.Contains(t, said, "chmod 600")
		require.NotContains(t, said, secret)
	}

	require.NoError(t, h.Process.Signal(syscall.SIGHUP))
	require.Eventually(t, func() bool { return strings.Contains(h.Log.String(), "chmod 600") }, hosttest.Patience, 5*time.Millisecond)
	refused(h.Log.String())
	h.Stop(t)

	out, err := w.Command(t, "timeout", "20", "liveapid", "serve").CombinedOutput()
	require.Error(t, err)
	refused(string(out))
	out, err = w.Command(t, "liveapi", "doctor").CombinedOutput()
	require.Error(t, err)
	refused(string(out))

	require.NoError(t, os.Chmod(w.Config, 0o600))
	w.Serve(t).Stop(t)
}
