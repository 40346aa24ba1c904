package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"time"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/host/modules/builtin"
	"github.com/liveapid/liveapid/host/modules/scripts"
	"github.com/liveapid/liveapid/host/worker"
	"github.com/liveapid/liveapid/protocol"
)

// running is a plugin that is served.
type running struct {
	name       string // For people: its file's name in plugin_dir, its module's, its program's.
	print      string // What it was made of: where that is the same, it is the same plugin.
	supervisor *worker.Supervisor
}

// builtins returns all that a host serves: what is built in comes first.
func (rt *Runtime) builtins(all []*running) []host.Plugin {
	plugins := []host.Plugin{builtin.Special{}, builtin.Chrome{}}
	if rt.tokens != nil {
		plugins = append(plugins, builtin.Tokens{Store: rt.tokens})
	}
	for _, p := range all {
		plugins = append(plugins, p.supervisor)
	}
	return plugins
}

// load makes a supervisor for each plugin that c names. Those in old that are what they were
// stay. A plugin of [[plugin]] that can't be is an error; one in a folder, which others may
// have filled, is logged and left out.
func (rt *Runtime) load(c *config.Config, old []*running) ([]*running, error) {
	var all []*running
	add := func(name string, o worker.Options) {
		print := fingerprint(o)
		for _, p := range old {
			if print != "" && p.print == print && p.name == name {
				all = append(all, p)
				return
			}
		}
		all = append(all, &running{name: name, print: print, supervisor: worker.New(rt.supervisorOptions(c, o))})
	}
	check := trust(c)
	plugins, broken := c.ReadPlugins(check)
	for _, b := range broken {
		rt.log.Error("a plugin is left out", "error", b.Error())
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
		o := worker.Options{Path: p.Path, Args: p.Args, SHA256: sum, Settings: p.Settings, Log: rt.log}
		if len(p.Modules) > 0 {
			o.Serves = p.Modules
		}
		add(name, o)
	}
	if c.Modules == "" {
		return all, nil
	}
	modules, broken, err := scripts.Finder{Dir: c.Modules, Bindings: c.Bindings, Check: check}.Find()
	if err != nil {
		return nil, err
	}
	for _, b := range broken {
		rt.log.Error("a module is left out", "error", b.Error())
	}
	for _, m := range modules {
		add(m.Name, worker.Options{
			Path: c.ScriptWorker, Settings: m.PluginSettings(), Serves: []string{m.Name}, Log: rt.log.With("module", m.Name),
		})
	}
	return all, nil
}

// trust returns what looks at files that root is to act on: in server mode nobody else can
// have written them.
func trust(c *config.Config) func(string) error {
	if c.Mode == config.Server {
		return isolate.CheckTrusted
	}
	return nil
}

// supervisorOptions adds the options that all supervisors share.
func (rt *Runtime) supervisorOptions(c *config.Config, o worker.Options) worker.Options {
	o.RunDir, o.Spawner, o.Idle, o.Pool, o.Answers = rt.runDir, rt.spawner, time.Duration(c.Limits.WorkerIdle), rt.pool, rt.answers
	o.Start = time.Duration(c.Limits.WorkerStart)
	if c.Mode == config.Server {
		o.Trusted, o.TLS, o.Credential, o.Helper = true, true, isolate.Credential, rt.helper
		o.Cgroups, o.Memory = rt.cgroups, int64(c.Limits.WorkerMemory)<<20
	}
	return o
}

