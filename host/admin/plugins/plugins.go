// Package plugins implements the command liveapi module: it registers plugins by their checksum, removes
// registrations, and checks whether each registered plugin can be served.
package plugins

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/atomicfile"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/daemon"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/protocol"
)

// Describe starts each plugin of the configuration c once and returns the modules of each plugin, or the
// error of a plugin that fails. Other errors are logged to log.
func Describe(ctx context.Context, c *config.Config, log io.Writer) ([]daemon.Modules, error) {
	own := *c // A copy without the paths that only a running host may open.
	own.RunDir, own.Audit, own.Control, own.Metrics = "", "", "", ""
	rt, err := daemon.New(&own, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		return nil, err
	}
	defer rt.Close()
	var a protocol.Account
	if c.Mode == config.Personal {
		if a, err = daemon.Account(c); err != nil {
			return nil, err
		}
	}
	return rt.Describe(ctx, a), nil
}

// Names returns the names of the given modules, separated by spaces, and the total number of the modules'
// functions.
func Names(modules []protocol.Module) (names string, functions int) {
	var all []string
	for _, m := range modules {
		all = append(all, m.Name)
		functions += len(m.Functions)
	}
	return strings.Join(all, " "), functions
}

// Finding is the result of one check: one line of output.
type Finding struct {
	Kind Kind   `json:"kind"`
	Text string `json:"text"`
}

// Kind is the severity of a finding. Its value is the word that is printed.
type Kind string

// The severities of findings.
const (
	Good    Kind = "well"
	Note    Kind = "note"
	Problem Kind = "wrong"
)

// Check starts each plugin of the configuration c and returns a finding for each plugin: the modules that it
// serves, or why it can't be served. Modules that two plugins serve are reported, too.
func Check(ctx context.Context, c *config.Config) (findings []Finding) {
	add := func(kind Kind, format string, args ...any) {
		findings = append(findings, Finding{kind, fmt.Sprintf(format, args...)})
	}
	all, err := Describe(ctx, c, io.Discard)
	if err != nil {
		add(Problem, "%v", err)
		return findings
	}
	seen := make(map[string]string)
	for _, p := range all {
		switch {
		case p.Err != nil && p.Name == "":
			add(Problem, "%s", host.CauseOf(p.Err))
			continue
		case p.Err != nil:
			add(Problem, "plugin %s (%s): %s", p.Name, p.Path, host.CauseOf(p.Err))
			continue
		}
		names, functions := Names(p.Modules)
		add(Good, "plugin %s serves %s, %d functions", p.Name, names, functions)
		for _, m := range p.Modules {
			if first, twice := seen[m.Name]; twice {
				add(Note, "plugin %s also serves the module %s, but gets no calls for this module: plugin %s comes first", p.Name, m.Name, first)
			} else {
				seen[m.Name] = p.Name
			}
		}
	}
	return findings
}

// manifest is the contents of a plugin's file in plugin_dir, in the form in which Add writes the file.
type manifest struct {
	Modules []string `toml:"modules"`
	Path    string   `toml:"path"`
	Args    []string `toml:"args,omitempty"`
	SHA256  string   `toml:"sha256"`
}

// Added describes a plugin that Add has registered.
type Added struct {
	Name, File string
	Modules    []string
}

// Add starts program once, to find out which modules it serves, and registers the program as a plugin with
// its checksum. If name is "", the plugin is named after the program's file.
func Add(ctx context.Context, c *config.Config, name, program string, args []string) (Added, error) {
	var out Added
	if c.PluginDir == "" {
		return out, errors.New("the configuration key plugin_dir, the directory of the plugin files, is not set")
	}
	program, err := filepath.Abs(program)
	if err != nil {
		return out, err
	}
	if name == "" {
		name = strings.TrimSuffix(filepath.Base(program), filepath.Ext(program))
	}
	if !config.IsPluginName(name) {
		return out, admin.Usage(fmt.Errorf("--name: %.60q is not a valid plugin name: a name consists of at most 64 letters, digits, - and _", name))
	}
	if c.Mode == config.Server {
		if err := isolate.CheckTrusted(program); err != nil {
			return out, err
		}
	}
	sum, err := sumOf(program)
	if err != nil {
		return out, err
	}
	m := manifest{Path: program, Args: args, SHA256: sum}
	if m.Modules, err = modulesOf(ctx, c, config.Plugin{Path: program, Args: args, SHA256: sum}); err != nil {
		return out, fmt.Errorf("%s can't be used as a plugin and was not registered: %w", program, err)
	}
	text, err := toml.Marshal(m)
	if err != nil {
		return out, err
	}
	out = Added{Name: name, File: filepath.Join(c.PluginDir, name+".toml"), Modules: m.Modules}
	err = atomicfile.WriteNew(out.File, text, 0o644)
	if errors.Is(err, os.ErrExist) {
		return out, fmt.Errorf("a plugin %s is already registered: remove that plugin first, or choose another --name", name)
	}
	return out, err
}

// modulesOf starts the plugin p, and no other plugin of the configuration, and returns the names of its
// modules.
func modulesOf(ctx context.Context, c *config.Config, p config.Plugin) (names []string, err error) {
	alone := *c
	alone.Plugins, alone.PluginDir, alone.Modules = []config.Plugin{p}, "", ""
	all, err := Describe(ctx, &alone, io.Discard)
	if err == nil {
		err = all[0].Err
	}
	if err != nil {
		return nil, err
	}
	for _, module := range all[0].Modules {
		names = append(names, module.Name)
	}
	return names, nil
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Remove removes the registration of the plugin called name. The plugin's program file stays.
func Remove(c *config.Config, name string) error {
	err := os.ErrNotExist
	if c.PluginDir != "" && config.IsPluginName(name) {
		err = os.Remove(filepath.Join(c.PluginDir, name+".toml"))
	}
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no plugin %.60q in plugin_dir", name)
	}
	return err
}
