package scripts_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/modules/scripts"
)

// writeTree writes files below a new directory. A name with a trailing / is a directory.
func writeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if strings.HasSuffix(name, "/") {
			require.NoError(t, os.MkdirAll(path, 0o755))
			continue
		}
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

func TestFind(t *testing.T) {
	dir := writeTree(t, map[string]string{
		"Cpanel/API/Hello.pm":  "",
		"Cpanel/API/notes.txt": "",
		"Cpanel/Other.pm":      "",
		"Perl/module.pl":       "",
		"php/module.php":       "",
		"php/module.toml":      "name = \"Php\"\n[settings]\nmost = 3\n",
		"Own/module.toml":      "command = [\"ruby\", \"-w\", \"main.rb\"]\n",
		"Own/main.rb":          "",
		"Empty/":               "",
		"Typo/module.toml":     "nam = \"x\"\n",
		"Typo/module.pl":       "",
		"Zwice/module.pl":      "",
		"Zwice/module.toml":    "name = \"Perl\"\n",
		".git/module.pl":       "",
		"README.md":            "",
		"Both/module.pl":       "",
		"Both/module.php":      "",
		"Long/module.toml":     strings.Repeat("#\n", 40_000),
		"Long/module.pl":       "",
	})
	modules, broken, err := scripts.Finder{Dir: dir, Bindings: "/b"}.Find()
	require.NoError(t, err)
	byName := make(map[string]scripts.Module)
	for _, m := range modules {
		byName[m.Name] = m
	}
	require.Len(t, modules, 4)
	require.Equal(t, []string{"perl", filepath.Join(dir, "Perl", "module.pl")}, byName["Perl"].Command)
	require.Equal(t, filepath.Join(dir, "Perl"), byName["Perl"].Dir)
	require.Equal(t, "/b/php/module.php", strings.TrimPrefix(byName["Php"].Command[6], "auto_prepend_file="))
	require.Equal(t, map[string]any{"most": int64(3)}, byName["Php"].PluginSettings()["settings"])
	require.Equal(t, []string{"ruby", "-w", "main.rb"}, byName["Own"].Command)
	require.Equal(t, []string{"Hello", filepath.Join(dir, "Cpanel/API/Hello.pm")}, byName["Hello"].Command[len(byName["Hello"].Command)-2:])
	require.Equal(t, []string{"LIVEAPI_MODULE=Hello"}, byName["Hello"].Env)

	said := brokenErrors(broken).Error()
	require.Len(t, broken, 5)
	require.Contains(t, said, "Both: the directory has both")
	require.Contains(t, said, "Long: module.toml: must be a regular file")
	require.Equal(t, []string{"LIVEAPI_MODULE=Perl", "PERL5LIB=/b/perl/lib"}, byName["Perl"].Env)
	require.Contains(t, said, "Empty: the directory has neither module.pl nor module.php")
	require.Contains(t, said, "Typo: module.toml: ")
	require.Contains(t, said, "the module name Perl is used more than once")

	_, _, err = scripts.Finder{Dir: filepath.Join(dir, "none")}.Find()
	require.ErrorContains(t, err, "modules: ")
}

// Each file that a script could load is checked, and a module that fails the check is skipped.
func TestFindChecks(t *testing.T) {
	const bad = "anybody can write it"
	check := func(path string) error {
		if filepath.Base(path) == "Bad.pm" {
			return errors.New(bad)
		}
		return nil
	}
	find := func(dir, bindings string) ([]string, []scripts.Broken, error) {
		modules, broken, err := scripts.Finder{Dir: dir, Bindings: bindings, Check: check}.Find()
		var names []string
		for _, m := range modules {
			names = append(names, m.Name)
		}
		return names, broken, err
	}
	dir := writeTree(t, map[string]string{
		"Cpanel/API/Custom.pm": "", "A/module.pl": "", "A/lib/Bad.pm": "", "B/module.pl": "",
	})
	// An untrusted manifest is not read. Reading this one would never end.
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "A", "module.toml"), 0o600))
	names, broken, err := find(dir, "/none")
	require.NoError(t, err)
	require.Equal(t, []string{"B"}, names, "custom modules may load all that is in the directory")
	require.Len(t, broken, 2)
	for _, b := range broken {
		require.ErrorContains(t, b.Err, bad)
	}

	require.NoError(t, os.RemoveAll(filepath.Join(dir, "A")))
	names, broken, err = find(dir, "/none")
	require.NoError(t, err)
	require.Empty(t, broken)
	require.ElementsMatch(t, []string{"B", "Custom"}, names)
	names, broken, err = find(dir, writeTree(t, map[string]string{"perl/lib/Bad.pm": ""}))
	require.NoError(t, err)
	require.Empty(t, names)
	require.ErrorContains(t, brokenErrors(broken), bad)
}

func brokenErrors(broken []scripts.Broken) error {
	var all []error
	for _, b := range broken {
		all = append(all, b.Err)
	}
	return errors.Join(all...)
}

// A change of a module's code, or of a library that modules share, changes the stamp of the modules that may load it.
// Data that a module writes beside its code does not.
func TestStamp(t *testing.T) {
	dir := writeTree(t, map[string]string{
		"A/module.pl": "a", "A/lib/Own.pm": "a", "A/data.json": "a", "B/module.php": "b", "B/module.toml": `command = ["./run"]`, "B/run": "b",
		"lib/Shared.pm": "s", "Cpanel/API/Custom.pm": "c",
	})
	stamps := func() map[string]string {
		modules, _, err := scripts.Finder{Dir: dir}.Find()
		require.NoError(t, err)
		out := map[string]string{"all": scripts.Stamp(dir)}
		for _, m := range modules {
			out[m.Name] = m.Stamp
		}
		return out
	}
	require.Equal(t, stamps(), stamps())
	for file, changed := range map[string][]string{
		"A/module.pl": {"A", "all"}, "A/lib/Own.pm": {"A", "all"}, "A/lib/New.pm": {"A", "all"}, "A/data.json": nil, "A/more.log": nil,
		"B/run": {"B"}, "lib/Shared.pm": {"A", "B", "Custom", "all"}, "Cpanel/API/Custom.pm": {"A", "B", "Custom", "all"},
	} {
		before := stamps()
		path := filepath.Join(dir, file)
		require.NoError(t, os.WriteFile(path, []byte("changed "+file), 0o644))
		after := stamps()
		var got []string
		for name := range after {
			if before[name] != after[name] {
				got = append(got, name)
			}
		}
		require.ElementsMatch(t, changed, got, file)
	}
}
