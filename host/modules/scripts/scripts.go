// Package scripts finds the modules that are written as scripts: the subdirectories of a modules directory
// with a module.pl or module.php, and cPanel-style UAPI modules in its Cpanel/API. It returns how to start
// each module and starts nothing itself.
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

// Module is a script module.
type Module struct {
	Name     string         // The name that callers use.
	Dir      string         // The directory in which the script starts.
	Command  []string       // Program and arguments.
	Env      []string       // In addition to a worker's own environment.
	Settings map[string]any // The operator's settings, from the manifest.
}

// PluginSettings returns the settings of cmd/liveapi-script for the module.
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

// manifest is a directory's module.toml. All keys are optional.
type manifest struct {
	Name     string         `toml:"name"`     // "" means the directory's name.
	Command  []string       `toml:"command"`  // Empty means perl or php, by the script's name.
	Settings map[string]any `toml:"settings"` // Passed to the script.
}

// Finder searches a modules directory.
type Finder struct {
	Dir      string // The modules directory, absolute.
	Bindings string // The directory with perl/lib and php/module.php.
	// Check reports whether a file or directory may be run for others; nil trusts all.
	Check func(path string) error
}

// Find returns the modules, and an error for each broken module, which does not affect the others. err means
// that the directory itself can't be read.
func (f Finder) Find() (modules []Module, broken []error, err error) {
	entries, err := os.ReadDir(f.Dir)
	if err != nil {
		return nil, nil, fmt.Errorf("modules: %w", err)
	}
	// Every script loads these. Without them there are no script modules, but the host has others to serve.
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
			broken = append(broken, fmt.Errorf("module %s is repeated in %s", m.Name, f.Dir))
		default:
			seen[m.Name] = true
			modules = append(modules, m)
		}
	}
	for _, e := range entries {
		path := filepath.Join(f.Dir, e.Name())
		if e.Name() == "Cpanel" {
			// Such a module may load any file in the modules directory.
			if err := f.checkAll(f.Dir); err != nil {
				broken = append(broken, fmt.Errorf("the modules in %s: %w", path, err))
				continue
			}
			for _, file := range custom(path) {
				add(f.customModule(file), nil)
			}
			continue
		}
		// A link to a directory counts as a directory.
		if info, err := os.Stat(path); err != nil || !info.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		m, err := f.module(path)
		if err != nil {
			err = fmt.Errorf("module directory %s: %w", path, err)
		}
		add(m, err)
	}
	return modules, broken, nil
}

// custom returns the files of the cPanel-style modules.
func custom(cpanel string) []string {
	var files []string
	dir := filepath.Join(cpanel, "API")
	entries, _ := os.ReadDir(dir) // The directory may not exist.
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

func (f Finder) module(dir string) (Module, error) {
	// This comes first: a directory that others can write is not even read.
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

// maxManifest limits a module.toml, in bytes.
const maxManifest = 64 << 10

// readManifest reads a module.toml, which must be a regular file within the limit.
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

// command returns the command for a script without a command in its manifest.
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

// checkAll checks every file in a module's directory, because a script may load any of them.
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