// fingerprint tells plugins apart, a replaced program from the one before, too.
func fingerprint(o worker.Options) string {
	files := []any{}
	for _, path := range append([]string{o.Path}, o.Args...) {
		var st syscall.Stat_t
		if filepath.IsAbs(path) && syscall.Stat(path, &st) == nil {
			files = append(files, st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim)
		}
	}
	// Settings came from TOML: JSON can hold them, and writes maps in order.
	text, err := json.Marshal([]any{o.Path, o.Args, o.SHA256, o.Settings, o.Serves, files})
	if err != nil {
		return "" // Of nothing that is served: it is made anew.
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// restartOnlyLimits returns the limits that hold as long as the host runs.
func restartOnlyLimits(l config.Limits) config.Limits {
	l.Calls, l.AccountCalls, l.AccountRate = 0, 0, 0
	return l
}

// Modules are a plugin's name and program and the modules it serves, or why it does not.
type Modules struct {
	Name, Path string
	Modules    []protocol.Module
	Err        error
}

// Describe asks each plugin what it serves, as account or, where there is one, as the helper.
func (rt *Runtime) Describe(ctx context.Context, a protocol.Account) []Modules {
	var out []Modules
	for _, p := range rt.plugins {
		d := Modules{Name: p.name, Path: p.supervisor.Path()}
		d.Modules, d.Err = p.supervisor.Modules(ctx, a)
		out = append(out, d)
	}
	return out
}

// Reload reads the configuration, the plugins and the accounts anew. Calls in flight end with the
// plugins they began with. What needs a restart is said in the log.
func (rt *Runtime) Reload(ctx context.Context) error {
	if rt.accounts != nil {
		rt.reloadAccounts()
	}
	if rt.audit != nil {
		if err := rt.audit.Reopen(); err != nil {
			rt.log.Error("the audit log goes on in the old file", "error", err.Error())
		}
	}
	if err := rt.access.Reopen(); err != nil {
		rt.log.Error("the access log goes on in the old file", "error", err.Error())
	}
	rt.mu.Lock()
	old, before := rt.config, rt.plugins
	rt.mu.Unlock()
	c := old
	if old.Path() != "" {
		var err error
		if c, err = config.Load(old.Path()); err != nil {
			return err
		}
		if err := c.Exposed(); err != nil {
			return err
		}
	}
	for what, changed := range map[string]bool{
		"mode": c.Mode != old.Mode, "socket": c.Socket != old.Socket, "run_dir": c.RunDir != old.RunDir, "helper": c.Helper != old.Helper,
		"accounts": c.Accounts != old.Accounts || c.CPanelUsers != old.CPanelUsers || c.UserDomains != old.UserDomains || c.SystemUsers != old.SystemUsers,
		"audit":    c.Audit != old.Audit, "metrics": c.Metrics != old.Metrics, "control": c.Control != old.Control,
		"web":       !reflect.DeepEqual(c.Web, old.Web),
		"mail_door": c.DovecotSocket != old.DovecotSocket || c.MailUser != old.MailUser,
		"limits (but for calls, account_calls and account_rate)": restartOnlyLimits(c.Limits) != restartOnlyLimits(old.Limits),
	} {
		if changed {
			rt.log.Warn("a change in the configuration needs a restart", "key", what)
		}
	}
	c.Mode = old.Mode
	plugins, err := rt.load(c, before)
	if err != nil {
		return err
	}
	refused, err := rt.refusedUIDs(c)
	if err != nil {
		return err
	}
	rt.mu.Lock()
	if c.Limits.Calls != old.Limits.Calls || c.Limits.AccountCalls != old.Limits.AccountCalls || c.Limits.AccountRate != old.Limits.AccountRate {
		rt.limiter = newLimiter(c) // Another one knows nothing of the calls under way.
	}
	rt.config, rt.plugins, rt.refused = c, plugins, refused
	rt.mu.Unlock()
	rt.Host.Replace(ctx, rt.builtins(plugins))
	kept := make(map[*running]bool)
	for _, p := range plugins {
		kept[p] = true
	}
	for _, p := range before {
		if !kept[p] {
			p.supervisor.Close()
			rt.log.Info("plugin replaced", "plugin", p.name)
		}
	}
	rt.log.Info("reloaded", "pid", os.Getpid())
	return nil
}
