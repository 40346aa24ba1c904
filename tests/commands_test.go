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

// shell runs a script with the built commands on its path, and returns what it prints, and its exit status as
// the last word.
func shell(t *testing.T, w *hosttest.World, script string) string {
	t.Helper()
	cmd := w.Command(t, "bash", "-c", script)
	cmd.Dir = w.Dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: %s", script, out)
	return string(out)
}

// Each form of the command lines, as scripts use it.
func TestCommandLineForms(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	w.Serve(t)
	require.NoError(t, os.WriteFile(filepath.Join(w.Dir, "password"), []byte("+ %41 @ from a file"), 0o600))
	for _, c := range []struct{ script, says string }{
		{`uapi Email list_pops | sed -n 's/^ *email: *//p' | tail -1`, "user@example.com\n"},
		{`cpapi2 Email listpops regex=user | sed -n 's/^ *email: *//p'`, "user@example.com\n"},
		{`uapi --output=json Email passwd_pop email=user password=@password && uapi --output=json Email verify_password email=user@example.com 'password=%2B %2541 @ from a file'`, `"data":1`},
		{`uapi --output=json Email passwd_pop email=user 'password=\@home' && uapi --output=json Email verify_password email=user@example.com password=%40home`, `"data":1`},
		{`uapi --output=json Email passwd_pop email=user password=@nothing; echo $?`, "uapi: password: a value that begins with @ names a file: the file can't be opened; write %40 for a value that begins with @ itself; see uapi --help\n1\n"},
		{`uapi --input=key-value --output=json Email count_pops`, `"data":1`},
		{`echo '{"email":"user@example.com"}' | uapi --input=json --output=json Email get_pop_quota`, `"data":"unlimited"`},
		{`uapi --help`, "  Email              Mailboxes and their passwords.\n"},
		{`uapi Email`, "  passwd_pop                         Change a mailbox's password.\n"},
		{`uapi Email passwd_pop --help`, "  password*  secret  The new password.\n"},
		{`cpapi2 Email --help`, "  passwdpop "},
		{`cpapi1 Email`, "  getpopquota  Show a mailbox's quota.\n"},
		{`cpapi2 Email passwd_pop 2>&1 >/dev/null`, "cpapi2: Email has no function \"passwd_pop\"; UAPI has it: uapi Email passwd_pop\n"},
		{`uapi Email passwdpop 2>&1 >/dev/null`, "uapi: Email has no function \"passwdpop\"; API 2 has it: cpapi2 Email passwdpop\n"},
		{`uapi Emial list_pops 2>&1 >/dev/null`, "uapi: there is no module \"Emial\"; did you mean Email?\n"},
		{`uapi Email list_popz x=1 2>&1 >/dev/null`, "did you mean list_pops?\n"},
		{`uapi --nothing 2>&1 | wc -l`, "1\n"},
		{`uapi 2>&1; echo $?`, "uapi: the module or the function is missing; name both; see uapi --help\n1\n"},
		{`uapi --fail Email get_pop_quota email=nobody >/dev/null; echo $?; uapi Email get_pop_quota email=nobody >/dev/null; echo $?`, "1\n0\n"},
		{`uapi --fail Features has_feature name=popaccts >/dev/null; echo $?; cpapi2 --fail Email delpop domain=example.com email=nobody >/dev/null; echo $?`, "0\n1\n"},
		{`cpapi1 Email getpopquota user example.com`, "unlimited\n"},
		{`cpapi1 --output=json Email getpopquota user example.com`, `"data":{"result":"unlimited"}`},
		{`cpapi1 --user=demo Email addpop new 12345luggage 500 example.com`, "new@example.com\n"},
		{`whmapi1 gethostname | sed -n 's/^ *hostname: *//p'`, ""},
		{`whmapi1 --output=json accountsummary user=demo`, `"user":"demo"`},
		{`whmapi1 --fail nothing 2>&1; echo $?`, "whmapi1: WHM API 1 has no function \"nothing\"\n1\n"},
		{`whmapi1 suspendacct --help`, "  user*   string  The account.\n"},
		{`whmapi1 --output=json listaccts api.filter.enable=1 api.filter.a.field=user api.filter.a.arg0=demo | grep -c '"user":"demo"'`, "1\n"},
		{`uapi --complete=modules | grep -x Email; uapi --complete=functions Email | grep -x passwd_pop; uapi --complete=accounts; whmapi1 --complete=functions | grep -x passwd`, "Email\npasswd_pop\ndemo\npasswd\n"},
	} {
		require.Contains(t, shell(t, w, c.script), c.says, c.script)
	}
	// YAML 1.1, as an independent parser reads it.
	if exec.Command("python3", "-c", "import yaml").Run() == nil {
		require.Equal(t, "unlimited True\n", shell(t, w, `cpapi2 Email listpopswithdisk domain=example.com | python3 -c 'import sys, yaml; a = yaml.safe_load(sys.stdin); r = a["cpanelresult"]["data"][-1]; print(r["diskquota"], r["user"] == "user" or r["user"] == "new")'`))
	}
	// bash offers accounts, modules and functions.
	completion := filepath.Join(hosttest.Root(t), "packaging", "completion", "apitool.bash")
	offer := func(words string) string {
		return shell(t, w, `source `+completion+`; COMP_WORDS=(`+words+`); COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 )); _liveapid_apitool; printf '%s\n' "${COMPREPLY[@]}"`)
	}
	require.Equal(t, "Email\n", offer(`uapi Em`))
	require.Equal(t, "passwd_pop\n", offer(`uapi Email passwd_`))
	require.Equal(t, "passwdpop\n", offer(`cpapi2 --output = json Email passwdp`))
	require.Equal(t, "demo\n", offer(`uapi --user = d`))
	require.Equal(t, "suspendacct\n", offer(`whmapi1 suspenda`))
}

