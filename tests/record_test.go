package tests

import (
	"errors"
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

// recordedPHP and recordedPerl make the same calls, with the password in the environment.
const (
	recordedPHP = `<?php
require_once '/usr/local/cpanel/php/cpanel.php';
$c = new CPANEL();
$list = $c->uapi('Email', 'list_pops', array());
echo count($list['cpanelresult']['result']['data']), "\n";
$changed = $c->api2('Email', 'passwdpop', array('domain' => 'example.com', 'email' => getenv('BOX'), 'password' => getenv('PASS')));
echo $changed['cpanelresult']['data'][0]['result'] ?? $changed['cpanelresult']['error'], "\n";
$c->end();
`
	recordedPerl = `use Cpanel::LiveAPI ();
my $c = Cpanel::LiveAPI->new;
print scalar @{$c->uapi('Email', 'list_pops', {})->{cpanelresult}{result}{data}}, "\n";
my $changed = $c->api2('Email', 'passwdpop', {domain => 'example.com', email => $ENV{BOX}, password => $ENV{PASS}});
print $changed->{cpanelresult}{data} ? $changed->{cpanelresult}{data}[0]{result} : $changed->{cpanelresult}{error}, "\n";
$c->end;
`
	recordedShell = "uapi Email list_pops --output=json | grep -o '\"login\"' | wc -l | tr -d ' '\n" +
		"cpapi2 Email passwdpop domain=example.com email=$BOX password=$PASS --output=json | grep -o '\"result\":1' | head -1 | cut -d: -f2\n"
	recordedPassword = "Rec0rded.pass-7"
)

// recordedPrograms returns a program in each language that makes the same calls and prints 2 and 1.
func recordedPrograms(t *testing.T, dir string) map[string][]string {
	t.Helper()
	out := make(map[string][]string)
	for name, text := range map[string]string{"php": recordedPHP, "perl": recordedPerl, "sh": recordedShell} {
		path := filepath.Join(dir, "program."+name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		out[name] = []string{name, path}
	}
	return out
}

// runTool runs liveapi with a mailbox and a password in the environment.
func runTool(t *testing.T, w *hosttest.World, box string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := w.Command(t, "liveapi", args...)
	cmd.Env = append(cmd.Env, "BOX="+box, "PASS="+recordedPassword, "PATH="+filepath.Dir(hosttest.Bin(t, "liveapi"))+":"+os.Getenv("PATH"))
	var out, log strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &log
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return out.String(), log.String(), exit.ExitCode()
	}
	require.NoError(t, err, log.String())
	return out.String(), log.String(), 0
}

// A program in each language is recorded, and replayed without the modules: with the same calls, with other arguments,
// and strictly.
func TestRecordAndReplay(t *testing.T) {
	t.Parallel()
	for language, program := range recordedPrograms(t, t.TempDir()) {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			w := hosttest.Sandbox(t)
			tape := filepath.Join(w.Dir, "tape.jsonl")
			run := func(box string, args ...string) (string, string, int) {
				return runTool(t, w, box, append(append(args, "--"), program...)...)
			}
			out, said, status := run("user", "record", "--config", w.Config, "--output", tape)
			require.Equal(t, "2\n1\n", out, said)
			require.Zero(t, status)
			require.Contains(t, said, "recorded 2 calls")
			text, err := os.ReadFile(tape)
			require.NoError(t, err)
			require.NotContains(t, string(text), recordedPassword)
			require.NotContains(t, string(text), "user@example.com", "addresses are masked")
			require.Contains(t, string(text), `"password":"[masked]"`)

			require.NoError(t, os.RemoveAll(filepath.Join(w.Dir, "home")), "no module can answer")
			require.NoError(t, os.MkdirAll(filepath.Join(w.Dir, "home", "demo"), 0o755))
			out, said, status = run("user", "replay", "--config", w.Config, "--strict", tape)
			require.Equal(t, "2\n1\n", out, said)
			require.Zero(t, status, said)
			require.Contains(t, said, "replayed 2 calls with the recorded arguments\n")

			out, said, status = run("other", "replay", "--config", w.Config, tape)
			require.Equal(t, "2\n1\n", out, said)
			require.Zero(t, status)
			require.Contains(t, said, "api2 Email::passwdpop: other arguments than in line 3:\n  - email=user\n  + email=other\n")

			out, said, status = run("other", "replay", "--config", w.Config, "--strict", tape)
			require.NotEqual(t, "2\n1\n", out)
			require.Equal(t, 1, status, said)
			require.Contains(t, said, "unexpected call: api2 Email::passwdpop: the cassette")
			require.Contains(t, said, "  - email=user\n  + email=other\n")
			require.Contains(t, said, "1 recorded calls were not made:\n  line 3: api2 Email::passwdpop\n")
			require.NotContains(t, said, recordedPassword)
		})
	}
}

