// Package scripts finds the modules that are written as scripts: the subdirectories of a modules directory
// that contain a module.pl or module.php, and the cPanel-style UAPI modules in the subdirectory Cpanel/API.
// The package returns the command for each module; it does not start any module.
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

// Module describes a module that is written as a script.
type Module struct {
	Name     string         // The name that callers use.
	Dir      string         // The directory in which the script starts.
	Command  []string       // The program and its arguments.
	Env      []string       // Added to the environment of every worker.
	Settings map[string]any // The operator's settings, from module.toml.
	Source   string         // The script's path, for messages.
	Stamp    string         // Changes with each change of the files that the script may load.
}

// Broken is a module that can't be used.
type Broken struct {
	Name string // "" if the fault concerns several modules.
	Path string
	Err  error
}

// PluginSettings returns the settings that the plugin cmd/liveapi-script needs to run the module.
func (m Module) PluginSettings() map[string]any {
	settings := map[string]any{"module": m.Name, "dir": m.Dir, "command": texts(m.Command), "env": texts(m.Env), "source": m.Source}
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

// manifest is the content of a module directory's module.toml. All keys are optional.
type manifest struct {
	Name     string         `toml:"name"`     // "" means the directory's name.
	Command  []string       `toml:"command"`  // Empty: perl for module.pl, php for module.php.
	Settings map[string]any `toml:"settings"` // Passed to the script unchanged.
}

// Finder finds the script modules in a modules directory.
type Finder struct {
	Dir      string // Absolute path of the modules directory.
	Bindings string // Directory that contains perl/lib and php/module.php.
	// Check returns an error if the file or directory is not safe to run for other users. A nil Check trusts
	// all files.
	Check func(path string) error
}

// Find returns the modules, and in broken those that can't be used; the other modules are not affected. err is not nil if
// the modules directory itself can't be read.
func (f Finder) Find() (modules []Module, broken []Broken, err error) {
	entries, err := os.ReadDir(f.Dir)
	if err != nil {
		return nil, nil, fmt.Errorf("modules: %w", err)
	}
	// Every script loads the bindings. If the bindings fail the check, Find returns no modules and reports
	// the error in broken. err stays nil, because the host can still serve modules that are not scripts.
	for _, dir := range []string{"perl", "php"} {
		if err := f.checkAll(filepath.Join(f.Bindings, dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("all script modules are skipped, because a check of the language bindings failed: %w", err)
			return nil, []Broken{{Path: f.Bindings, Err: err}}, nil
		}
	}
	seen := make(map[string]bool)
	shared := f.shared(entries)
	add := func(path string, m Module, err error) {
		if err == nil && seen[m.Name] {
			err = fmt.Errorf("the module name %s is used more than once in %s", m.Name, f.Dir)
		}
		if err != nil {
			broken = append(broken, Broken{Name: m.Name, Path: path, Err: err})
			return
		}
		seen[m.Name] = true
		roots := shared
		if m.Dir != f.Dir {
			roots = append([]string{m.Dir}, shared...)
		}
		m.Stamp = stamp(roots, m.Source)
		modules = append(modules, m)
	}
	for _, e := range entries {
		path := filepath.Join(f.Dir, e.Name())
		if e.Name() == "Cpanel" {
			// A cPanel-style module may load any file in the modules directory, so all of these files are
			// checked.
			if err := f.checkAll(f.Dir); err != nil {
				broken = append(broken, Broken{Path: path, Err: fmt.Errorf("the modules in %s are skipped: %w", path, err)})
				continue
			}
			for _, file := range custom(path) {
				add(file, f.customModule(file), nil)
			}
			continue
		}
		// os.Stat follows links, so a link to a directory counts as a directory.
		if info, err := os.Stat(path); err != nil || !info.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		m, err := f.module(path)
		if err != nil {
			err = fmt.Errorf("module directory %s: %w", path, err)
		}
		add(path, m, err)
	}
	return modules, broken, nil
}

// custom returns the paths of the cPanel-style modules (*.pm) in the subdirectory API of cpanel.
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
		Name: name, Dir: f.Dir, Source: file, Env: []string{"LIVEAPI_MODULE=" + name},
		Command: []string{
			"perl", "-I", f.Dir, "-I", filepath.Join(f.Bindings, "perl", "lib"),
			"-MLiveAPI::Module::Custom", "-e", "LiveAPI::Module::Custom->serve(@ARGV)", "--", name, file,
		},
	}
}

func (f Finder) module(dir string) (Module, error) {
	broken := Module{Name: filepath.Base(dir)}
	// The check comes first, so that a directory that other users can write is not even read.
	if err := f.checkAll(dir); err != nil {
		return broken, err
	}
	var m manifest
	text, err := readManifest(filepath.Join(dir, "module.toml"))
	if err == nil {
		err = strictoml.Decode(text, &m)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return broken, fmt.Errorf("module.toml: %w", err)
	}
	if m.Name == "" {
		m.Name = filepath.Base(dir)
	}
	out := Module{Name: m.Name, Dir: dir, Command: m.Command, Settings: m.Settings, Env: []string{
		"LIVEAPI_MODULE=" + m.Name, "PERL5LIB=" + filepath.Join(f.Bindings, "perl", "lib"),
	}}
	if len(out.Command) == 0 {
		out.Command, err = f.command(dir)
	}
	out.Source = sourceOf(dir, out.Command)
	return out, err
}

// sourceOf returns the path of the script that command runs: the last word that names a file in dir, or else dir.
func sourceOf(dir string, command []string) string {
	for i := len(command) - 1; i >= 0; i-- {
		path := command[i]
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && strings.HasPrefix(path, dir+"/") {
			return path
		}
	}
	return dir
}

// maxManifest is the maximum size of a module.toml in bytes.
const maxManifest = 64 << 10

// readManifest reads a module.toml. The file must be a regular file, not a link, and must not be larger than
// maxManifest.
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
		return nil, fmt.Errorf("must be a regular file of at most %d bytes", maxManifest)
	}
	return io.ReadAll(io.LimitReader(file, maxManifest))
}

// command returns the default command for the script in dir, for a module without a command in its manifest.
func (f Finder) command(dir string) (command []string, err error) {
	for _, kind := range []struct {
		script  string
		command []string
	}{
		{"module.pl", []string{"perl"}},
		{"module.php", []string{"php", "-d", "display_errors=stderr", "-d", "log_errors=0", "-d", "auto_prepend_file=" + filepath.Join(f.Bindings, "php", "module.php")}},
	} {
		path := filepath.Join(dir, kind.script)
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if command != nil {
			return nil, errors.New("the directory has both module.pl and module.php; set command in its module.toml")
		}
		command = append(kind.command, path)
	}
	if command == nil {
		return nil, errors.New("the directory has neither module.pl nor module.php, and no module.toml that sets command")
	}
	return command, nil
}

// checkAll calls Check for dir and everything below it, because a script may load any of these files. It
// returns the first error.
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
