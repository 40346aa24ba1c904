package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"
	"time"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/front/https"
	"github.com/liveapid/liveapid/host/modules/accountinfo"
	"github.com/liveapid/liveapid/host/modules/builtin"
	"github.com/liveapid/liveapid/host/modules/cassette"
	"github.com/liveapid/liveapid/host/modules/mocks"
	"github.com/liveapid/liveapid/host/modules/scripts"
	"github.com/liveapid/liveapid/host/worker"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/cpvars"
)

// running is a plugin that the host serves, with its supervisor.
type running struct {
	name       string // The plugin's name in logs and in the status.
	print      string // Hash that a reload compares to detect changes.
	supervisor *worker.Supervisor
}

// allPlugins returns the built-in modules and the supervisors of the given plugins. Built-in modules come
// first, so that no plugin can replace one of them.
func (rt *Runtime) allPlugins(all loaded) []host.Plugin {
	plugins := slices.Clone(all.before)
	plugins = append(plugins, []host.Plugin{builtin.Special{Variables: variables}, builtin.Chrome{}, rt.accountInfo, rt.batch(), builtin.Describe{List: rt.describe}}...)
	if rt.web.tokens != nil {
		plugins = append(plugins, builtin.Tokens{Store: rt.web.tokens})
	}
	for _, p := range all.plugins {
		plugins = append(plugins, p.supervisor)
	}
	for _, b := range all.broken {
		plugins = append(plugins, unusable(b))
	}
	return append(plugins, all.after...)
}

// loaded contains the plugins of a configuration.
type loaded struct {
	plugins []*running
	broken  []Broken
	// Mocks: those that come before all modules, and those that answer only for functions that no module has.
	before, after []host.Plugin
	players       []*cassette.Player
	mocks         map[string]host.Plugin // By the path, the state and the options of their file.
}

// mockKey returns a text that changes when a file of mocks or the options with which it is used change.
func mockKey(path string, options any) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprint(path, info.Size(), info.ModTime().UnixNano(), options)
}

// loadMocks adds the mocks of c to all. Only a host in personal mode has mocks.
func (rt *Runtime) loadMocks(c *config.Config, all *loaded) error {
	if c.Mode != config.Personal {
		return nil
	}
	add := func(p host.Plugin, first bool) {
		if first {
			all.before = append(all.before, p)
		} else {
			all.after = append(all.after, p)
		}
	}
	// A file that did not change keeps its mocks, which count their calls.
	before := map[string]host.Plugin{}
	if s := rt.state.Load(); s != nil {
		before = s.mocks
	}
	all.mocks = make(map[string]host.Plugin)
	if c.Mocks != "" {
		sets, broken := mocks.LoadDir(c.Mocks)
		for _, s := range sets {
			key := mockKey(s.Path(), nil)
			p, kept := before[key].(mocks.Plugin)
			if !kept {
				p = mocks.Of(s)
			}
			all.mocks[key] = p
			add(p, s.Replaces())
		}
		for _, err := range broken {
			all.broken = append(all.broken, Broken{Path: c.Mocks, Err: err})
		}
	}
	for _, m := range c.Replays {
		catchAll := m.Strict || m.All
		key := mockKey(m.Cassette, m)
		p, kept := before[key].(mocks.Plugin)
		if !kept {
			tape, err := cassette.Load(m.Cassette)
			if err != nil {
				return err
			}
			p = mocks.From(cassette.NewPlayer(tape, m.Strict, func(report string) { rt.log.Warn("a call differs from the cassette", "text", report) }), catchAll)
		}
		all.mocks[key] = p
		all.players = append(all.players, p.Player())
		add(p, m.Replace || catchAll)
	}
	return nil
}

// Players returns the players of the cassettes that answer calls.
func (rt *Runtime) Players() []*cassette.Player { return rt.state.Load().players }

// Broken is a plugin or a module that the host leaves out.
type Broken = scripts.Broken

// unusable serves the calls of a module that the host leaves out: each call gets the reason as its error.
type unusable Broken

var _ host.Plugin = unusable{}

// Serves implements host.StaticModules.
func (u unusable) Serves() []string {
	if u.Name == "" {
		return []string{}
	}
	return []string{u.Name}
}

// Modules implements host.Plugin. It always fails.
func (u unusable) Modules(context.Context, protocol.Account) ([]protocol.Module, error) {
	return nil, &host.Cause{Text: u.Err.Error(), Err: host.ErrNotRun}
}

// Call implements host.Plugin. It always fails.
func (u unusable) Call(ctx context.Context, r host.Request) (*protocol.Result, error) {
	_, err := u.Modules(ctx, r.Caller.Account)
	return nil, err
}

// variables returns the variables of tags for an account.
func variables(a protocol.Account) cpvars.Lookup {
	return accountinfo.Lookup(a, accountinfo.Hostname(), https.APILevel)
}

