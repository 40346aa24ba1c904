package tests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// uapiAnswer returns a UAPI answer with only data.
func uapiAnswer(module, function, data string) string {
	return fmt.Sprintf(`{"apiversion":3,"module":%q,"func":%q,"result":{"data":%s,"errors":null,"messages":null,"metadata":{},"status":1,"warnings":null}}`, module, function, data)
}

// addModule writes a script module into the world's modules directory.
func addModule(t *testing.T, w *hosttest.World, name, file, text string) {
	t.Helper()
	path := filepath.Join(w.Dir, "modules", name, file)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

// The modules in examples/, unchanged: in Perl, PHP, Python over gRPC, and a custom UAPI module.
// TestExampleModule tests the Go module.
func TestExampleModules(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	examples := filepath.Join(hosttest.Root(t), "examples")
	require.NoError(t, os.CopyFS(filepath.Join(w.Dir, "modules"), os.DirFS(filepath.Join(examples, "modules"))))
	appendConfig(t, w, "\n[[plugin]]\npath = \"/usr/bin/python3\"\nargs = ["+strconv.Quote(filepath.Join(examples, "hello-python", "hello.py"))+"]\n")
	account := filepath.Join(w.Dir, "accounts", "demo.toml")
	w.Serve(t)
	c := w.Dial(t)

	require.Equal(t, `{"apiversion":3,"module":"Greeting","func":"greet","result":{"data":{"greeting":"Hello, Zoë!"},"errors":null,"messages":["Greeted once."],"metadata":{"language":"en"},"status":1,"warnings":null}}`,
		c.Call("uapi", "Greeting", "greet", `{"name":"Zoë"}`))
	require.Contains(t, c.Call("uapi", "Greeting", "greet", `{"name":"Zoë","greeting":"Ahoj","times":null}`), `"data":{"greeting":"Ahoj, Zoë!"},"errors":null,"messages":null`)
	require.Contains(t, c.Call("uapi", "Greeting", "greet", `{"name":""}`), `"errors":["Provide the ‘name’ argument."]`)
	require.Contains(t, c.Call("uapi", "Greeting", "greet", `{"name":"nobody"}`), `"errors":["I do not greet “nobody”."]`)
	require.Contains(t, c.Call("uapi", "Greeting", "farewell", `{"name":"Z"}`), `"data":"Farewell, Z!"`)

	require.Equal(t, uapiAnswer("Notes", "add", "1"), c.Call("uapi", "Notes", "add", `{"text":"päß"}`))
	require.Equal(t, uapiAnswer("Notes", "list", `[{"text":"päß"}]`), c.Call("uapi", "Notes", "list", `{}`))
	require.Contains(t, c.Call("uapi", "Notes", "add", `{"text":"a\nb"}`), `"errors":["The ‘text’ argument must be one line."]`)
	require.Contains(t, c.Call("uapi", "Notes", "add", `{}`), `"errors":["Provide the ‘text’ argument."]`)
	c.Call("uapi", "Notes", "add", `{"text":"b"}`)
	c.Call("uapi", "Notes", "add", `{"text":"c"}`)
	require.Contains(t, c.Call("uapi", "Notes", "add", `{"text":"d"}`), `"errors":["3 notes are stored, which is the limit."]`, "the manifest's setting")

	require.Equal(t, uapiAnswer("Visits", "count", `{"page":"/a","visits":1}`), c.Call("uapi", "Visits", "count", `{"page":"/a"}`))
	require.Equal(t, uapiAnswer("Visits", "count", `{"page":"/a","visits":2}`), c.Call("uapi", "Visits", "count", `{"page":"/a"}`))
	require.Equal(t, `{"cpanelresult":{"apiversion":2,"module":"Visits","func":"list","data":[{"page":"/a","visits":2}],"event":{"result":1}}}`, c.Call("2", "Visits", "list", `{}`))

	require.Equal(t, uapiAnswer("HelloPython", "greet", `"Hello, Zoë! You are demo."`), c.Call("uapi", "HelloPython", "greet", `{"name":"Zoë"}`))
	require.Contains(t, c.Call("uapi", "HelloPython", "greet", `{"name":"nobody"}`), `"errors":["I do not greet nobody."]`)

	// A session has the features that the account has at its start.
	text, err := os.ReadFile(account)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(account, append(text, "features = [\"other\"]\n"...), 0o644))
	require.Contains(t, w.Dial(t).Call("uapi", "Greeting", "farewell", `{"name":"Z"}`), `"errors":["You do not have the feature “farewells”."]`)
}

