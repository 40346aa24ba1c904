// Package scripts finds the modules that are written as scripts: the folders of a modules
// folder, each with a module.pl or module.php, and cPanel-style UAPI modules in its
// Cpanel/API. It says how each is started and starts nothing itself.
package scripts

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/liveapid/liveapid/host/config/strictoml"
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
	// What every script loads. Without it there are no modules; the host has others to serve.
	for _, dir := range []string{"perl", "php"} {
		if err := f.checkAll(filepath.Join(f.Bindings, dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, []error{fmt.Errorf("all modules: the libraries that they load: %w", err)}, nil
		}
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
			// Such a module may load whatever lies in the modules folder.
			if err := f.checkAll(f.Dir); err != nil {
				broken = append(broken, fmt.Errorf("the modules in %s: %w", path, err))
				continue
			}
			for _, file := range custom(path) {
				add(f.customModule(file), nil)
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
func custom(cpanel string) []string {
	var files []string
	dir := filepath.Join(cpanel, "API")
	entries, _ := os.ReadDir(dir) // There may be none.
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".pm") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files
}

func (f Finder) customModule(file string) Module {
	name := strings.TrimSuffix(filepath.Base(file), ".pm")
	return Module{
		Name: name, Dir: f.Dir, Env: []string{"LIVEAPI_MODULE=" + name},
		Command: []string{
			"perl", "-I", f.Dir, "-I", filepath.Join(f.Bindings, "perl", "lib"),
			"-MLiveAPI::Module::Custom", "-e", "LiveAPI::Module::Custom->serve(@ARGV)", "--", name, file,
		},
	}
}

func (f Finder) folder(dir string) (Module, error) {
	// First: what others can write is not even read.
	if err := f.checkAll(dir); err != nil {
		return Module{}, err
	}
	var m manifest
	text, err := readManifest(filepath.Join(dir, "module.toml"))
	if err == nil {
		err = strictoml.Decode(text, &m)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Module{}, fmt.Errorf("module.toml: %w", err)
	}
	if m.Name == "" {
		m.Name = filepath.Base(dir)
	}
	out := Module{Name: m.Name, Dir: dir, Command: m.Command, Settings: m.Settings, Env: []string{
		"LIVEAPI_MODULE=" + m.Name, "PERL5LIB=" + filepath.Join(f.Bindings, "perl", "lib"),
	}}
	if len(out.Command) > 0 {
		return out, nil
	}
	out.Command, err = f.command(dir)
	return out, err
}

// maxManifest bounds a module.toml, in bytes.
const maxManifest = 64 << 10

// readManifest reads a module.toml: a file, and not too long a one.
func readManifest(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxManifest {
		return nil, fmt.Errorf("it must be a file of at most %d bytes", maxManifest)
	}
	return io.ReadAll(io.LimitReader(file, maxManifest))
}

// command is how a script is started that has no command of its own.
func (f Finder) command(dir string) (command []string, err error) {
	for _, kind := range []struct {
		script  string
		command []string
	}{
		{"module.pl", []string{"perl"}},
		{"module.php", []string{"php", "-d", "display_errors=stderr", "-d", "auto_prepend_file=" + filepath.Join(f.Bindings, "php", "module.php")}},
	} {
		path := filepath.Join(dir, kind.script)
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if command != nil {
			return nil, errors.New("it has both module.pl and module.php; name the command in its module.toml")
		}
		command = append(kind.command, path)
	}
	if command == nil {
		return nil, errors.New("it has neither module.pl nor module.php, and its module.toml names no command")
	}
	return command, nil
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
