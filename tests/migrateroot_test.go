package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore/dbtest"
)

// On a server with many accounts, root copies in both directions. It reads and writes the files of an account as
// the account: files that the account does not own, and links, can't be reached.
func TestRootMigratesManyAccounts(t *testing.T) {
	t.Parallel()
	const alice, mallory, locked = 20561, 20562, 20563
	w := hosttest.Server(t, alice, mallory, locked)
	dsn := dbtest.PostgreSQL(t).Database()
	w.SetSecret(t, "# scheme", fmt.Sprintf("store = \"postgresql\"\ndatabase = %q\n# scheme", dsn))
	hosttest.Output(t, w.Command(t, "liveapi", "store", "init"))
	run := func(status int, words ...string) string {
		t.Helper()
		cmd := w.Command(t, "liveapi", append([]string{"store", "migrate"}, words...)...)
		out, err := cmd.CombinedOutput()
		require.Equal(t, status, cmd.ProcessState.ExitCode(), "%s %v", out, err)
		require.NotContains(t, string(out), dbtest.Password)
		require.NotContains(t, string(out), "$6$")
		return string(out)
	}
	etc := func(uid int) string {
		return filepath.Join(w.Home(uid), "etc", hosttest.Name(uid)+".example")
	}
	// Mallory's domain leads to alice's files.
	require.NoError(t, os.RemoveAll(etc(mallory)))
	require.NoError(t, os.Symlink(etc(alice), etc(mallory)))
	shadow := filepath.Join(etc(locked), "shadow")
	require.NoError(t, os.WriteFile(shadow, []byte("user:*LOCKED*"+hosttest.OldHash+":20000::::::\n"), 0o600))
	require.NoError(t, os.Chown(shadow, locked, locked))

	out := run(1, "--from=files", "--to=sql")
	require.Contains(t, out, "copied: user@u20561.example\n")
	require.Contains(t, out, "copied: user@u20563.example\n")
	require.Contains(t, out, "2 copied, 0 existed already, 0 differ\n")
	require.Contains(t, out, "account u20562: domain u20562.example: read: ")
	require.NoError(t, os.Remove(etc(mallory)))
	require.Contains(t, run(0, "--from=files", "--to=sql"), "0 copied, 2 existed already")

	// Back into an empty home: the files belong to the account.
	for _, dir := range []string{"etc", "mail"} {
		require.NoError(t, os.RemoveAll(filepath.Join(w.Home(alice), dir)))
	}
	require.Contains(t, run(0, "--from=sql", "--to=files", "--user=u20561"), "1 copied, 0 existed already, 0 differ\n")
	for _, path := range []string{"etc/u20561.example/shadow", "etc/u20561.example", "mail/u20561.example/user/cur"} {
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(filepath.Join(w.Home(alice), path), &st))
		require.EqualValues(t, alice, st.Uid, path)
	}
	// Without root, an account can't copy another one.
	cmd := hosttest.As(w.Command(t, "liveapi", "store", "migrate", "--from=sql", "--to=files", "--user=u20561"), mallory)
	text, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.NotContains(t, string(text), dbtest.Password)

	// The end of the suspension unlocks the mailboxes, in the database by WHM and in the files by liveapi.
	w.Serve(t)
	w.WaitForSocket(t)
	require.Contains(t, hosttest.Output(t, w.Command(t, "whmapi1", "--output=json", "suspendacct", "user=u20563")), `"result":1`)
	require.Contains(t, hosttest.Output(t, w.Command(t, "whmapi1", "--output=json", "unsuspendacct", "user=u20563")), `"result":1`)
	require.Contains(t, run(1, "--from=files", "--to=sql", "--user=u20563", "--dry-run"), "differs, would not be changed: user@u20563.example: the target has other suspensions (none, the source's are account)")
	w.Set(t, `store = "postgresql"`, `store = "files" #`)
	w.Set(t, "database = ", "# database = ")
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "account", "unsuspend", "u20563")), "1 mailboxes that were locked with the account are unlocked")
	content, err := os.ReadFile(shadow)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(content), "user:$6$"), string(content))
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "account", "list")), "u20563  20563  active")
}

// With the store of files, WHM's unsuspendacct unlocks the mailboxes in the account's own process.
func TestWHMUnlocksMailboxes(t *testing.T) {
	t.Parallel()
	const uid = 20564
	w := hosttest.Server(t, uid)
	w.Serve(t)
	w.WaitForSocket(t)
	shadow := filepath.Join(w.Home(uid), "etc", "u20564.example", "shadow")
	require.Contains(t, hosttest.Output(t, w.Command(t, "whmapi1", "--output=json", "suspendacct", "user=u20564")), `"result":1`)
	require.NoError(t, os.WriteFile(shadow, []byte("user:*LOCKED*"+hosttest.OldHash+":20000::::::\nbob:*LOCKED*!"+hosttest.OldHash+"\n"), 0o600))
	require.Contains(t, hosttest.Output(t, w.Command(t, "whmapi1", "--output=json", "unsuspendacct", "user=u20564")), `"result":1`)
	content, err := os.ReadFile(shadow)
	require.NoError(t, err)
	require.Equal(t, "user:"+hosttest.OldHash+":20000::::::\nbob:!"+hosttest.OldHash+"\n", string(content))
	// No client can call the function.
	require.Contains(t, w.DialUID(t, uid).Call("uapi", "Email", "unlock_mailboxes", "{}"), "Permission denied.")
}