// newAccountInfo returns the modules with facts about the account and the server.
func (rt *Runtime) newAccountInfo(c *config.Config) *accountinfo.Plugin {
	return accountinfo.New(accountinfo.Options{
		Do: func(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result {
			return rt.Host.Do(ctx, caller, call)
		},
		APILevel: https.APILevel, Hostname: accountinfo.Hostname, HasWeb: c.Web.On(),
		RequireTLS: c.Web.PlainCPanel == "" && c.Web.PlainWHM == "" && c.Web.PlainWebmail == "",
	})
}

func (rt *Runtime) describe(ctx context.Context, a protocol.Account) ([]protocol.Module, []host.UnavailablePlugin) {
	rt.refresh()
	return rt.Host.Modules(ctx, a)
}

func (rt *Runtime) batch() builtin.Batch {
	return builtin.Batch{
		Do: func(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result {
			return rt.Host.Do(ctx, caller, call)
		},
		Charge: rt.charge,
	}
}

// load returns the plugins that c names, each with a supervisor. A plugin that did not change since it was
// loaded into old keeps its supervisor and its workers. A broken plugin in the configuration file,
// [[plugin]], is an error. A broken plugin or module in a directory, which other people may have written, is
// logged and left out.
func (rt *Runtime) load(c *config.Config, old []*running) (loaded, error) {
	var all loaded
	if err := rt.loadMocks(c, &all); err != nil {
		return all, err
	}
	add := func(name string, log *slog.Logger, o worker.PluginOptions) {
		print := fingerprint(o)
		for _, p := range old {
			if print != "" && p.print == print && p.name == name {
				all.plugins = append(all.plugins, p)
				return
			}
		}
		all.plugins = append(all.plugins, &running{name: name, print: print, supervisor: worker.New(rt.supervisorOptions(c, o, log))})
	}
	plugins, broken := c.ReadPlugins(rt.mode.trust())
	for _, err := range broken {
		all.broken = append(all.broken, Broken{Path: c.PluginDir, Err: err})
	}
	for _, p := range append(c.Plugins, plugins...) {
		sum, err := p.Sum()
		if err != nil {
			return loaded{}, fmt.Errorf("plugin %s: %w", p.Path, err)
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
		rt.logBroken(all.broken)
		return all, nil
	}
	modules, left, err := scripts.Finder{Dir: c.Modules, Bindings: c.Bindings, Check: rt.mode.trust()}.Find()
	if err != nil {
		return loaded{}, err
	}
	all.broken = append(all.broken, left...)
	for _, m := range modules {
		add(m.Name, rt.log.With("module", m.Name), worker.PluginOptions{
			Path: c.ScriptWorker, Settings: m.PluginSettings(), Serves: []string{m.Name}, Source: m.Source, Stamp: m.Stamp,
		})
	}
	rt.logBroken(all.broken)
	return all, nil
}

func (rt *Runtime) logBroken(broken []Broken) {
	for _, b := range broken {
		rt.log.Error("can't use a module; it is left out", "module", b.Name, "error", b.Err.Error())
	}
}

// supervisorOptions returns the options of a plugin's supervisor. They consist of the argument plugin and of
// the options that all supervisors share.
func (rt *Runtime) supervisorOptions(c *config.Config, plugin worker.PluginOptions, log *slog.Logger) worker.Options {
	o := worker.Options{
		PluginOptions: plugin, RunDir: rt.workers.runDir, Spawner: rt.workers.spawner, Answers: rt.limits.answers,
		Idle: time.Duration(c.Limits.WorkerIdle), Start: time.Duration(c.Limits.WorkerStart), Log: log,
	}
	rt.mode.supervise(c, &o)
	return o
}

// fingerprint returns a hash of all options of a plugin and of the identity, size and times of the files that
// the options name by an absolute path, so that a reload notices every change of the plugin. It returns "" if
// an option can't be hashed; a reload then always starts the plugin again.
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
	// Settings come from TOML, so JSON can represent them. json.Marshal sorts the keys of maps, so equal
	// settings have equal texts.
	text, err := json.Marshal(parts)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Modules describes a plugin: its name, the path of its program or script, and its modules. If the modules could not be
// read, or the plugin is left out, Err is the reason.
type Modules struct {
	Name, Path string
	Modules    []protocol.Module
	Err        error
}

// Describe asks each plugin for its modules. In server mode the plugin's helper describes them; in personal
// mode the worker of the account a does.
func (rt *Runtime) Describe(ctx context.Context, a protocol.Account) []Modules {
	var out []Modules
	all := rt.state.Load().loaded
	for _, p := range all.plugins {
		d := Modules{Name: p.name, Path: p.supervisor.Source()}
		d.Modules, d.Err = p.supervisor.Modules(ctx, a)
		out = append(out, d)
	}
	for _, b := range all.broken {
		out = append(out, Modules{Name: b.Name, Path: b.Path, Err: b.Err})
	}
	return out
}
