package tests

import (
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

const module = "github.com/liveapid/liveapid"

// goFiles returns the project's Go files by directory.
func goFiles(t *testing.T) map[string][]string {
	t.Helper()
	root := hosttest.Root(t)
	out := make(map[string][]string)
	require.NoError(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == ".git" || name == "bin" || name == "artifacts" || name == "testdata") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(name, ".go") {
			dir, err := filepath.Rel(root, filepath.Dir(path))
			if err != nil {
				return err
			}
			out[dir] = append(out[dir], path)
		}
		return nil
	}))
	return out
}

// matches tells whether a directory matches one of the patterns: "host/front" is that directory, "host/front/..."
// is the directory and everything below it.
func matches(dir string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		above, tree := strings.CutSuffix(pattern, "/...")
		return dir == above || tree && strings.HasPrefix(dir, above+"/")
	})
}

// imports lists for each part of the tree the project's packages that it may import. The most specific part
// applies. Imports go from cmd to host to protocol, and from plugins to protocol. The host and the plugins have
// only protocol in common.
var imports = map[string][]string{
	"protocol":                            {},
	"protocol/...":                        {"protocol/..."},
	"client/...":                          {"protocol/..."},
	"plugins/sdk/...":                     {"protocol/..."},
	"plugins/...":                         {"protocol/...", "plugins/..."},
	"plugins/email/store/sqlstore/dbtest": {"tests/ports"},
	"plugins/email/policy/strength":       {},
	"host":                                {"protocol/..."},
	"host/atomicfile":                     {},
	"host/cpaneldir":                      {"host/atomicfile"},
	"host/config/...":                     {"host/config/..."},
	"host/admission":                      {"protocol"},
	"host/identity/...":                   {"protocol/...", "host/atomicfile", "host/config/strictoml"},
	"host/record/...":                     {"protocol", "host"},
	"host/isolate/...":                    {"protocol", "host/isolate/..."},
	"host/modules/...":                    {"protocol/...", "host", "host/config/strictoml", "host/identity/token"},
	"host/modules/cassette":               {"protocol/...", "host/dev/mask"},
	"host/modules/mocks":                  {"protocol/...", "host", "host/modules/cassette"},
	"host/worker":                         {"protocol/...", "host", "host/admission", "host/isolate", "host/front/unixsock"},
	"host/front/...":                      {"protocol/...", "host/admission", "host/atomicfile", "host/identity/...", "host/isolate", "host/front/..."},
	"host/dev/upstream":                   {"protocol/...", "host/front/https/request"},
	"host/dev/...":                        {"protocol/...", "host/dev/...", "host/front/session", "host/front/unixsock", "host/identity/passwdfile"},
	"host/daemon":                         {"protocol/...", "host", "host/admission", "host/atomicfile", "host/config", "host/front/...", "host/identity/...", "host/isolate", "host/modules/...", "host/record/...", "host/worker"},
	"host/admin/...":                      {"protocol/...", "host", "host/admin/...", "host/atomicfile", "host/config", "host/cpaneldir", "host/daemon", "host/front/...", "host/identity/...", "host/isolate", "host/record/audit"},
	"host/hosttest":                       {"protocol/...", "host/config", "host/daemon", "host/front/unixsock", "host/identity/account", "tests/ports"},
	"cmd/liveapi-email":                   {"plugins/...", "cmd/internal/profiling"},
	"cmd/liveapi-script":                  {"plugins/..."},
	"cmd/liveapi-pam":                     {},
	"cmd/...":                             {"protocol/...", "client", "host/...", "cmd/internal/...", "plugins/email/..."},
	"examples/...":                        {"protocol", "plugins/sdk"},
	"tools/...":                           {},
	"tests/...":                           {"protocol/...", "client", "host/...", "plugins/...", "tests/..."},
}