// A program is recorded between itself and a real server: over the server's socket, over its HTTPS API, and with its own
// requests to the HTTPS API. The cassette is then served over HTTPS, too.
func TestRecordAServer(t *testing.T) {
	t.Parallel()
	server := hosttest.Sandbox(t)
	web := server.OpenHTTPS(t)
	token := server.Token(t, "demo")
	server.Serve(t)
	web.Wait(t)
	w := hosttest.Sandbox(t)
	programs := recordedPrograms(t, w.Dir)
	tokenFile := filepath.Join(w.Dir, "token")
	require.NoError(t, os.WriteFile(tokenFile, []byte(token+"\n"), 0o600))
	https := "https://" + strings.TrimPrefix(web.CPanel, "https://")

	for name, to := range map[string][]string{
		"socket": {"--to", server.Socket},
		"https":  {"--to", https, "--user", "demo", "--token-file", tokenFile, "--insecure"},
	} {
		tape := filepath.Join(w.Dir, name+".jsonl")
		args := append([]string{"record", "--config", w.Config, "--output", tape}, to...)
		out, said, status := runTool(t, w, "user", append(append(args, "--"), programs["php"]...)...)
		require.Equal(t, "2\n1\n", out, said)
		require.Zero(t, status)
		require.True(t, verifiesBox(t, server, recordedPassword), "the server made the change")
		text, err := os.ReadFile(tape)
		require.NoError(t, err)
		require.NotContains(t, string(text), recordedPassword)
		require.NotContains(t, string(text), token)
		out, said, status = runTool(t, w, "user", append([]string{"replay", "--config", w.Config, "--strict", tape, "--"}, programs["perl"]...)...)
		require.Equal(t, "2\n1\n", out, said)
		require.Zero(t, status, said)
	}

	// A program with its own requests and its own token.
	tape := filepath.Join(w.Dir, "requests.jsonl")
	request := `curl -s -H "Authorization: cpanel demo:$(cat ` + tokenFile + `)" "$LIVEAPI_RECORD_URL/execute/Email/list_pops?regex=user&api.paginate=1"; ` +
		`curl -s -H "Authorization: cpanel demo:$(cat ` + tokenFile + `)" "$LIVEAPI_RECORD_URL/json-api/cpanel" -d cpanel_jsonapi_apiversion=2 -d cpanel_jsonapi_module=Email -d cpanel_jsonapi_func=passwdpop -d domain=example.com -d email=user -d "password=$PASS"`
	out, said, status := runTool(t, w, "user", "record", "--config", w.Config, "--output", tape, "--to", https, "--insecure", "--listen", ports.Address(ports.Free(t)), "--", "sh", "-c", request)
	require.Zero(t, status, said)
	require.Contains(t, out, `"status":1`)
	require.Contains(t, out, `"result":1`)
	require.Contains(t, said, "recorded 2 calls")
	text, err := os.ReadFile(tape)
	require.NoError(t, err)
	require.Contains(t, string(text), `"api.paginate":"1"`)
	require.NotContains(t, string(text), token)
	require.NotContains(t, string(text), recordedPassword)

	// The same requests to a host that answers from the cassette.
	played := hosttest.Sandbox(t)
	site := played.OpenHTTPS(t)
	appendConfig(t, played, fmt.Sprintf("\n[[mock]]\ncassette = %q\nstrict = true\n", tape))
	played.Serve(t)
	site.Wait(t)
	bearer := "Authorization: cpanel demo:" + played.Token(t, "demo")
	_, body := site.Ask(t, "POST", site.CPanel+"/execute/Email/list_pops", "regex=user&api.paginate=1", bearer)
	require.Contains(t, body, "masked.example")
	require.Contains(t, body, `"liveapid_mocked":`)
	_, body = site.Ask(t, "POST", site.CPanel+"/execute/Email/list_pops", "regex=other", bearer)
	require.Contains(t, body, "An unexpected call: the cassette has no call with these arguments.")
	_, body = site.Ask(t, "POST", site.CPanel+"/execute/Email/count_pops", "", bearer)
	require.Contains(t, body, "An unexpected call: the cassette has no call of this function.", "no module answers in strict mode")
}

