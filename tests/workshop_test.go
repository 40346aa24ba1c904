package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// In personal mode the next call gets an edited module, whatever file of its code was edited: a script, a library beside
// it, a library of all modules, or a custom module. A module that was broken and repaired is served again, too.
func TestEditedModules(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	write := func(name, text string) {
		path := filepath.Join(w.Dir, "modules", name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	perlOf := func(say string) string {
		return perlStart + "use FindBin; use lib \"$FindBin::Bin\", \"$FindBin::Bin/../lib\"; use Own; use Shared;\n" +
			"$module->uapi('f', do => sub { return '" + say + " ' . Own::say() . ' ' . Shared::say() });\n" + perlEnd
	}
	write("P/module.pl", perlOf("one"))
	write("P/Own.pm", "package Own; sub say { 'one' } 1;")
	write("lib/Shared.pm", "package Shared; sub say { 'one' } 1;")
	write("H/module.php", phpStart+"$module->uapi('f', [], fn () => 'one');\n"+phpEnd)
	write("Cpanel/API/C.pm", "package Cpanel::API::C;\nsub f { $_[1]->data('one'); return 1 }\n1;\n")
	w.Serve(t)
	c := w.Dial(t)
	says := func(module, text string) {
		t.Helper()
		require.Equal(t, uapiAnswer(module, "f", `"`+text+`"`), c.Call("uapi", module, "f", `{}`))
	}
	says("P", "one one one")
	says("H", "one")
	says("C", "one")

	write("P/module.pl", perlOf("two"))
	says("P", "two one one")
	write("P/Own.pm", "package Own; sub say { 'two' } 1;")
	says("P", "two two one")
	write("lib/Shared.pm", "package Shared; sub say { 'two' } 1;")
	says("P", "two two two")
	write("H/module.php", phpStart+"$module->uapi('f', [], fn () => 'two');\n"+phpEnd)
	says("H", "two")
	write("Cpanel/API/C.pm", "package Cpanel::API::C;\nsub f { $_[1]->data('two'); return 1 }\n1;\n")
	says("C", "two")

	write("H/module.php", phpStart+"$module->uapi('f', [], fn () => );\n"+phpEnd)
	require.Contains(t, c.Call("uapi", "H", "f", `{}`), "H/module.php on line 4")
	write("H/module.php", phpStart+"$module->uapi('f', [], fn () => 'three');\n"+phpEnd)
	says("H", "three")
	write("New/module.pl", perlStart+"$module->uapi('f', do => sub { 'new' });\n"+perlEnd)
	says("New", "new")
	require.NoError(t, os.RemoveAll(filepath.Join(w.Dir, "modules", "New")))
	require.Contains(t, c.Call("uapi", "New", "f", `{}`), "Failed to load module “New”.")
}

// An edit while a call runs does not disturb the call, and the next call does not wait for it.
func TestEditDuringACall(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	text := func(say string) string {
		return perlStart + "$module->uapi('f', do => sub { return '" + say + "' });\n" +
			"$module->uapi('wait', params => [{name => 'fifo'}], do => sub { open my $in, '<', $_[0]->get('fifo') or die $!; return '" + say + " ' . <$in> });\n" + perlEnd
	}
	addModule(t, w, "W", "module.pl", text("old"))
	w.Serve(t)
	fifo := filepath.Join(w.Dir, "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	waiting := w.Dial(t)
	waiting.Send(hosttest.Action("uapi", "W", "wait", fmt.Sprintf(`{"fifo":%q}`, fifo)))
	var to *os.File
	require.Eventually(t, func() bool { // The open succeeds when the function has opened the other end.
		var err error
		to, err = os.OpenFile(fifo, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return err == nil
	}, hosttest.Patience, hosttest.Tick)
	addModule(t, w, "W", "module.pl", text("new"))
	require.Equal(t, uapiAnswer("W", "f", `"new"`), w.Dial(t).Call("uapi", "W", "f", `{}`))
	_, err := to.WriteString("done")
	require.NoError(t, err)
	require.NoError(t, to.Close())
	require.Contains(t, waiting.Answer(), `"data":"old done"`)
}

// In server mode a reload serves edited modules, and only those start again. A module that others may write is left out,
// and its caller learns no reason.
func TestServerModules(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, 20001)
	// The source tree may be writable by others.
	bindings := filepath.Join(w.Dir, "bindings")
	require.NoError(t, os.CopyFS(bindings, os.DirFS(filepath.Join(hosttest.Root(t), "bindings"))))
	w.Set(t, "mode ", fmt.Sprintf("bindings = %q\nmode ", bindings))
	text := func(say string) string {
		return perlStart + "$module->uapi('f', do => sub { return \"" + say + " $$\" });\n$module->uapi('die', do => sub { die 'hidden' });\n" + perlEnd
	}
	addModule(t, w, "Edited", "module.pl", text("one"))
	addModule(t, w, "Other", "module.pl", text("other"))
	addModule(t, w, "Open", "module.pl", text("open"))
	require.NoError(t, os.Chmod(filepath.Join(w.Dir, "modules/Open/module.pl"), 0o666))
	host := w.Serve(t)
	ask := func(module, function string) string { return w.DialUID(t, 20001).Call("uapi", module, function, `{}`) }
	require.Contains(t, ask("Edited", "f"), `"data":"one `)
	other := ask("Other", "f")
	addModule(t, w, "Edited", "module.pl", text("two"))
	require.Contains(t, ask("Edited", "f"), `"data":"one `, "without a reload the old one is served")
	require.NoError(t, host.Process.Signal(syscall.SIGHUP))
	require.Eventually(t, func() bool { return strings.Contains(ask("Edited", "f"), `"data":"two `) }, hosttest.Patience, hosttest.Tick)
	require.Equal(t, other, ask("Other", "f"), "the process of another module goes on")

	require.NotContains(t, ask("Edited", "die"), "hidden", "causes are for the log")
	require.Eventually(t, func() bool { return strings.Contains(host.Log.String(), "hidden at ") }, hosttest.Patience, hosttest.Tick)
	require.Contains(t, ask("Open", "f"), "The Open module is not available at the moment and nothing was changed. Try again later.\"")
	said, err := w.Command(t, "liveapi", "module", "list", "--json", "--config", w.Config).Output()
	var exit *exec.ExitError
	require.True(t, errors.As(err, &exit), "a module can't be used")
	var listed []struct{ Plugin, Path, Error string }
	require.NoError(t, json.Unmarshal(said, &listed))
	for _, p := range listed {
		if p.Plugin == "Open" {
			require.Contains(t, p.Error, "modules/Open/module.pl")
		} else {
			require.Empty(t, p.Error)
			require.NotContains(t, p.Path, "liveapi-script", "the script is named, not its runner")
		}
	}
	require.Len(t, listed, 4)
}

// A new module in each language has a test that passes, and is served.
func TestNewModules(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	w.Serve(t)
	for _, language := range []string{"perl", "php", "python", "go"} {
		name := "New" + language
		args := []string{"module", "new", name, "--lang", language, "--config", w.Config}
		if language == "go" {
			args = append(args, "--dir", filepath.Join(w.Dir, "newgo"), "--replace", hosttest.Root(t))
		}
		said := hosttest.Output(t, w.Command(t, "liveapi", args...))
		_, line, _ := strings.Cut(said, "\nTest it:  ")
		line, _, _ = strings.Cut(line, "\n")
		shell := exec.Command("sh", "-ec", line)
		// The published modules are in the module cache, because this repository needs them, too.
		shell.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOSUMDB=off", "PYTHONDONTWRITEBYTECODE=1")
		hosttest.Output(t, shell)
		if language == "go" {
			continue
		}
		require.Equal(t, uapiAnswer(name, "greet", `{"greeting":"Hello, Zoë! You are demo."}`), w.Dial(t).Call("uapi", name, "greet", `{"name":"Zoë"}`))
		require.Contains(t, w.Dial(t).Call("uapi", name, "greet", `{"name":"`+strings.Repeat("x", 81)+`"}`), "The ‘name’ argument must have at most 80")
		again, err := w.Command(t, "liveapi", args...).CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(again), "the directory already exists")
	}

	// The plugin in Go was built outside this repository.
	built := hosttest.Sandbox(t)
	appendConfig(t, built, fmt.Sprintf("\n[[plugin]]\npath = %q\n", filepath.Join(w.Dir, "newgo", "liveapi-newgo")))
	built.Serve(t)
	require.Equal(t, uapiAnswer("Newgo", "greet", `{"greeting":"Hello, Zoë! You are demo."}`), built.Dial(t).Call("uapi", "Newgo", "greet", `{"name":"Zoë"}`))
}

// The output for programs is JSON, with no secret in it.
func TestJSON(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	web := w.OpenHTTPS(t)
	token := w.Token(t, "demo", "--name", "mine")
	w.Serve(t)
	web.Wait(t)
	for command, has := range map[string]string{
		"module list": `"plugin": "liveapi-email"`, "module check": `"kind": "well"`, "doctor": `"problems": 0`, "status": `"most_workers": `,
		"account list": `"name": "demo"`, "account show demo": `"suspended": false`, "account check": `"wrong": []`, "token list": `"service": "cpanel"`,
	} {
		said := hosttest.Output(t, w.Command(t, "liveapi", append(strings.Fields(command), "--json", "--config", w.Config)...))
		require.Contains(t, said, has, command)
		require.True(t, json.Valid([]byte(said)), said)
		require.NotContains(t, said, token)
		require.NotContains(t, said, "sha256")
	}
}
