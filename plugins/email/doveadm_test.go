package email

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// Answers of Dovecot 2.3 and 2.4, and invalid answers. The tests of the mail server use a real Dovecot.
func TestDoveadmSocket(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ answer, failure string }{
		"2.3, 2.4":             {"+\n0\t\n+\n", ""},
		"2.3, a session":       {"+\na@b.example\t-a@b.example\t\n+\n", ""},
		"2.3, none logged in":  {"+\n\n-NOTFOUND\n", ""},
		"unknown command":      {"+\n\n-\n", "doveadm's command kick failed: -"},
		"refused":              {"+\n\n-NOPERM\n", "failed: -NOPERM"},
		"a password is wanted": {"-\n", "wants a password"},
		"ended":                {"+\n", "without an answer"},
		"nothing":              {"", "without an answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "s")
			l, err := net.Listen("unix", path)
			require.NoError(t, err)
			asked := make(chan string, 1)
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				request := make([]byte, 200)
				n, _ := conn.Read(request)
				_, _ = io.WriteString(conn, c.answer)
				_ = conn.Close()
				asked <- string(request[:n])
			}()
			d := &doveadmSocket{path: path, timeout: time.Minute}
			err = d.end(t.Context(), []string{"*@b.example"})
			require.Equal(t, "VERSION\tdoveadm-server\t1\t0\n\t\tkick\t*@b.example\n", <-asked)
			if c.failure == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.failure)
		})
	}
	d := &doveadmSocket{path: filepath.Join(t.TempDir(), "none"), timeout: time.Minute}
	require.Error(t, d.forget(t.Context()))
	for _, mask := range strings.Split("a\tb|a\nb|a\x01b|a\rb", "|") {
		require.ErrorContains(t, d.end(t.Context(), []string{mask}), "separates commands")
	}
	require.Error(t, d.changed(t.Context(), store.Address{Localpart: "a", Domain: "b.example"}, logins))
}