// starters may start processes.
var starters = []string{
	"client", "cmd/liveapi", "host/admin/dovecot", "host/admin/postqueue", "host/cpaneldir", "host/dev/livepage", "host/hosttest", "host/identity/account", "host/identity/pam", "host/isolate/...",
	"host/worker", "plugins/email/store/sqlstore/dbtest", "plugins/script", "tests/...",
}

// allowed returns the imports of the most specific part that contains dir.
func allowed(dir string) ([]string, bool) {
	for at := dir; ; at = filepath.Dir(at) {
		if list, ok := imports[at]; ok && at == dir {
			return list, true
		}
		if list, ok := imports[at+"/..."]; ok {
			return list, true
		}
		if at == "." {
			return nil, false
		}
	}
}

// Imports point in one direction, and processes are started in few places. Tests may import anything, except below
// protocol.
func TestImports(t *testing.T) {
	for dir, files := range goFiles(t) {
		list, ok := allowed(dir)
		require.True(t, ok, "%s: add the directory to imports, with the packages that it may import", dir)
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			require.NoError(t, err)
			test := strings.HasSuffix(file, "_test.go")
			for _, spec := range parsed.Imports {
				path := strings.Trim(spec.Path.Value, `"`)
				own, ok := strings.CutPrefix(path, module+"/")
				switch {
				case path == "os/exec" && !test:
					require.True(t, matches(dir, starters), "%s starts processes: use host/isolate", file)
				case !ok:
				case !test:
					require.True(t, matches(own, list), "%s may not import %s", file, own)
					require.False(t, own == "host/hosttest" && !strings.HasPrefix(dir, "tests"), "%s: hosttest is for tests", file)
				case strings.HasPrefix(dir, "protocol"):
					require.True(t, strings.HasPrefix(own, "protocol"), "%s may not import %s", file, own)
				}
			}
		}
	}
}

// Every package has a package comment, and no file has more than 500 lines.
func TestPackagesAndFiles(t *testing.T) {
	for dir, files := range goFiles(t) {
		documented := false
		for _, file := range files {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			if strings.HasSuffix(file, ".pb.go") {
				documented = true
				continue
			}
			require.LessOrEqual(t, strings.Count(string(content), "\n"), 500, file)
			if !strings.HasSuffix(file, "_test.go") {
				documented = documented || regexp.MustCompile(`(?m)^// (Package|Command) [a-z0-9-]+ [^\n]+\n(//[^\n]*\n)*package `).Match(content)
			}
		}
		require.True(t, documented, "%s has no package comment", dir)
	}
}

// docs/development.md has a line for each package, and names no package that does not exist.
func TestMap(t *testing.T) {
	root := hosttest.Root(t)
	guide, err := os.ReadFile(filepath.Join(root, "docs", "development.md"))
	require.NoError(t, err)
	_, rows, _ := strings.Cut(string(guide), "## The map")
	rows, _, _ = strings.Cut(rows, "## The way of a call")
	code := goFiles(t)
	mapped := make(map[string]bool)
	for _, row := range regexp.MustCompile(`(?m)^\| ([^|]+) \|`).FindAllStringSubmatch(rows, -1) {
		names := strings.Split(strings.Trim(row[1], "*"), ", ")
		first := strings.TrimSuffix(names[0], "/")
		if first == "package" || first == "---" {
			continue
		}
		for _, name := range names {
			// The first name is a path. Each other name is a directory next to it, in it, or a path.
			candidates := []string{filepath.Join(filepath.Dir(first), name), filepath.Join(first, name), name}
			if name == names[0] {
				candidates = []string{first}
			}
			at := slices.IndexFunc(candidates, func(dir string) bool {
				info, err := os.Stat(filepath.Join(root, dir))
				return err == nil && info.IsDir()
			})
			require.GreaterOrEqual(t, at, 0, "docs/development.md: %s does not exist", name)
			mapped[candidates[at]] = true
		}
	}
	for dir := range code {
		if matches(dir, []string{"tests/...", "tools/...", "examples/...", "plugins/email/store/..."}) {
			continue
		}
		require.True(t, mapped[dir], "docs/development.md has no line for %s", dir)
	}
}

