package tests

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/plugins/email/password"
)

// A real Dovecot makes a hash of each of its schemes, and lets their mailboxes in: 2.3 all of them, 2.4 those that are
// not weak. The doctor names the weak passwords.
func TestWeakHashes(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	d := runDovecot(t, func(dir string, port int) string {
		text := dovecotBase(t, dir, port) + fmt.Sprintf(ofVersion(t, storeDovecot23, storeDovecot24), dir, w.Dir, "0", vmailUID(t))
		require.NoError(t, os.Mkdir(dir+"/mail", 0o777))
		require.NoError(t, os.Chown(dir+"/mail", vmailUID(t), vmailUID(t)))
		return text + ofVersion(t, "", "auth_allow_weak_schemes = no\n")
	})
	const secret = "S3cret"
	schemes := strings.Fields(hosttest.Output(t, exec.Command("doveadm", "pw", "-l")))
	require.Greater(t, len(schemes), 15)
	weak := make(map[string]bool) // By the mailbox.
	boxes := make(map[string]string)
	var shadow strings.Builder
	for i, scheme := range schemes {
		switch scheme {
		case "OTP", "PLAIN-TRUNC": // For other ways to log in; and nothing makes such hashes.
			continue
		}
		box := fmt.Sprintf("box%d", i)
		pw := exec.Command("doveadm", "pw", "-s", scheme, "-u", box+"@example.com")
		pw.Stdin = strings.NewReader(secret + "\n" + secret + "\n")
		pw.Stderr = nil
		out, err := pw.Output()
		require.NoError(t, err, scheme)
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		hash := lines[len(lines)-1]
		boxes[box], weak[box] = scheme, password.WeakScheme(hash) != ""
		fmt.Fprintf(&shadow, "%s:%s:20000::::::\n", box, hash)
	}
	require.NoError(t, os.WriteFile(w.Shadow, []byte(shadow.String()), 0o640))
	doctor, _ := w.Command(t, "liveapi", "doctor").CombinedOutput() // Its status is 1 if Dovecot refuses some of them.
	named := 0
	for box, scheme := range boxes {
		if scheme != "DIGEST-MD5" { // Its hashes depend on the realm.
			require.Equal(t, !is24(t) || !weak[box], d.login(box+"@example.com", secret), scheme)
		}
		if weak[box] {
			named++
			require.Contains(t, string(doctor), box+"@example.com (", scheme)
		}
	}
	require.GreaterOrEqual(t, named, 6)
	require.Contains(t, string(doctor), fmt.Sprintf("%d mailboxes have passwords of weak schemes, which Dovecot 2.4 refuses", named))
}
