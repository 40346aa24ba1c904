// Package scripts finds the modules that are written as scripts: the folders of a modules
// folder, each with a module.pl or module.php, and cPanel-style UAPI modules in its
// Cpanel/API. It says how each is started and starts nothing itself.
package scripts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/liveapid/liveapid/host/strictoml"
)

// Module is one script module.
type Module struct {
	Name     string         // As callers name it.
	Dir      string         // Where the script starts.
	Command  []string       // Program and arguments.
	Env      []string       // Beside a worker's own.
	Settings map[string]any // The operator's, from the manifest.
}

// PluginSettings are the module as cmd/liveapi-script takes it.
func (m Module) PluginSettings() map[string]any {
	settings := map[string]any{"module": m.Name, "dir": m.Dir, "command": texts(m.Command), "env": texts(m.Env)}
	if m.Settings != nil {
		settings["settings"] = m.Settings
	}
	return settings
}

func texts(list []string) []any {
	out := make([]any, len(list))
	for i, text := range list {
		out[i] = text
	}
	return out
}

// manifest is a folder's module.toml. All of it may be left out.
type manifest struct {
	Name     string         `toml:"name"`     // "" is the folder's name.
	Command  []string       `toml:"command"`  // Empty: perl or php, by the script's name.
	Settings map[string]any `toml:"settings"` // Handed to the script.
}

// Finder looks into one modules folder.
type Finder struct {
	Dir      string // The modules folder, absolute.
	Bindings string // The folder with perl/lib and php/module.php.
	// Check tells whether a file or folder may be run for others; nil trusts all.
	Check func(path string) error
}

// Find returns the modules and, beside them, what is wrong with others: a broken module
// must not take the rest with it. The error is for the folder itself.
func (f Finder) Find() (modules []Module, broken []error, err error) {
	entries, err := os.ReadDir(f.Dir)
	if err != nil {
		return nil, nil, fmt.Errorf("modules: %w", err)
	}
	seen := make(map[string]bool)
	add := func(m Module, err error) {
		switch {
		case err != nil:
			broken = append(broken, err)
		case seen[m.Name]:
			broken = append(broken, fmt.Errorf("module %s stands twice in %s", m.Name, f.Dir))
		default:
			seen[m.Name] = true
			modules = append(modules, m)
		}
	}
	for _, e := range entries {
		path := filepath.Join(f.Dir, e.Name())
		if e.Name() == "Cpanel" {
			for _, file := range f.custom(path) {
				m, err := f.customModule(file)
				add(m, err)
			}
			continue
		}
		// A link to a folder is one as well.
		if info, err := os.Stat(path); err != nil || !info.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		m, err := f.folder(path)
		if err != nil {
			err = fmt.Errorf("module folder %s: %w", path, err)
		}
		add(m, err)
	}
	return modules, broken, nil
}

// custom returns the cPanel-style modules' files.
func (f Finder) custom(cpanel string) []string {
	files, _ := filepath.Glob(filepath.Join(cpanel, "API", "*.pm")) // The pattern is well formed.
	return files
}

func (f Finder) customModule(file string) (Module, error) {
	if err := f.check(file); err != nil {
		return Module{}, fmt.Errorf("module %s: %w", file, err)
	}
	name := strings.TrimSuffix(filepath.Base(file), ".pm")
	return Module{
		Name: name, Dir: f.Dir, Env: []string{"LIVEAPI_MODULE=" + name},
		Command: []string{
			"perl", "-I", f.Dir, "-I", filepath.Join(f.Bindings, "perl", "lib"),
			"-MLiveAPI::Module::Custom", "-e", "LiveAPI::Module::Custom->serve(@ARGV)", "--", name, file,
		},
	}, nil
}

func (f Finder) folder(dir string) (Module, error) {
	var m manifest
	path := filepath.Join(dir, "module.toml")
	text, err := os.ReadFile(path)
	if err == nil {
		err = strictoml.Decode(text, &m)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Module{}, fmt.Errorf("module.toml: %w", err)
	}
	if m.Name == "" {
		m.Name = filepath.Base(dir)
	}
	out := Module{Name: m.Name, Dir: dir, Command: m.Command, Settings: m.Settings, Env: []string{"LIVEAPI_MODULE=" + m.Name}}
	if len(out.Command) == 0 {
		if out.Command = f.command(dir); out.Command == nil {
			return Module{}, errors.New("it has neither module.pl nor module.php, and its module.toml names no command")
		}
	}
	return out, f.checkAll(dir)
}

// command is how a script is started that has no command of its own.
func (f Finder) command(dir string) []string {
	for name, command := range map[string][]string{
		"module.pl":  {"perl", "-I", filepath.Join(f.Bindings, "perl", "lib")},
		"module.php": {"php", "-d", "display_errors=stderr", "-d", "auto_prepend_file=" + filepath.Join(f.Bindings, "php", "module.php")},
	} {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return append(command, path)
		}
	}
	return nil
}

func (f Finder) check(path string) error {
	if f.Check == nil {
		return nil
	}
	return f.Check(path)
}

// checkAll checks everything in a module's folder: a script loads what lies beside it.
func (f Finder) checkAll(dir string) error {
	if f.Check == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return f.Check(path)
	})
}