// On a server with many accounts, whmapi1 is root's. Without LIVEAPID_CONFIG, an error names the
// configuration that was used.
func TestCommandLinesOfAServer(t *testing.T) {
	t.Parallel()
	const uid = 20435
	w := hosttest.Server(t, uid)
	w.Set(t, "accounts ", "write_userdomains = \"etc\"\naccounts ")
	require.NoError(t, os.Mkdir(filepath.Join(w.Dir, "etc"), 0o755))
	readable, err := os.ReadFile(w.AccountFile(uid))
	require.NoError(t, err)
	w.Serve(t)
	// The files of a cPanel server, and whoowns, follow the accounts.
	require.NoError(t, os.WriteFile(w.AccountFile(20436), []byte("uid = 20436\ngid = 20436\nhome = \"/nonexistent\"\ndomains = [\"b.example\", \"a.example\"]\n"), 0o644))
	whole := func() bool {
		text, err := os.ReadFile(filepath.Join(w.Dir, "etc", "userdomains"))
		return err == nil && string(text) == "*: nobody\na.example: u20436\nb.example: u20436\nu20435.example: u20435\n"
	}
	require.Eventually(t, whole, hosttest.Patience, hosttest.Tick)
	// An account whose file can't be read keeps its domains.
	require.NoError(t, os.WriteFile(w.AccountFile(20435), []byte("domains = [\"u20435.example\"\n"), 0o644))
	require.NoError(t, os.WriteFile(w.AccountFile(20436), []byte("uid = 20436\ngid = 20436\nhome = \"/nonexistent\"\ndomains = [\"c.example\"]\n"), 0o644))
	for name, want := range map[string]string{"userdomains": "*: nobody\nc.example: u20436\nu20435.example: u20435\n", "trueuserdomains": "c.example: u20436\nu20435.example: u20435\n"} {
		require.Eventually(t, func() bool {
			text, err := os.ReadFile(filepath.Join(w.Dir, "etc", name))
			return err == nil && string(text) == want
		}, hosttest.Patience, hosttest.Tick, name)
	}
	require.NoError(t, os.WriteFile(w.AccountFile(20435), readable, 0o644))
	require.NoError(t, os.WriteFile(w.AccountFile(20436), []byte("uid = 20436\ngid = 20436\nhome = \"/nonexistent\"\ndomains = [\"b.example\", \"a.example\"]\n"), 0o644))
	require.Eventually(t, whole, hosttest.Patience, hosttest.Tick)
	require.Equal(t, "u20436\n0\n1\n", shell(t, w, `ln -s $(command -v liveapi) whoowns; ./whoowns A.example; echo $?; ./whoowns other.example; echo $?`))
	require.Contains(t, shell(t, w, `whmapi1 --output=json suspendacct user=u20435 reason=test && uapi --user=u20435 --output=json Email count_pops || true`), "Your account is suspended.")
	require.Contains(t, shell(t, w, `whmapi1 --output=json unsuspendacct user=u20435 && uapi --user=u20435 --output=json Email count_pops`), `"data":1`)
	require.Contains(t, shell(t, w, `whmapi1 --output=json api_token_list`), "This server has no tokens")
	require.Contains(t, shell(t, w, `uapi --complete=accounts`), "u20435\n")
	cmd := hosttest.As(w.Command(t, "whmapi1", "version"), uid)
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.True(t, strings.Contains(string(out), "you must run this command as root") || strings.Contains(string(out), "permission denied"), "%s", out)
	if _, err := os.Stat("/etc/liveapid/liveapid.toml"); err == nil {
		t.Skip("liveapid is installed")
	}
	require.Contains(t, shell(t, w, `unset LIVEAPID_CONFIG; whmapi1 version 2>&1; true`), "there is no configuration /etc/liveapid/liveapid.toml, and LIVEAPID_CONFIG is not set")
}
