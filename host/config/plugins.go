package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/host/config/strictoml"
)

// Plugin configures a plugin program. It is a table [[plugin]] of the configuration or a file in plugin_dir.
type Plugin struct {
	Name string `toml:"-"` // File name in plugin_dir, without .toml; "" for a [[plugin]].
	// The path of the program. Default: the liveapi-email of the installation.
	Path string `toml:"path" packaged:"\"/usr/lib/liveapid/liveapi-email\""`
	// The program's arguments. If path is an interpreter, the last argument is the path of the plugin's own
	// file.
	Args []string `toml:"args" example:"[\"/usr/lib/liveapid/my-plugin.py\"]"`
	// The SHA-256 of the program, in hexadecimal digits. The host does not start a program with another
	// checksum.
	SHA256 string `toml:"sha256" example:"\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\""`
	// The modules that the program serves. If the key is missing, the host starts the program to ask for its
	// modules.
	Modules []string `toml:"modules" example:"[\"Email\"]"`

	Settings map[string]any `toml:"settings"` // The plugin's own settings.
}

// Sum returns the configured SHA-256 of the plugin's program in binary form, or nil if none is configured.
func (p Plugin) Sum() ([]byte, error) {
	if p.SHA256 == "" {
		return nil, nil
	}
	sum, err := hex.DecodeString(p.SHA256)
	if err != nil || len(sum) != 32 {
		return nil, errors.New("sha256: must be 64 hexadecimal digits, as sha256sum prints them")
	}
	return sum, nil
}

// fill makes the program's path absolute. If the last argument is the path of an existing file, fill makes
// this path absolute, too. If the program has arguments, fill replaces a symbolic link in the program's path
// by the link's target.
func (p *Plugin) fill(absolute func(string) string) {
	p.Path = absolute(p.Path)
	if len(p.Args) == 0 {
		return
	}
	// A program with arguments may be an interpreter. An interpreter's path is often a symbolic link to the
	// installed version.
	if real, err := filepath.EvalSymlinks(p.Path); err == nil {
		p.Path = real
	}
	// A worker's working directory is /, so the worker would not find a file with a relative path.
	if file := absolute(p.Args[len(p.Args)-1]); fileExists(file) {
		p.Args[len(p.Args)-1] = file
	}
}

// IsPluginName reports whether name is a valid name for a plugin in plugin_dir: at most 64 letters, digits,
// hyphens and underscores.
func IsPluginName(name string) bool {
	return name != "" && len(name) <= 64 && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// ReadPlugins returns the plugins in plugin_dir, sorted by name. If check is not nil, it is called for each
// file before the file is read, and its error rejects the file. A plugin that can't be used is left out of
// plugins; broken contains an error that names its file.
func (c *Config) ReadPlugins(check func(path string) error) (plugins []Plugin, broken []error) {
	if c.PluginDir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(c.PluginDir)
	if err != nil {
		return nil, []error{fmt.Errorf("plugin_dir: %w", err)}
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".toml")
		if !ok || !IsPluginName(name) {
			continue
		}
		path := filepath.Join(c.PluginDir, e.Name())
		p, err := readPlugin(path, check)
		if err != nil {
			broken = append(broken, fmt.Errorf("plugin %s: %w", path, err))
			continue
		}
		p.Name = name
		plugins = append(plugins, p)
	}
	slices.SortFunc(plugins, func(a, b Plugin) int { return strings.Compare(a.Name, b.Name) })
	return plugins, broken
}

func readPlugin(path string, check func(string) error) (Plugin, error) {
	var p Plugin
	if check != nil {
		if err := check(path); err != nil {
			return p, err
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return p, err
	}
	if err := strictoml.Decode(text, &p); err != nil {
		return p, err
	}
	if !filepath.IsAbs(p.Path) {
		return p, errors.New("path: must be absolute")
	}
	p.fill(func(path string) string { return path })
	_, err = p.Sum()
	return p, err
}
