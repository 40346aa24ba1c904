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

// goFiles returns the project's own Go files, by directory.
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

// under tells whether dir is one of the given directories or lies below one.
func under(dir string, directories ...string) bool {
	return slices.ContainsFunc(directories, func(f string) bool { return dir == f || strings.HasPrefix(dir, f+"/") })
}

// Imports point one way: cmd to host to protocol, plugins to their sdk to protocol. Host
// and plugins never meet but at protocol/plugin; a plugin's tests may use a host.
func TestImports(t *testing.T) {
	for dir, files := range goFiles(t) {
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			require.NoError(t, err)
			test := strings.HasSuffix(file, "_test.go")
			for _, spec := range parsed.Imports {
				path := strings.Trim(spec.Path.Value, `"`)
				own, ok := strings.CutPrefix(path, module+"/")
				if !ok {
					if path == "os/exec" && !test {
						require.True(t, under(dir, "host/isolate", "host/worker", "host/admin/postqueue", "host/identity/pam", "host/dev/livepage", "host/hosttest", "cmd/liveapi", "client", "plugins/script", "plugins/email/store/sqlstore/dbtest", "tests"), "%s: programs are started in few places", file)
					}
					continue
				}
				switch {
				case test && !under(dir, "protocol"):
				case under(dir, "protocol"):
					require.True(t, under(own, "protocol"), "%s imports %s", file, own)
					if dir == "protocol" {
						require.True(t, test, "%s: protocol imports nothing of the project", file)
					}
				case under(dir, "plugins"):
					require.True(t, under(own, "protocol", "plugins") || under(dir, "plugins/email/store/sqlstore/dbtest") && own == "tests/ports", "%s imports %s", file, own)
					require.False(t, dir == "plugins/sdk" && under(own, "plugins"), "%s imports %s", file, own)
				case under(dir, "host"):
					require.True(t, under(own, "protocol", "host") || dir == "host/hosttest" && own == "tests/ports", "%s imports %s", file, own)
				case under(dir, "client"):
					require.True(t, under(own, "protocol"), "%s imports %s", file, own)
				}
				require.False(t, own == "host/hosttest" && !test && dir != "tests", "%s: hosttest is for tests", file)
			}
		}
	}
}

// Every package says what it is, in doc.go or on one of its files, and no file grows
// beyond what one purpose needs.
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

// The example of a module in the documentation: short, and callable as it stands there.
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

// The examples in the documentation of passwdpop, as programs, unchanged but for where
// the shims lie.
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
