package host_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/protocol"
)

// plugin is a plugin in the test's process. Real processes are tested in host/worker.
type plugin struct {
	module string
	known  bool // It declares in advance that it serves only this module.
	broken error
	call   func(ctx context.Context, caller protocol.Caller, call protocol.Call) (*protocol.Result, error)
	shapes *shaping // Nil: the plugin filters, sorts and pages no list.
}

// shaping records the meta-parameters that a plugin gets for its list.
type shaping struct {
	shared bool
	does   bool // Whether the plugin does it.
	asked  map[string]string
}

func (p plugin) Modules(context.Context, protocol.Account) ([]protocol.Module, error) {
	owner := []protocol.Role{protocol.RoleAccount}
	params := []protocol.Param{{Name: "email", Required: true}, {Name: "password", Type: protocol.TypeSecret}}
	return []protocol.Module{{Name: p.module, Functions: []protocol.Function{
		{API: protocol.API2, Name: "change", Roles: owner, Params: params, Changes: true},
		{API: protocol.UAPI, Name: "look", Roles: owner, Params: params},
		{API: protocol.UAPI, Name: "extra", Roles: owner, Feature: "extras"},
		{API: protocol.UAPI, Name: "own", Roles: []protocol.Role{protocol.RoleMailbox}},
		{API: protocol.UAPI, Name: "list", Roles: owner, Shapes: p.shapes != nil, Shared: p.shapes != nil && p.shapes.shared},
		{API: protocol.UAPI, Name: "changed", Roles: owner, Shapes: p.shapes != nil, Changes: true},
		{API: protocol.UAPI, Name: "parts", Roles: owner, Shapes: p.shapes != nil, After: true},
	}}}, p.broken
}

func (p plugin) Call(ctx context.Context, r host.Request) (*protocol.Result, error) {
	caller, call := r.Caller, r.Call
	if p.shapes != nil {
		p.shapes.asked = r.Shape
		return &protocol.Result{Data: []any{map[string]any{"n": "a1"}, map[string]any{"n": "b2"}}, Shaped: p.shapes.does}, nil
	}
	return p.call(ctx, caller, call)
}

func (p plugin) Serves() []string {
	if p.known {
		return []string{p.module}
	}
	return nil
}

func newHost(log *strings.Builder, plugins ...host.Plugin) *host.Host {
	return host.New(host.Options{Plugins: plugins, Timeout: 50 * time.Millisecond, Log: slog.New(slog.NewTextHandler(log, nil))})
}

var caller = protocol.Caller{Account: protocol.Account{Name: "alice"}, Role: protocol.RoleAccount, Door: "socket"}

func call(api protocol.API, module, name string) protocol.Call {
	return protocol.Call{API: api, Module: module, Func: name, Args: protocol.Args{Named: map[string]any{"email": "user", "password": "c4n4ry", "other": "x"}}}
}

func TestDo(t *testing.T) {
	var got protocol.Call
	p := plugin{module: "Email", call: func(_ context.Context, c protocol.Caller, call protocol.Call) (*protocol.Result, error) {
		require.Equal(t, caller, c)
		got = call
		return &protocol.Result{Data: "done"}, nil
	}}
	result := newHost(&strings.Builder{}, plugin{module: "Other"}, p).Do(t.Context(), caller, call(protocol.API2, "Email", "change"))
	require.Nil(t, result.Err)
	require.Equal(t, "done", result.Data)
	require.Equal(t, map[string]any{"email": "user", "password": protocol.NewSecret("c4n4ry")}, got.Args.Named, "checked, secrets wrapped, the rest dropped")
}

