package tests

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// Clients in other languages, with the deviations that real clients have.
func TestClientsInOtherLanguages(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	w.Start(t)
	for _, c := range []struct{ program, file string }{{"python3", "client.py"}, {"node", "client.js"}} {
		t.Run(c.program, func(t *testing.T) {
			_, err := exec.LookPath(c.program)
			require.NoError(t, err, "install %s (make deps)", c.program)
			cmd := w.Command(t, c.program, filepath.Join("testdata", c.file))
			cmd.Env = append(cmd.Env, "CPANEL_CONNECT_SOCKET="+w.Socket)
			require.Equal(t, "ok\n", hosttest.Output(t, cmd))
		})
	}
}
