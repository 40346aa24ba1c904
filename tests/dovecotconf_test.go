package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	installed "github.com/liveapid/liveapid/host/admin/dovecot"
	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/tests/ports"
)

// testDovecot is the part of a Dovecot's configuration that tests need for every Dovecot: its own directory, loopback
// only, and no delays.
const testDovecot = `
base_dir = %[1]s/base
log_path = %[1]s/log
listen = 127.0.0.1
ssl = no
auth_failure_delay = 0
auth_verbose = yes
default_internal_user = dovecot
default_login_user = dovenull
service imap-login {
  inet_listener imap {
    port = %[2]d
  }
  inet_listener imaps {
    port = 0
  }
  process_min_avail = 1
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
`

// is24 reports whether the installed Dovecot is 2.4, and not 2.3.
func is24(t *testing.T) bool {
	t.Helper()
	series, err := installed.Version(t.Context())
	require.NoError(t, err, "install dovecot-imapd (make deps)")
	require.Contains(t, []string{"2.3", "2.4"}, series)
	return series == "2.4"
}

// ofVersion returns the text for the installed Dovecot.
func ofVersion(t *testing.T, in23, in24 string) string {
	t.Helper()
	if is24(t) {
		return in24
	}
	return in23
}

// head24 is the beginning of every configuration for Dovecot 2.4. Stores of the tests have hashes of MD5 crypt, which
// 2.4 accepts only with the last line; TestWeakHashes is about that.
const head24 = `dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
auth_allow_cleartext = yes
auth_allow_weak_schemes = yes
`

// dovecotBase returns the beginning of a configuration for the installed Dovecot.
func dovecotBase(t *testing.T, dir string, port int) string {
	t.Helper()
	head := ofVersion(t, "disable_plaintext_auth = no\n", head24)
	return head + fmt.Sprintf(testDovecot, dir, port)
}

// The printed configuration works within the distribution's configuration, after the change that docs/email.md describes.
func TestShippedDovecot(t *testing.T) {
	t.Parallel()
	w := hosttest.SandboxAs(t, vmailUID(t))
	include := writtenDovecot(t, w)
	lmtp := ports.Free(t)
	d := runDovecot(t, func(dir string, port int) string {
		shipped := filepath.Join(dir, "etc")
		hosttest.Output(t, exec.Command("cp", "-r", "/etc/dovecot", shipped))
		hosttest.Output(t, exec.Command("sed", "-i", "s/^!include auth-system/#&/", filepath.Join(shipped, "conf.d", "10-auth.conf")))
		main, err := os.ReadFile(filepath.Join(shipped, "dovecot.conf"))
		require.NoError(t, err)
		text := string(main) + fmt.Sprintf(testDovecot, dir, port) + ofVersion(t, "disable_plaintext_auth = no", "auth_allow_cleartext = yes") + "\n!include " + include + "\n" +
			fmt.Sprintf("service lmtp {\n  inet_listener lmtp {\n    %s = 127.0.0.1\n    port = %d\n  }\n}\n", ofVersion(t, "address", "listen"), lmtp)
		// The tests' file is in another directory.
		return strings.ReplaceAll(text, "!include conf.d", "!include "+shipped+"/conf.d")
	})
	require.True(t, d.login("user@example.com", sandboxPassword))
	require.False(t, d.login("user@example.com", "wrong"))
	require.False(t, d.login("root", sandboxPassword))
	m := &mailServer{dovecot: d, lmtp: ports.Address(lmtp)}
	ports.Wait(t, m.lmtp)
	require.Contains(t, m.deliver("user@example.com", 10), "Saved")
	require.Equal(t, "1", m.messages("user@example.com", sandboxPassword))
}
