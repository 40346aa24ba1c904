package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// An account is moved from a host to another as a directory and as an archive, with its passwords.
func TestAccountImport(t *testing.T) {
	t.Parallel()
	old := hosttest.Sandbox(t)
	uapiOK(t, old, "add_pop", "email=bob", "password=12345luggage", "quota=5")
	uapiOK(t, old, "suspend_login", "email=bob@example.com")
	home := filepath.Join(old.Dir, "home", "demo")

	w := hosttest.Sandbox(t)
	run := func(status int, words ...string) string {
		cmd := w.Command(t, "liveapi", append([]string{"account", "import"}, words...)...)
		out, err := cmd.CombinedOutput()
		require.Equal(t, status, cmd.ProcessState.ExitCode(), "%v: %s %v", words, out, err)
		return string(out)
	}
	users := filepath.Join(t.TempDir(), "users")
	require.NoError(t, os.WriteFile(users, []byte("DNS=example.com\nMAXPOP=2\n"), 0o600))
	require.Contains(t, run(0, "--dry-run", "--name=moved", "--users-file="+users, home), "example.com: 2 mailboxes\nwould register the account moved")
	require.NoFileExists(t, filepath.Join(w.Dir, "accounts", "moved.toml"))
	require.Contains(t, run(0, "--name=moved", "--users-file="+users, home), "registered moved")
	require.Contains(t, run(1, "--name=moved", home), "registered")
	require.Contains(t, run(1, t.TempDir()), "not a home directory with mailboxes")
	require.Contains(t, run(1, "/no/such"), "no such file")
	require.Equal(t, 2, exitOf(t, w.Command(t, "liveapi", "account", "nonsense")))

	use := func(account string) {
		t.Helper()
		w.Set(t, `account  = "`, `account  = "`+account+`" #`)
		call := func(words ...string) string {
			return hosttest.Output(t, w.Command(t, "uapi", append([]string{"--user=" + account, "--output=json", "Email"}, words...)...))
		}
		require.Contains(t, call("verify_password", "email=user@example.com", "password="+sandboxPassword), `"data":1`)
		require.Contains(t, call("verify_password", "email=bob@example.com", "password=12345luggage"), `"data":0`, "suspended, as it was")
		require.Contains(t, call("unsuspend_login", "email=bob@example.com"), `"status":1`)
		require.Contains(t, call("verify_password", "email=bob@example.com", "password=12345luggage"), `"data":1`)
		require.Contains(t, call("get_pop_quota", "email=bob"), `"data":5`)
		require.Contains(t, call("add_pop", "email=third", "password=12345luggage"), "maximum number of email accounts (2)")
		require.Contains(t, call("suspend_login", "email=bob@example.com"), `"status":1`)
	}
	use("moved")

	// A cpmove archive made by GNU tar.
	root := filepath.Join(t.TempDir(), "cpmove-carol")
	require.NoError(t, os.MkdirAll(filepath.Join(root, "cp"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "cp", "carol"), []byte("DNS=example.com\nMAXPOP=2\n"), 0o600))
	require.NoError(t, os.CopyFS(filepath.Join(root, "homedir"), os.DirFS(home)))
	archive := root + ".tar.gz"
	out, err := exec.Command("tar", "-C", filepath.Dir(root), "-czf", archive, filepath.Base(root)).CombinedOutput()
	require.NoError(t, err, "%s", out)
	target := filepath.Join(w.Dir, "home", "carol")
	require.Contains(t, run(0, "--dry-run", "--home="+target, archive), "register the account carol with the domains [example.com]")
	require.NoDirExists(t, target)
	require.Contains(t, run(2, archive), "--home")
	require.Contains(t, run(0, "--home="+target, archive), "example.com: 2 mailboxes\nregistered carol")
	require.Contains(t, run(1, "--home="+target, archive), "registered")
	text, err := os.ReadFile(w.Config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(w.Config, []byte(strings.Replace(string(text), `"moved" #demo"`, `"demo"`, 1)), 0o644))
	use("carol")
}

func exitOf(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode()
}