// verifiesBox reports whether a password is the password of the sandbox's mailbox.
func verifiesBox(t *testing.T, w *hosttest.World, password string) bool {
	t.Helper()
	answer := w.Dial(t).Call("uapi", "Email", "verify_password", fmt.Sprintf(`{"email":"user@example.com","password":%q}`, password))
	return strings.Contains(answer, `"data":1`)
}

// Mocks answer for functions that no module has, for every program alike; they hide a module only if they are told to, an
// edit is served at once, and a host in server mode refuses them.
func TestMocks(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	mock := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(w.Dir, "mocks", name), []byte(text), 0o644))
	}
	mock("Mysql.toml", `
help = "Databases."
[[answer]]
function = "list_databases"
data = [{database = "{{.Account.Name}}_b", disk_usage = 9007199254740993}, {database = "{{.Account.Name}}_a", disk_usage = 1}]
[[answer]]
function = "create_database"
when = {name = "demo_full"}
error = "The database “{{.Args.name}}” can't be created."
kind = "denied"
[[answer]]
function = "create_database"
sequence = [{messages = ["made {{.Args.name}}"]}, {error = "made {{.Count}} times"}]
[[answer]]
api = "api2"
function = "listdbs"
data = [{db = "demo_a"}]
`)
	mock("Email.json", `{"answer":[{"function":"count_pops","data":99},{"function":"mocked_only","data":"yes"}]}`)
	w.Serve(t)
	c := w.Dial(t)
	call := func(module, function, args string) string { return c.Call("uapi", module, function, args) }
	listed := call("Mysql", "list_databases", `{"api.sort":1,"api.sort_column":"database"}`)
	require.Contains(t, listed, `"data":[{"database":"demo_a","disk_usage":1},{"database":"demo_b","disk_usage":9007199254740993}]`, "lists are sorted like those of a module")
	require.Contains(t, listed, `"liveapid_mocked":"`+filepath.Join(w.Dir, "mocks", "Mysql.toml"))
	require.Contains(t, call("Mysql", "create_database", `{"name":"demo_full"}`), `"errors":["The database “demo_full” can't be created."]`)
	require.Contains(t, call("Mysql", "create_database", `{"name":"demo_a"}`), `"messages":["made demo_a"]`)
	require.Contains(t, call("Mysql", "create_database", `{"name":"demo_a"}`), `"errors":["made 2 times"]`)
	require.Contains(t, c.Call("2", "Mysql", "listdbs", `{}`), `"data":[{"db":"demo_a"}]`)
	require.Contains(t, call("Email", "count_pops", `{}`), `"data":1,`, "the module answers")
	require.Contains(t, call("Email", "mocked_only", `{}`), `"data":"yes"`)
	require.Contains(t, call("Mysql", "nothing", `{}`), `Failed to load module “Mysql”`)
	mock("Email.json", `{"replace":true,"answer":[{"function":"count_pops","data":99}]}`)
	require.Contains(t, call("Email", "count_pops", `{}`), `"data":99`)
	mock("Email.json", `{"answer":[{"funktion":"count_pops"}]}`)
	said, err := w.Command(t, "liveapi", "module", "check", "--config", w.Config).Output()
	require.Error(t, err)
	require.Contains(t, string(said), `mocks/Email.json: unknown field "funktion"`)

	server := hosttest.Server(t)
	server.Set(t, "mode ", "mocks = \"mocks\"\nmode ")
	said, err = server.Command(t, "liveapid", "serve").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(said), "a host in server mode never answers with mocks")
}
