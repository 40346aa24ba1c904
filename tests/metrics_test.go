package tests

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/tests/ports"
)

// The metrics are on loopback only, and contain no text from clients.
func TestMetrics(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	port := ports.Free(t)
	w.Set(t, "modules  =", fmt.Sprintf("metrics = \"127.0.0.1:%d\"\nmodules  =", port))
	w.Serve(t)
	c := w.Dial(t)
	c.Call("uapi", "Email", "count_pops", `{}`)
	c.Call("uapi", "Email", "verify_password", `{"email":"nobody@example.com","password":"c4n4ry"}`)
	c.Call("uapi", "Nonsense", "c4n4ry", `{}`)
	var text string
	require.Eventually(t, func() bool { // The check whether the host listens may count for a moment.
		answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
		require.NoError(t, err)
		defer func() { _ = answer.Body.Close() }()
		page, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		text = string(page)
		return strings.Contains(text, "liveapid_sessions 1\n")
	}, hosttest.Patience, hosttest.Tick)
	for _, line := range []string{
		`liveapid_calls_total{api="UAPI",function="count_pops",module="Email",result="ok"} 1`,
		`liveapid_calls_total{api="UAPI",function="verify_password",module="Email",result="not_found"} 1`,
		`liveapid_calls_total{api="unknown",function="unknown",module="unknown",result="no_module"} 1`,
		`liveapid_workers{plugin="liveapi-email"} 1`, `liveapid_call_seconds_count{module="Email"} 2`, "liveapid_accounts 1",
	} {
		require.Contains(t, text, line)
	}
	require.NotContains(t, text, "c4n4ry")
	w.Set(t, "127.0.0.1:", "0.0.0.0:")
	out, err := w.Command(t, "liveapid", "serve").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "is not a loopback address")
}