func TestDoRefusesBeforeThePluginRuns(t *testing.T) {
	p := plugin{module: "Email", call: func(context.Context, protocol.Caller, protocol.Call) (*protocol.Result, error) {
		t.Error("the call was dispatched")
		return nil, nil
	}}
	noEmail := call(protocol.UAPI, "Email", "look")
	delete(noEmail.Args.Named, "email")
	for _, c := range []struct {
		name string
		call protocol.Call
		kind protocol.Kind
		says string
	}{
		{"an unknown module", call(protocol.API2, "Ftp", "change"), protocol.KindNoModule, "Ftp"},
		{"a module's name in another case", call(protocol.API2, "email", "change"), protocol.KindNoModule, "email"},
		{"an unknown function", call(protocol.API2, "Email", "nothing"), protocol.KindNoFunction, "nothing"},
		{"a function of another API", call(protocol.UAPI, "Email", "change"), protocol.KindNoFunction, "change"},
		{"a missing argument", noEmail, protocol.KindInvalid, "Provide the ‘email’ argument."},
		{"a function for others (T4)", call(protocol.UAPI, "Email", "own"), protocol.KindDenied, "Permission denied."},
	} {
		t.Run(c.name, func(t *testing.T) {
			result := newHost(&strings.Builder{}, p).Do(t.Context(), caller, c.call)
			require.NotNil(t, result.Err)
			require.Equal(t, c.kind, result.Err.Kind)
			require.Contains(t, result.Err.Message, c.says)
		})
	}
}

// A plugin that is known not to serve a module is not asked, and does not affect the module's calls.
func TestDoPassesBy(t *testing.T) {
	broken := plugin{module: "Broken", known: true, broken: errors.New("it does not start")}
	h := newHost(&strings.Builder{}, broken)
	result := h.Do(t.Context(), caller, call(protocol.UAPI, "Email", "look"))
	require.Equal(t, protocol.KindNoModule, result.Err.Kind)
	result = h.Do(t.Context(), caller, call(protocol.UAPI, "Broken", "look"))
	require.Equal(t, protocol.KindUnavailable, result.Err.Kind)
}

// A function can require a feature. Accounts without a list have all features.
func TestDoFeatures(t *testing.T) {
	h := newHost(&strings.Builder{}, plugin{module: "Email", call: func(context.Context, protocol.Caller, protocol.Call) (*protocol.Result, error) {
		return &protocol.Result{}, nil
	}})
	for _, c := range []struct {
		features []string
		ok       bool
	}{{nil, true}, {[]string{"extras"}, true}, {[]string{}, false}, {[]string{"Extras"}, false}} {
		with := caller
		with.Account.Features = c.features
		result := h.Do(t.Context(), with, call(protocol.UAPI, "Email", "extra"))
		if c.ok {
			require.Nil(t, result.Err)
			continue
		}
		require.Equal(t, protocol.KindDenied, result.Err.Kind)
		require.Equal(t, "You do not have the feature “extras”.", result.Err.Message)
	}
}

// R20: if a call has no answer, the error says only what is known about its outcome.
func TestR20_FailuresAreToldAsTheyAre(t *testing.T) {
	for _, c := range []struct {
		name   string
		fn     string
		fail   func(ctx context.Context) (*protocol.Result, error)
		kind   protocol.Kind
		says   string
		hidden bool // The cause is logged, and the caller does not get it.
	}{
		{"not run", "change", func(context.Context) (*protocol.Result, error) {
			return nil, fmt.Errorf("%w: no such binary /usr/lib/x", host.ErrNotRun)
		}, protocol.KindUnavailable, "nothing was changed", true},
		{"a change cut off", "change", func(context.Context) (*protocol.Result, error) {
			return nil, fmt.Errorf("%w: worker 17 is gone", host.ErrOutcomeUnknown)
		}, protocol.KindUnavailable, "stopped while it ran this call. Whether the change was made is not known", true},
		{"a change past its deadline", "change", func(ctx context.Context) (*protocol.Result, error) {
			<-ctx.Done()
			return nil, fmt.Errorf("%w: %w", host.ErrOutcomeUnknown, ctx.Err())
		}, protocol.KindUnavailable, "did not answer within 50ms. Whether the change was made is not known", true},
		{"a look cut off", "look", func(context.Context) (*protocol.Result, error) {
			return nil, fmt.Errorf("%w: worker 17 is gone", host.ErrOutcomeUnknown)
		}, protocol.KindUnavailable, "stopped while it ran this call. Try again.", true},
		{"a fault of ours", "look", func(context.Context) (*protocol.Result, error) { return nil, errors.New("open /home/alice") },
			protocol.KindInternal, "The request failed. (Error ID: ", true},
		{"a fault of the module's", "look", func(context.Context) (*protocol.Result, error) {
			return protocol.Failed(protocol.NewError(protocol.KindInternal, "")), nil
		}, protocol.KindInternal, "The request failed. (Error ID: ", false},
		{"a refusal of the module's", "look", func(context.Context) (*protocol.Result, error) {
			return protocol.Failed(protocol.NewError(protocol.KindNotFound, "No such thing.")), nil
		}, protocol.KindNotFound, "No such thing.", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log strings.Builder
			p := plugin{module: "Email", call: func(ctx context.Context, _ protocol.Caller, _ protocol.Call) (*protocol.Result, error) {
				return c.fail(ctx)
			}}
			api := map[string]protocol.API{"change": protocol.API2, "look": protocol.UAPI}[c.fn]
			result := newHost(&log, p).Do(t.Context(), caller, call(api, "Email", c.fn))
			require.NotNil(t, result.Err)
			require.Equal(t, c.kind, result.Err.Kind)
			require.Contains(t, result.Err.Message, c.says)
			require.NotContains(t, result.Err.Message, "/")
			require.NotContains(t, log.String(), "c4n4ry")
			if c.hidden {
				require.Contains(t, log.String(), "level=ERROR")
				require.Contains(t, log.String(), "account=alice")
			}
		})
	}
}

