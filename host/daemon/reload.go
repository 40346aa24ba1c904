package daemon

import (
	"context"
	"os"
	"reflect"
	"slices"

	"github.com/liveapid/liveapid/host/config"
)

// reloadAccounts reads the accounts again. For each account that was removed, was suspended or belongs to
// another user now, it ends the sessions, sign-ins and workers, and revokes the tokens and the password. The
// tokens and the password of a suspended account are kept. Callers at the same time share a reload, because it
// reads all accounts.
func (rt *Runtime) reloadAccounts() { rt.rereading.do(rt.rereadAccounts) }

func (rt *Runtime) rereadAccounts() {
	for _, name := range rt.mode.reload() {
		rt.log.Info("account removed, suspended or unreadable, or its user changed; ending the account's sessions and workers", "account", name)
		if server := rt.sessions.Load(); server != nil {
			server.EndAccount(name)
		}
		rt.revoke(name)
		for _, p := range rt.state.Load().plugins {
			rt.ending.Go(func() { p.supervisor.EndAccount(name) })
		}
	}
	rt.writeUserDomains(rt.state.Load().config.WriteUserDomains)
}

// Watch calls reloadAccounts after each change of the accounts until ctx ends.
func (rt *Runtime) Watch(ctx context.Context) {
	if err := rt.mode.watch(ctx, rt.reloadAccounts); err != nil {
		rt.log.Error("can't watch the accounts' files; send SIGHUP after a change", "error", err.Error())
	}
}

// Reload reads the configuration, the plugins and the accounts again and reopens the logs. Calls in flight
// end on the plugins on which they began; Reload waits for them. Changed keys that need a restart are logged.
// If Reload returns an error, the old configuration and plugins stay in use.
func (rt *Runtime) Reload(ctx context.Context) error {
	finish, err := rt.startReload()
	if err != nil {
		return err
	}
	finish(ctx)
	rt.log.Info("reloaded", "pid", os.Getpid())
	return nil
}

// startReload does the work of Reload, except for waiting for the calls in flight, which finish does. No lock is held
// meanwhile: one of these calls could make a call itself.
func (rt *Runtime) startReload() (finish func(context.Context), err error) {
	rt.reloading.Lock()
	defer rt.reloading.Unlock()
	rt.reloadAccounts()
	rt.reopenLogs()
	old := rt.state.Load()
	c, err := reread(old.config)
	if err != nil {
		return nil, err
	}
	for _, key := range restartKeys(old.config, c) {
		rt.log.Warn("a change in the configuration needs a restart", "key", key)
	}
	next := &state{config: c, calls: old.calls}
	if next.loaded, err = rt.load(c, old.plugins); err != nil {
		return nil, err
	}
	if next.refused, err = rt.mode.refusedUIDs(c); err != nil {
		return nil, err
	}
	if callLimits(c.Limits) != callLimits(old.config.Limits) {
		next.calls = newCalls(c) // The new counters do not count the calls in flight.
	}
	rt.files.mark(c)
	rt.state.Store(next)
	drained := rt.Host.Replace(rt.allPlugins(next.loaded))
	return func(ctx context.Context) {
		drained(ctx)
		rt.closeReplaced(old.plugins, next.loaded)
	}, nil
}

// reread loads the configuration again from the file of old. If old was not loaded from a file, reread
// returns old.
func reread(old *config.Config) (*config.Config, error) {
	if old.Path() == "" {
		return old, nil
	}
	c, err := config.Load(old.Path())
	if err != nil {
		return nil, err
	}
	if err := c.Exposed(); err != nil {
		return nil, err
	}
	return c, nil
}

func (rt *Runtime) reopenLogs() {
	if rt.records.audit != nil {
		if err := rt.records.audit.Reopen(); err != nil {
			rt.log.Error("can't reopen the audit log; it continues in the old file", "error", err.Error())
		}
	}
	if err := rt.records.access.Reopen(); err != nil {
		rt.log.Error("can't reopen the access log; it continues in the old file", "error", err.Error())
	}
}

// closeReplaced closes the plugins in old that are not also in next.
func (rt *Runtime) closeReplaced(old []*running, next loaded) {
	for _, p := range old {
		if !slices.Contains(next.plugins, p) {
			p.supervisor.Close()
			rt.log.Info("plugin replaced", "plugin", p.name)
		}
	}
}

// reloadable lists the configuration keys that take effect on reload. All other keys are reported as needing a
// restart. This is the default for a new key, so that a change of the new key is never ignored silently. Some
// keys in the table limits need a restart, too: see restartOnlyLimits.
var reloadable = []string{"plugin", "plugin_dir", "modules", "bindings", "script_worker", "mocks", "mock", "refuse", "limits"}

// restartKeys returns the keys in which old and c differ and which need a restart. It sets the mode of c to
// the mode of old, because the mode of a running host can't change.
func restartKeys(old, c *config.Config) []string {
	var keys []string
	before, after := reflect.ValueOf(*old), reflect.ValueOf(*c)
	for i := range before.NumField() {
		field := before.Type().Field(i)
		key := field.Tag.Get("toml")
		if key == "" || slices.Contains(reloadable, key) {
			continue
		}
		if !reflect.DeepEqual(before.Field(i).Interface(), after.Field(i).Interface()) {
			keys = append(keys, key)
		}
	}
	if restartOnlyLimits(c.Limits) != restartOnlyLimits(old.Limits) {
		keys = append(keys, "limits (but for calls, account_calls and account_rate)")
	}
	c.Mode = old.Mode
	return keys
}

// callLimits returns a copy of l that contains only the limits that a reload changes.
func callLimits(l config.Limits) config.Limits {
	return config.Limits{Calls: l.Calls, AccountCalls: l.AccountCalls, AccountRate: l.AccountRate}
}

// restartOnlyLimits returns a copy of l without the limits that a reload changes. A change of the others
// needs a restart.
func restartOnlyLimits(l config.Limits) config.Limits {
	l.Calls, l.AccountCalls, l.AccountRate = 0, 0, 0
	return l
}
