package tests

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// mistake is a module with a typical mistake of its author.
type mistake struct {
	name  string // Also the module's name.
	files map[string]string
	// call is the function that the test calls; "" for a module that can't be loaded.
	call string
}

const (
	perlStart   = "use strict;\nuse warnings;\nuse LiveAPI::Module;\nmy $module = LiveAPI::Module->new(name => $ENV{LIVEAPI_MODULE});\n"
	perlEnd     = "$module->serve;\n"
	phpStart    = "<?php\ndeclare(strict_types=1);\n$module = new LiveAPI\\Module(getenv('LIVEAPI_MODULE'));\n"
	phpEnd      = "$module->serve();\n"
	pythonStart = "import os\nimport liveapi\nmodule = liveapi.Module(os.environ[\"LIVEAPI_MODULE\"])\n"
	pythonEnd   = "module.serve()\n"
	goStart     = "package main\n\nimport (\n\t\"context\"\n\t\"time\"\n\n\t\"github.com/liveapid/liveapid/plugins/sdk\"\n\t\"github.com/liveapid/liveapid/protocol\"\n)\n\nvar _ = time.Second\n\n"
	goEnd       = "\nfunc main() {\n\tsdk.Serve(&sdk.Module{Name: \"NAME\", Functions: []sdk.Function{{Function: protocol.Function{API: protocol.UAPI, Name: \"f\", Roles: []protocol.Role{protocol.RoleAccount}}, Do: f}}})\n}\n"
)

func perl(text string) map[string]string { return map[string]string{"module.pl": text} }
func php(text string) map[string]string  { return map[string]string{"module.php": text} }
func python(text string) map[string]string {
	return map[string]string{"module.py": text, "module.toml": "command = [\"python3\", \"module.py\"]\n"}
}