func appendConfig(t *testing.T, w *hosttest.World, text string) {
	t.Helper()
	f, err := os.OpenFile(w.Config, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

const faultyPerl = `use strict; use warnings; use LiveAPI::Module;
my $m = LiveAPI::Module->new(name => 'Faulty');
$m->uapi('run', changes => 1, params => [{name => 'how'}, {name => 'password', type => 'secret'}], do => sub {
    my ($call) = @_;
    my $how = $call->get('how');
    return $$ if $how eq 'pid';
    print "printed\n", system('echo a child printed') if $how eq 'print';
    die "with " . length($call->get('password')) . " secret bytes\n" if $how eq 'die';
    exit 3 if $how eq 'exit';
    sleep 60 if $how eq 'hang';
    1 while $how eq 'loop';
    return sub { } if $how eq 'code';
    return unpack 'H*', $call->get('password');
});
$m->serve;
`

const faultyPHP = `<?php
$m = new LiveAPI\Module('Faulty');
$m->uapi('run', ['changes' => true, 'params' => [['name' => 'how'], ['name' => 'password', 'type' => 'secret']]], function ($call) {
    switch ($call->get('how')) {
        case 'pid': return getmypid();
        case 'print': echo "printed\n"; system('echo a child printed'); fwrite(fopen('php://output', 'w'), "x\n"); break;
        case 'die': throw new Exception('with ' . strlen($call->get('password')) . ' secret bytes');
        case 'exit': exit(3);
        case 'hang': sleep(60); break;
        case 'code': return fopen('php://memory', 'r');
    }
    return bin2hex($call->get('password'));
});
$m->serve();
`

// R18: a script that dies, hangs or prints text fails only its own call, and the next call gets a new script.
func TestR18_FaultyScripts(t *testing.T) {
	t.Parallel()
	for file, text := range map[string]string{"module.pl": faultyPerl, "module.php": faultyPHP} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			w := hosttest.Sandbox(t)
			addModule(t, w, "Faulty", file, text)
			addModule(t, w, "Broken", "module.pl", "die 'it does not even start'")
			w.Limits(t, "call = \"15s\"")
			host := w.Serve(t)
			c := w.Dial(t)
			run := func(how string) string {
				return c.Call("uapi", "Faulty", "run", `{"how":"`+how+`","password":"c4n4ry\u0000ä"}`)
			}
			pid := func() int {
				answer := run("pid")
				_, rest, _ := strings.Cut(answer, `"data":`)
				number, _, _ := strings.Cut(rest, ",")
				n, err := strconv.Atoi(number)
				require.NoError(t, err, answer)
				return n
			}
			const whole = `"63346e34727900c3a4"`
			first := pid()
			require.Contains(t, run(""), whole)
			require.Contains(t, run("print"), whole)
			require.Contains(t, run("die"), "The request failed. (Error ID: ")
			require.Contains(t, run("code"), "The request failed. (Error ID: ")
			require.Equal(t, first, pid(), "the same script served all that")

			require.Contains(t, run("exit"), "The Faulty module stopped while it ran this call. Whether the change was made is not known")
			second := pid()
			require.NotEqual(t, first, second)
			require.Contains(t, run("hang"), "The Faulty module did not answer within 15s.")
			third := pid()
			require.NotEqual(t, second, third)
			gone := func(pid int) {
				require.Eventually(t, func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }, hosttest.Patience, time.Millisecond)
			}
			require.Eventually(t, func() bool { return strings.Contains(host.Log.String(), "signal: killed") }, hosttest.Patience, time.Millisecond)
			gone(second) // The script that hung.

			// Killing a script between calls fails no call.
			killed := strings.Count(host.Log.String(), "signal: killed")
			require.NoError(t, syscall.Kill(third, syscall.SIGKILL))
			require.Eventually(t, func() bool { return strings.Count(host.Log.String(), "signal: killed") > killed }, hosttest.Patience, time.Millisecond)
			require.Contains(t, run(""), whole)

			require.Contains(t, c.Call("uapi", "Broken", "f", `{}`), "The Broken module is not available at the moment and nothing was changed.")
			require.Contains(t, c.Call("2", "Email", "passwdpop", `{"domain":"example.com","email":"user","password":"x"}`), `"result":1}]`)
			fourth := pid()
			host.Stop(t)
			gone(fourth) // Scripts end with the host.
			for _, says := range []string{"printed", "a child printed", "with 9 secret bytes", "it does not even start"} {
				require.Contains(t, host.Log.String(), says)
			}
			require.NotContains(t, host.Log.String(), "c4n4ry")
		})
	}
}

