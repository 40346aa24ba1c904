package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"syscall"
	"time"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/modules/builtin"
	"github.com/liveapid/liveapid/host/modules/scripts"
	"github.com/liveapid/liveapid/host/worker"
	"github.com/liveapid/liveapid/protocol"
)

// running is a plugin that is served.
type running struct {
	name       string // For people: the name of its file in plugin_dir, of its module, or of its program.
	print      string // Its fingerprint. A plugin with the same name and fingerprint is the same plugin.
	supervisor *worker.Supervisor
}

// allPlugins returns everything that the host serves. Built-in modules come first, so that no plugin can
// take their names.
func (rt *Runtime) allPlugins(all []*running) []host.Plugin {
	plugins := []host.Plugin{builtin.Special{}, builtin.Chrome{}}
	if rt.web.tokens != nil {
		plugins = append(plugins, builtin.Tokens{Store: rt.web.tokens})
	}
	for _, p := range all {
		plugins = append(plugins, p.supervisor)
	}
	return plugins
}

// load makes a supervisor for each plugin that c names, and keeps those in old that have not changed. A
// broken plugin of [[plugin]] is an error; a broken one in a directory, which others may have filled, is
// logged and left out.
func (rt *Runtime) load(c *config.Config, old []*running) ([]*running, error) {
	var all []*running
	add := func(name string, log *slog.Logger, o worker.PluginOptions) {
		print := fingerprint(o)
		for _, p := range old {
			if print != "" && p.print == print && p.name == name {
				all = append(all, p)
				return
			}
		}
		all = append(all, &running{name: name, print: print, supervisor: worker.New(rt.supervisorOptions(c, o, log))})
	}
	plugins, broken := c.ReadPlugins(rt.mode.trust())
	for _, b := range broken {
		rt.log.Error("can't use a plugin; it is skipped", "error", b.Error())
	}
	for _, p := range append(c.Plugins, plugins...) {
		sum, err := p.Sum()
		if err != nil {
			return nil, fmt.Errorf("plugin %s: %w", p.Path, err)
		}
		name := p.Name
		if name == "" {
			name = filepath.Base(p.Path)
		}
		o := worker.PluginOptions{Path: p.Path, Args: p.Args, SHA256: sum, Settings: p.Settings}
		if len(p.Modules) > 0 {
			o.Serves = p.Modules
		}
		add(name, rt.log, o)
	}
	if c.Modules == "" {
		return all, nil
	}
	modules, broken, err := scripts.Finder{Dir: c.Modules, Bindings: c.Bindings, Check: rt.mode.trust()}.Find()
	if err != nil {
		return nil, err
	}
	for _, b := range broken {
		rt.log.Error("can't use a module; it is skipped", "error", b.Error())
	}
	for _, m := range modules {
		add(m.Name, rt.log.With("module", m.Name), worker.PluginOptions{
			Path: c.ScriptWorker, Settings: m.PluginSettings(), Serves: []string{m.Name},
		})
	}
	return all, nil
}

// supervisorOptions adds the options that all supervisors share to a plugin's own.
func (rt *Runtime) supervisorOptions(c *config.Config, plugin worker.PluginOptions, log *slog.Logger) worker.Options {
	o := worker.Options{
		PluginOptions: plugin, RunDir: rt.workers.runDir, Spawner: rt.workers.spawner, Answers: rt.limits.answers,
		Idle: time.Duration(c.Limits.WorkerIdle), Start: time.Duration(c.Limits.WorkerStart), Log: log,
	}
	rt.mode.supervise(c, &o)
	return o
}

// fingerprint returns a hash of all options of a plugin and of the files that they name, so that a reload
// notices every change of them. It returns "" if an option can't be hashed: then the plugin is always
// started again.
func fingerprint(o worker.PluginOptions) string {
	parts := []any{}
	options := reflect.ValueOf(o)
	for i := range options.NumField() {
		parts = append(parts, options.Type().Field(i).Name, options.Field(i).Interface())
	}
	for _, path := range append([]string{o.Path}, o.Args...) {
		var st syscall.Stat_t
		if filepath.IsAbs(path) && syscall.Stat(path, &st) == nil {
			parts = append(parts, st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim)
		}
	}
	// Settings come from TOML, so JSON can hold them. It writes the keys of maps in order.
	text, err := json.Marshal(parts)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Modules are a plugin's name and program, and its modules or the error for which they are not known.
type Modules struct {
	Name, Path string
	Modules    []protocol.Module
	Err        error
}

// Describe asks each plugin for its modules, as the helper or, without one, as account.
func (rt *Runtime) Describe(ctx context.Context, a protocol.Account) []Modules {
	var out []Modules
	for _, p := range rt.state.Load().plugins {
		d := Modules{Name: p.name, Path: p.supervisor.Path()}
		d.Modules, d.Err = p.supervisor.Modules(ctx, a)
		out = append(out, d)
	}
	return out
}