// scriptMistakes are the mistakes of authors who write scripts.
var scriptMistakes = []mistake{
	{"PerlSyntax", perl(perlStart + "$module->uapi('f', do => sub { return 1 )});\n" + perlEnd), ""},
	{"PerlLibrary", map[string]string{"module.pl": "use lib '.';\nuse Helper;\n" + perlStart + perlEnd, "Helper.pm": "package Helper;\nsub help { return 1 }\n0;\n"}, ""},
	{"PerlNoServe", perl(perlStart), ""},
	{"PerlKey", perl(perlStart + "$module->uapi('f',\n    parms => [],\n    do => sub { return 1 },\n);\n" + perlEnd), ""},
	{"PerlName", perl("use LiveAPI::Module;\nLiveAPI::Module->new(name => 'Other')->serve;\n"), ""},
	{"PerlPrint", perl(perlStart + "print \"Größe\\n\";\n$module->uapi('f', do => sub { print \"called\\n\"; return 'printed' });\n" + perlEnd), "f"},
	{"PerlDie", perl(perlStart + "$module->uapi('f', do => sub {\n    die 'no ö';\n});\n" + perlEnd), "f"},
	{"PerlDieLine", perl(perlStart + "$module->uapi('f', do => sub {\n    die \"no line\\n\";\n});\n" + perlEnd), "f"},
	{"PerlExit", perl(perlStart + "$module->uapi('f', do => sub {\n    exit 3;\n});\n" + perlEnd), "f"},
	{"PerlReturn", perl(perlStart + "$module->uapi('f', do => sub {\n    return sub { };\n});\n" + perlEnd), "f"},
	{"PerlKind", perl(perlStart + "$module->uapi('f', do => sub {\n    $_[0]->fail('no', 'wrong');\n});\n" + perlEnd), "f"},
	{"PerlLoop", perl(perlStart + "$module->uapi('f', do => sub {\n    1 while 1;\n});\n" + perlEnd), "f"},
	{"PerlSlow", perl("1 while 1;\n"), ""},

	{"PhpSyntax", php(phpStart + "$module->uapi('f', [], function () { return 1; }\n" + phpEnd), ""},
	{"PhpNoServe", php(phpStart), ""},
	{"PhpKey", php(phpStart + "$module->uapi('f', ['parms' => []], fn () => 1);\n" + phpEnd), ""},
	{"PhpPrint", php(phpStart + "echo \"Größe\\n\";\n$module->uapi('f', [], function () { echo \"called\\n\"; return 'printed'; });\n" + phpEnd), "f"},
	{"PhpThrow", php(phpStart + "$module->uapi('f', [], function () {\n    throw new RuntimeException('no ö');\n});\n" + phpEnd), "f"},
	{"PhpUndefined", php(phpStart + "$module->uapi('f', [], function () {\n    return missing();\n});\n" + phpEnd), "f"},
	{"PhpExit", php(phpStart + "$module->uapi('f', [], function () {\n    exit('gone');\n});\n" + phpEnd), "f"},
	{"PhpReturn", php(phpStart + "$module->uapi('f', [], function () {\n    return STDERR;\n});\n" + phpEnd), "f"},
	{"PhpKind", php(phpStart + "$module->uapi('f', [], function ($call) {\n    $call->fail('no', 'wrong');\n});\n" + phpEnd), "f"},
	{"PhpLoop", php(phpStart + "$module->uapi('f', [], function () {\n    while (true) {\n    }\n});\n" + phpEnd), "f"},

	{"PythonSyntax", python(pythonStart + "def f(:\n    pass\n" + pythonEnd), ""},
	{"PythonNoServe", python(pythonStart), ""},
	{"PythonKey", python(pythonStart + "@module.uapi(\"f\", parms=[])\ndef f(call):\n    return 1\n" + pythonEnd), ""},
	{"PythonPrint", python(pythonStart + "@module.uapi(\"f\")\ndef f(call):\n    print(\"Größe\")\n    return \"printed\"\n" + pythonEnd), "f"},
	{"PythonPrintBare", python("print(\"hello\")\n"), ""},
	{"PythonRaise", python(pythonStart + "@module.uapi(\"f\")\ndef f(call):\n    raise RuntimeError(\"no ö\")\n" + pythonEnd), "f"},
	{"PythonExit", python(pythonStart + "@module.uapi(\"f\")\ndef f(call):\n    os._exit(3)\n" + pythonEnd), "f"},
	{"PythonReturn", python(pythonStart + "@module.uapi(\"f\")\ndef f(call):\n    return object()\n" + pythonEnd), "f"},
	{"PythonLoop", python(pythonStart + "@module.uapi(\"f\")\ndef f(call):\n    while True:\n        pass\n" + pythonEnd), "f"},

	{"ManifestKey", map[string]string{"module.pl": perlStart + perlEnd, "module.toml": "# The module.\nnam = \"x\"\n"}, ""},
	{"ManifestSyntax", map[string]string{"module.pl": perlStart + perlEnd, "module.toml": "name = x\n"}, ""},
	{"NoInterpreter", map[string]string{"run": "x", "module.toml": "command = [\"nothing-like-this\", \"run\"]\n"}, ""},
	{"NotExecutable", map[string]string{"run": "#!/usr/bin/python3\n", "module.toml": "command = [\"./run\"]\n"}, ""},
	{"NoScript", map[string]string{"main.pl": ""}, ""},
	{"BothScripts", map[string]string{"module.pl": "", "module.php": ""}, ""},

	{"CustomTrue", map[string]string{"../Cpanel/API/CustomTrue.pm": "package Cpanel::API::CustomTrue;\nsub f { return 1 }\n0;\n"}, ""},
	{"CustomPackage", map[string]string{"../Cpanel/API/CustomPackage.pm": "package Cpanel::API::Other;\nsub f { return 1 }\n1;\n"}, ""},
	{"CustomSyntax", map[string]string{"../Cpanel/API/CustomSyntax.pm": "package Cpanel::API::CustomSyntax;\nsub f { return 1 )}\n1;\n"}, ""},
	{"CustomDie", map[string]string{"../Cpanel/API/CustomDie.pm": "package Cpanel::API::CustomDie;\nsub f {\n    die 'no';\n}\n1;\n"}, "f"},
	{"CustomFalse", map[string]string{"../Cpanel/API/CustomFalse.pm": "package Cpanel::API::CustomFalse;\nsub f {\n    return;\n}\n1;\n"}, "f"},
}

// goMistakes are the mistakes of authors who write plugins in Go. A syntax error is the compiler's.
var goMistakes = []mistake{
	{"GoPanic", map[string]string{"main.go": goStart + "func f(context.Context, *sdk.Call) (any, error) {\n\tvar list []int\n\treturn list[7], nil\n}\n" + goEnd}, "f"},
	{"GoReturn", map[string]string{"main.go": goStart + "func f(context.Context, *sdk.Call) (any, error) { return make(chan int), nil }\n" + goEnd}, "f"},
	{"GoLoop", map[string]string{"main.go": goStart + "func f(context.Context, *sdk.Call) (any, error) {\n\tselect {}\n}\n" + goEnd}, "f"},
	{"GoNoServe", map[string]string{"main.go": strings.Replace(goStart, "var _ =", "var _, _ = sdk.Serve, protocol.UAPI\nvar _ context.Context\nvar _ =", 1) + "func main() {}\n"}, ""},
	{"GoStart", map[string]string{"main.go": strings.Replace(goStart, "var _ =", "var _, _ = sdk.Serve, protocol.UAPI\nvar _ context.Context\nvar _ =", 1) + "func main() {\n\tpanic(\"no settings\")\n}\n"}, ""},
}

// write writes the files of the mistake's module into dir.
func (m mistake) write(t *testing.T, dir string) {
	t.Helper()
	for name, text := range m.files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(text, "NAME", m.name)), 0o644))
	}
	if len(m.files) > 0 && m.files["module.py"] != "" {
		helper, err := os.ReadFile(filepath.Join(hosttest.Root(t), "host/dev/scaffold/templates/python/liveapi.py"))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "liveapi.py"), helper, 0o644))
	}
}

