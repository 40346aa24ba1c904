package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/tests/ports"
)

// startSMTP starts Postfix's smtp-sink, which accepts mail and stores it in files.
func startSMTP(t *testing.T) (port int, messages func() []string) {
	t.Helper()
	dir := t.TempDir()
	port = ports.Free(t)
	cmd := exec.Command("/usr/sbin/smtp-sink", "-c", "-u", vmailUser, "-d", "message.%H%M%S.", fmt.Sprintf("127.0.0.1:%d", port), "10")
	cmd.Dir = dir
	require.NoError(t, os.Chown(dir, vmailUID(t), -1))
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	ports.Wait(t, ports.Address(port))
	return port, func() (all []string) {
		paths, err := filepath.Glob(filepath.Join(dir, "message.*"))
		require.NoError(t, err)
		for _, path := range paths {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			all = append(all, string(text))
		}
		return all
	}
}

// The settings for mail programs, shown and mailed.
func TestClientSettings(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	c := func(words ...string) string {
		t.Helper()
		return hosttest.Output(t, w.Command(t, "uapi", append([]string{"--user=demo", "--output=json", "Email"}, words...)...))
	}
	const none = "its operator has not set a mail server"
	require.Contains(t, c("dispatch_client_settings", "account=user@example.com", "to=x@example.org"), none)
	require.Contains(t, c("terminate_mailbox_sessions"), "This server can't end sessions")
	require.Contains(t, c("add_pop", "email=zero", "password=12345luggage", "send_welcome_email=1"), "no message with the settings")
	hostname, err := os.Hostname()
	require.NoError(t, err)
	for call, want := range map[string]string{
		"get_client_settings account=user@example.com":   `"display":"user@example.com","domain":"example.com","from_archiving":0,"has_plaintext_authentication":0,"inbox_host":"mail.example.com","inbox_insecure_port":143,"inbox_port":993,"inbox_service":"imap","inbox_username":"user@example.com","mail_domain":"mail.example.com","smtp_host":"mail.example.com","smtp_insecure_port":25,"smtp_port":465,"smtp_username":"user@example.com"}`,
		"get_client_settings account=user%2Bexample.com": `"account":"user@example.com"`,
		"get_client_settings":                            `"account":"demo"`,
		"get_client_settings account=Demo":               `"domain":"example.com"`,
		"get_client_settings account=no@example.com":     "does not exist",
		"get_client_settings account=user@example.org":   "You do not have access to the domain",
		"get_client_settings account=user":               `"account":"user@example.com"`,
		"get_webmail_settings account=user@example.com":  `"data":{"domain":"` + hostname + `","has_maildir":1,"user":"user@example.com"}`,
		"has_plaintext_authentication":                   `"data":0`,
	} {
		require.Contains(t, c(strings.Fields(call)...), want, call)
	}

	port, messages := startSMTP(t)
	w.Set(t, "# scheme", fmt.Sprintf("smtp = \"127.0.0.1:%d\"\nmail_timeout = \"1m\"\nmail_from = \"post@example.com\"\nmail_host = \"imap.example.com\"\nplaintext_login = true\n# scheme", port))
	for _, to := range []string{"", "x", "x@", "Me <x@example.org>", "x@example.org,y@example.org", "x@example.org%0ABcc:y@example.org", "<x@example.org>", strings.Repeat("x", 260) + "@example.org"} {
		require.Contains(t, c("dispatch_client_settings", "account=user@example.com", "to="+to), `"status":0`, to)
	}
	require.Empty(t, messages(), "nothing was mailed")
	require.Contains(t, c("has_plaintext_authentication"), `"data":1`)
	require.Contains(t, c("dispatch_client_settings", "account=user@example.com", "to=x@example.org"), `"status":1`)
	require.Contains(t, c("add_pop", "email=one", "password=12345luggage", "send_welcome_email=1"), `"status":1,"warnings":null`)
	all := messages()
	require.Len(t, all, 2)
	require.Contains(t, all[0]+all[1], "X-Rcpt-Args: <x@example.org>")
	require.Contains(t, all[0]+all[1], "X-Rcpt-Args: <one@example.com>")
	require.Contains(t, all[0], "X-Mail-Args: <post@example.com>")
	require.Contains(t, all[0], "Incoming server:  imap.example.com, IMAP, port 993, with TLS")
	require.NotContains(t, all[0]+all[1], "luggage")

	w.Set(t, fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", ports.Free(t)))
	require.Contains(t, c("dispatch_client_settings", "account=user@example.com", "to=x@example.org"), "The mail server did not accept the message")
	require.Contains(t, c("add_pop", "email=two", "password=12345luggage", "send_welcome_email=1"), `"warnings":["The mailbox was created, but the mail server did not accept`)
}