func TestPluginThatCannotDescribeItself(t *testing.T) {
	p := plugin{module: "Email", broken: errors.New("it does not start")}
	result := newHost(&strings.Builder{}, p).Do(t.Context(), caller, call(protocol.API2, "Email", "change"))
	require.Equal(t, protocol.KindUnavailable, result.Err.Kind)
	require.Contains(t, result.Err.Message, "nothing was changed")

	p.known = true
	modules, missing := newHost(&strings.Builder{}, plugin{module: "A"}, p, plugin{module: "B"}).Modules(t.Context(), caller.Account)
	require.Len(t, modules, 2, "it hides no other")
	require.Equal(t, []host.UnavailablePlugin{{Modules: []string{"Email"}, Err: p.broken}}, missing)
}

// T44: no name from a client can add a line to the log.
func TestT44_LogInjection(t *testing.T) {
	var log strings.Builder
	h := host.New(host.Options{Plugins: []host.Plugin{plugin{module: "Email"}}, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	h.Do(t.Context(), caller, call(protocol.API2, "Em\nail\x1b[31m", strings.Repeat("f", 10_000)))
	require.Equal(t, 1, strings.Count(log.String(), "\n"))
	require.NotContains(t, log.String(), "\x1b")
	require.Less(t, log.Len(), 600)
}

// The plugin filters, sorts and pages its list itself, if it can and if that costs no other account anything.
func TestShaping(t *testing.T) {
	for _, c := range []struct {
		name, function string
		filter         string // The type of the filter.
		shaping        *shaping
		asked          bool
		records        int
	}{
		{"by the plugin", "list", "contains", &shaping{does: true}, true, 2},
		{"the plugin does not do it", "list", "contains", &shaping{}, true, 1},
		{"a pattern", "list", "matches", &shaping{does: true}, false, 1},
		{"a process of all accounts", "list", "contains", &shaping{shared: true, does: true}, false, 1},
		{"a page in a process of all accounts", "list", "", &shaping{shared: true, does: true}, true, 2},
		{"a change", "changed", "contains", &shaping{does: true}, false, 1},
		{"another part makes the list", "parts", "contains", &shaping{does: true}, false, 1},
		{"no wish", "list", "none", &shaping{does: true}, false, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := map[string]any{"api.filter": "1", "api.filter_column": "n", "api.filter_type": c.filter, "api.filter_term": "a"}
			switch c.filter {
			case "":
				args = map[string]any{"api.paginate": "1", "api.paginate_size": "1"}
			case "none":
				args = nil
			}
			var log strings.Builder
			h := newHost(&log, plugin{module: "Long", shapes: c.shaping})
			result := h.Do(t.Context(), caller, protocol.Call{API: protocol.UAPI, Module: "Long", Func: c.function, Args: protocol.Args{Named: args}})
			require.Nil(t, result.Err, "%v", result.Err)
			require.Equal(t, c.asked, c.shaping.asked != nil, "%v", c.shaping.asked)
			require.Len(t, result.Data, c.records)
		})
	}
}