// The example in the documentation is short, and works unchanged.
func TestExampleModule(t *testing.T) {
	t.Parallel()
	root := hosttest.Root(t)
	source, err := os.ReadFile(filepath.Join(root, "examples", "hello-go", "main.go"))
	require.NoError(t, err)
	require.Less(t, strings.Count(string(source), "\n"), 40)
	guide, err := os.ReadFile(filepath.Join(root, "docs", "modules.md"))
	require.NoError(t, err)
	require.Contains(t, string(guide), string(source), "docs/modules.md shows the example as it is")

	w := hosttest.Sandbox(t)
	plugin := filepath.Join(w.Dir, "liveapi-hello")
	build := exec.Command("go", "build", "-o", plugin, "./examples/hello-go")
	build.Dir = root
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	config, err := os.OpenFile(w.Config, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = config.WriteString("\n[[plugin]]\npath = \"liveapi-hello\"\n")
	require.NoError(t, err)
	require.NoError(t, config.Close())

	w.Serve(t)
	c := w.Dial(t)
	require.Equal(t, `{"apiversion":3,"module":"Hello","func":"greet","result":{"data":"Hello, World! You are demo.","errors":null,"messages":null,"metadata":{},"status":1,"warnings":null}}`,
		c.Call("uapi", "Hello", "greet", `{"name":"World"}`))
	require.Contains(t, c.Call("uapi", "Hello", "greet", `{}`), `"errors":["Provide the ‘name’ argument."]`)
	require.Contains(t, c.Call("uapi", "Hello", "greet", `{"name":"nobody"}`), `"errors":["I do not greet nobody."]`)
	require.Contains(t, c.Call("2", "Email", "passwdpop", `{"domain":"example.com","email":"user","password":"x"}`), `"result":1}]`)
}

// The documentation's examples of passwdpop work as programs, with only the path of the binding changed.
func TestDocumentedExamples(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	root := hosttest.Root(t)
	php := filepath.Join(w.Dir, "passwdpop.live.php")
	require.NoError(t, os.WriteFile(php, []byte(`<?php
require_once "`+filepath.Join(root, "bindings/php/cpanel.php")+`";
$cpanel = new CPANEL(); // Connect to cPanel - only do this once.

// Change the password for user@example.com.
$change_email_password = $cpanel->api2(
    'Email', 'passwdpop',
        array(
        'domain'          => 'example.com',
        'email'           => 'user',
        'password'        => '12345luggage',
    )
);
print_r($change_email_password);
`), 0o644))
	perl := filepath.Join(w.Dir, "passwdpop.live.pl")
	require.NoError(t, os.WriteFile(perl, []byte(`#!/usr/bin/perl
use Cpanel::LiveAPI;
my $cpliveapi = Cpanel::LiveAPI->new(); # Connect to cPanel - only do this once.

# Change the password for user@example.com.
my $change_email_password = $cpliveapi->api2(
    'Email', 'passwdpop',
        {
        'domain'          => 'example.com',
        'email'           => 'user',
        'password'        => '12345luggage',
    }
);
use Data::Dumper;
print Dumper($change_email_password);
`), 0o644))
	for _, run := range [][]string{{"php", php}, {"perl", perl}, {"liveapi", "run", "php", php}, {"liveapi", "run", "perl", perl}} {
		out := strings.Join(strings.Fields(hosttest.Output(t, w.Command(t, run[0], run[1:]...))), " ")
		require.Regexp(t, `\[?'?result'?\]? => 1`, out, "%v", run)
		require.Equal(t, 1, strings.Count(hosttest.Output(t, verify(t, w, "user", "12345luggage")), `"data":1,`))
		hosttest.Output(t, w.Command(t, "cpapi2", "--user=demo", "Email", "passwdpop", "domain=example.com", "email=user", "password="+sandboxPassword))
	}
}