// R18: scripts die with a killed host.
func TestR18_ScriptsDieWithTheHost(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	addModule(t, w, "Faulty", "module.pl", faultyPerl)
	host := w.Serve(t)
	_, rest, ok := strings.Cut(w.Dial(t).Call("uapi", "Faulty", "run", `{"how":"pid"}`), `"data":`)
	require.True(t, ok)
	number, _, _ := strings.Cut(rest, ",")
	pid, err := strconv.Atoi(number)
	require.NoError(t, err)
	// A script that runs a call does not notice the end of its standard input.
	w.Dial(t).Send(hosttest.Action("uapi", "Faulty", "run", `{"how":"loop"}`))
	require.Eventually(t, func() bool {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err == nil && strings.Contains(string(state), ") R ")
	}, hosttest.Patience, time.Millisecond)
	require.NoError(t, host.Process.Kill())
	require.Error(t, host.Wait(t))
	require.Eventually(t, func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH }, hosttest.Patience, time.Millisecond)
}

// In server mode only root may be able to change the files that a script module runs.
func TestServerModeLeavesOutOthersScripts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("server mode needs root")
	}
	t.Parallel()
	// A directory below /tmp can be replaced by any user who can write /tmp.
	dir, err := os.MkdirTemp("/run", "lw")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	w := hosttest.SandboxIn(t, dir)
	addModule(t, w, "Mine", "module.pl", "use LiveAPI::Module; my $m = LiveAPI::Module->new(name => 'Mine'); $m->serve;")
	addModule(t, w, "Theirs", "module.pl", "")
	require.NoError(t, os.Chmod(filepath.Join(w.Dir, "modules", "Theirs", "module.pl"), 0o666))
	log := filepath.Join(w.Dir, "log")
	text, err := os.ReadFile(w.Config)
	require.NoError(t, err)
	// The source tree may be writable by others, too.
	require.NoError(t, os.CopyFS(filepath.Join(dir, "bindings"), os.DirFS(filepath.Join(hosttest.Root(t), "bindings"))))
	server := strings.NewReplacer(`mode     = "personal"`, `mode = "server"`, `modules  = "modules"`, "modules = \"modules\"\nbindings = \""+filepath.Join(dir, "bindings")+"\"", `account  = "demo"`, "", `mocks    = "mocks"`, "").Replace(string(text))
	require.NoError(t, os.WriteFile(w.Config, []byte(server), 0o644))
	cmd := w.Command(t, "liveapid", "serve")
	out, err := os.Create(log)
	require.NoError(t, err)
	cmd.Stderr = out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	w.WaitForSocket(t)
	said, err := os.ReadFile(log)
	require.NoError(t, err)
	require.NotContains(t, string(said), "modules/Mine")
	require.Contains(t, string(said), "modules/Theirs/module.pl must be a regular file or a directory that belongs to root and that no other user can write")
}

// A module that starts too slowly is given up, and the other modules are served.
func TestSlowStart(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	addModule(t, w, "Slow", "module.pl", "sleep 600")
	w.Set(t, fmt.Sprintf("worker_start = %q", hosttest.Patience), `worker_start = "700ms"`)
	host := w.Serve(t)
	require.Contains(t, w.Dial(t).Call("uapi", "Slow", "f", `{}`), "The Slow module is not available at the moment and nothing was changed.")
	require.Eventually(t, func() bool { return strings.Contains(host.Log.String(), "did not start within 700ms") }, hosttest.Patience, hosttest.Tick)
}