func isEndless(m mistake) bool {
	return strings.HasSuffix(m.name, "Loop") || strings.HasSuffix(m.name, "Slow")
}

// callAll calls the function f of each module and returns the answers. Functions that do not return are called together.
func callAll(t *testing.T, w *hosttest.World, all []mistake) map[string]string {
	var mu sync.Mutex
	answers := make(map[string]string)
	call := func(name string) {
		answer := w.Dial(t).Call("uapi", name, "f", `{}`)
		mu.Lock()
		defer mu.Unlock()
		answers[name] = answer
	}
	var endless sync.WaitGroup
	for _, m := range all {
		if !isEndless(m) {
			call(m.name)
		}
	}
	for _, m := range all {
		if isEndless(m) {
			endless.Go(func() { call(m.name) })
		}
	}
	endless.Wait()
	return answers
}

// Each typical mistake of an author has a message with the file and the line, both in "liveapi module check" and in the
// answer of a call. testdata/mistakes.txt has the messages; with UPDATE_GOLDEN=1 the test writes it.
func TestMistakes(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	w.Set(t, fmt.Sprintf("worker_start = %q", hosttest.Patience), "worker_start = \"6s\"\ncall = \"6s\"")
	for _, m := range scriptMistakes {
		m.write(t, filepath.Join(w.Dir, "modules", m.name))
	}
	require.NoError(t, os.RemoveAll(filepath.Join(w.Dir, "modules", "CustomTrue")))
	for _, m := range goMistakes {
		dir := filepath.Join(w.Dir, "go", m.name)
		m.write(t, dir)
		// The directory is inside the repository's module only for the compiler.
		overlay := filepath.Join(w.Dir, m.name+".json")
		place := filepath.Join(hosttest.Root(t), "examples", strings.ToLower(m.name), "main.go")
		require.NoError(t, os.WriteFile(overlay, []byte(fmt.Sprintf(`{"Replace":{%q:%q}}`, place, filepath.Join(dir, "main.go"))), 0o600))
		program := filepath.Join(w.Dir, m.name)
		build := exec.Command("go", "build", "-overlay", overlay, "-o", program, filepath.Dir(place))
		build.Dir = hosttest.Root(t)
		hosttest.Output(t, build)
		appendConfig(t, w, fmt.Sprintf("\n[[plugin]]\npath = %q\nmodules = [%q]\n", program, m.name))
	}
	w.Serve(t)

	check := w.Command(t, "liveapi", "module", "check", "--config", w.Config)
	var checked bytes.Buffer
	check.Stdout = &checked
	var exit *exec.ExitError
	require.True(t, errors.As(check.Run(), &exit), "modules with mistakes give exit status 1")
	require.Equal(t, 1, exit.ExitCode())

	all := slices.Concat(scriptMistakes, goMistakes)
	answers := callAll(t, w, all)
	var out strings.Builder
	for _, m := range all {
		_, _ = fmt.Fprintf(&out, "== %s\n", m.name)
		found := false
		for _, finding := range strings.Split("\n"+checked.String(), "\nwrong: ")[1:] {
			finding, _, _ = strings.Cut(finding, "\nwell: ")
			if strings.HasPrefix(finding, "plugin "+m.name+" ") {
				_, _ = fmt.Fprintf(&out, "check: %s\n", strings.TrimSpace(finding))
				found = true
			}
		}
		require.Equal(t, m.call == "", found, "%s: %s", m.name, checked.String())
		answer := answers[m.name]
		said := regexp.MustCompile(`"errors":\[(".*?")\],"messages"`).FindStringSubmatch(answer)
		if said == nil {
			_, _ = fmt.Fprintf(&out, "call:  %s\n", regexp.MustCompile(`"data":[^,]*`).FindString(answer))
			continue
		}
		_, _ = fmt.Fprintf(&out, "call:  %s\n", said[1])
	}
	got := out.String()
	for _, change := range [][2]string{
		{regexp.QuoteMeta(w.Dir), "DIR"}, {`Error ID: [a-z2-7]{6}`, "Error ID: ID"}, {regexp.QuoteMeta(hosttest.Root(t)), "ROOT"}, {`worker [0-9]+ is gone`, "worker PID is gone"},
		{`(\n|\\n) *[~^]+( *)(\n|\\n)`, "$3"}, // Python's marks below a line differ between versions.
		// Of Perl's and Python's versions, some say more, or exit with another status.
		{`exit status (29|255)`, "exit status 255"}, {`(\n|\\n) *Execution of [^ ]+ aborted due to compilation errors\.`, ""}, {`(\n|\\n) *Traceback \(most recent call last\):`, ""},
		{`goroutine [0-9]+`, "goroutine N"}, {`\+?0x[0-9a-f]+`, "0xN"},
	} {
		got = regexp.MustCompile(change[0]).ReplaceAllString(got, change[1])
	}
	golden := filepath.Join(hosttest.Root(t), "tests", "testdata", "mistakes.txt")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}
