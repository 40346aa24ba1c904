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

// Plugin is a plugin program, a table [[plugin]] of the configuration or a file of its plugin_dir.
type Plugin struct {
	Name string `toml:"-"` // The name of its file in plugin_dir; "" if it comes from [[plugin]].
	// The program. Default: liveapi-email of the installation.
	Path string `toml:"path" packaged:"\"/usr/lib/liveapid/liveapi-email\""`
	// The program's arguments. If path is an interpreter, the last one is the plugin's own file.
	Args []string `toml:"args" example:"[\"/usr/lib/liveapid/my-plugin.py\"]"`
	// The program's SHA-256 in hexadecimal digits. A program with another checksum is not started.
	SHA256 string `toml:"sha256" example:"\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\""`
	// The modules that the program serves. Without it the host starts the program to learn them.
	Modules []string `toml:"modules" example:"[\"Email\"]"`

	Settings map[string]any `toml:"settings"` // The plugin's own.
}

// Sum returns the SHA-256 that the plugin's binary must have, or nil if none is configured.
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

// fill makes paths absolute.
func (p *Plugin) fill(absolute func(string) string) {
	p.Path = absolute(p.Path)
	if len(p.Args) == 0 {
		return
	}
	// The path of an interpreter is often a link to the installed version.
	if real, err := filepath.EvalSymlinks(p.Path); err == nil {
		p.Path = real
	}
	// A worker starts in /, so a relative path would not be found.
	if file := absolute(p.Args[len(p.Args)-1]); fileExists(file) {
		p.Args[len(p.Args)-1] = file
	}
}

// IsPluginName reports whether a name is valid for a plugin in plugin_dir.
func IsPluginName(name string) bool {
	return name != "" && len(name) <= 64 && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// ReadPlugins returns the plugins in plugin_dir, sorted by name. check is called for each file before it is
// read; it may be nil. A broken plugin is left out and returned as an error that names it.
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
