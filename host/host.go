package host

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/expvar"
	"github.com/liveapid/liveapid/protocol/shape"
)

// Plugin serves modules for accounts. host/worker has the one that runs processes.
type Plugin interface {
	// Modules describes what the plugin serves, from its own word. It may start a
	// worker of the account.
	Modules(ctx context.Context, account protocol.Account) ([]protocol.Module, error)
	// Call runs a call whose arguments were checked. The error is for the log and says
	// by errors.Is which of ErrNotRun and ErrOutcomeUnknown holds, or neither.
	Call(ctx context.Context, id string, caller protocol.Caller, call protocol.Call) (*protocol.Result, error)
}

// Errors of Plugin.Call. Where a call was handed over and no answer came, whether it
// took effect can't be known; the caller is told so.
var (
	ErrNotRun         = errors.New("host: the call was not run")
	ErrOutcomeUnknown = errors.New("host: the call's outcome is not known")
)

// Host runs calls.
type Host struct {
	plugins   []Plugin
	timeout   time.Duration
	variables func(protocol.Account) expvar.Lookup
	log       *slog.Logger
}

// Options are a host's parts.
type Options struct {
	Plugins []Plugin
	Timeout time.Duration // Of one call; 0 means protocol.CallTimeout.
	// Variables are what an account's tags may name; nil knows none.
	Variables func(protocol.Account) expvar.Lookup
	Log       *slog.Logger
}

// New returns a host of the given plugins. Where two serve one module, the first wins.
func New(o Options) *Host {
	if o.Timeout <= 0 {
		o.Timeout = protocol.CallTimeout
	}
	if o.Variables == nil {
		o.Variables = func(protocol.Account) expvar.Lookup { return func(string, string) string { return "" } }
	}
	return &Host{plugins: o.Plugins, timeout: o.Timeout, variables: o.Variables, log: o.Log}
}

// Do runs one call for caller. It always returns a result; whatever goes wrong is in
// its Err.
func (h *Host) Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result {
	id := newID()
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	result := h.do(ctx, id, caller, call)
	h.report(ctx, id, caller, call, result, time.Since(start))
	return result
}

func (h *Host) do(ctx context.Context, id string, caller protocol.Caller, call protocol.Call) *protocol.Result {
	found, err := h.find(ctx, caller.Account, call)
	if err != nil {
		return protocol.Failed(err)
	}
	fn := found.function
	if !slices.Contains(fn.Roles, caller.Role) {
		return protocol.Failed(protocol.NewError(protocol.KindDenied, "Permission denied."))
	}
	if fn.Feature != "" && !caller.Account.HasFeature(fn.Feature) {
		// cPanel's wording in API 2 and UAPI alike (quoted by public logs and clients' tests).
		return protocol.Failed(protocol.NewError(protocol.KindDenied, "You do not have the feature “"+fn.Feature+"”."))
	}
	if call.Expand {
		call.Args = expvar.ExpandArgs(call.Args, h.variables(caller.Account))
	}
	options, named, err := shape.Split(call.API, call.Args.Named)
	if err != nil {
		return protocol.Failed(err)
	}
	if len(call.Args.Positional) == 0 {
		call.Args.Named = named
	}
	if call.Args, err = fn.Check(call.Args); err != nil {
		return protocol.Failed(err)
	}
	result, failure := found.plugin.Call(ctx, id, caller, call)
	switch {
	case failure != nil:
		return protocol.Failed(h.explain(ctx, fn, call, id, failure))
	case result.Err != nil && result.Err.Kind == protocol.KindInternal:
		return protocol.Failed(internal(id, result.Err))
	}
	options.Apply(result)
	return result
}

// explain turns the failure to run a call into what the caller sees.
func (h *Host) explain(ctx context.Context, fn protocol.Function, call protocol.Call, id string, err error) *protocol.Error {
	unavailable := func(message string) *protocol.Error {
		return &protocol.Error{Kind: protocol.KindUnavailable, Message: message, Err: err}
	}
	why := "The " + call.Module + " module stopped while it ran this call."
	switch {
	case errors.Is(err, ErrNotRun):
		return unavailable("The " + call.Module + " module is not available at the moment and nothing was changed. Try again later.")
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		why = "The " + call.Module + " module did not answer within " + h.timeout.String() + "."
	case !errors.Is(err, ErrOutcomeUnknown):
		return internal(id, err)
	}
	if fn.Changes {
		return unavailable(why + " Whether the change was made is not known: check, or make it again.")
	}
	return unavailable(why + " Try again.")
}

// internal hides a fault behind an id that the log has too, in cPanel's wording.
func internal(id string, err error) *protocol.Error {
	return &protocol.Error{
		Kind: protocol.KindInternal, Message: "The request failed. (Error ID: " + id + ")", Err: err,
	}
}

func (h *Host) report(ctx context.Context, id string, caller protocol.Caller, call protocol.Call, result *protocol.Result, took time.Duration) {
	level, kind, cause := slog.LevelDebug, "ok", ""
	if e := result.Err; e != nil {
		kind = string(e.Kind)
		if e.Err != nil {
			level, cause = slog.LevelError, clip(e.Err.Error(), protocol.MaxText)
		}
	}
	h.log.Log(ctx, level, "call", "id", id, "account", caller.Account.Name, "role", caller.Role, "door", caller.Door,
		"api", int(call.API), "module", clip(call.Module, 64), "func", clip(call.Func, 64), "result", kind, "cause", cause, "took", took)
}

// clip bounds a client's or a worker's text before it is logged.
func clip(s string, most int) string {
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// newID returns a call's id: six letters and digits, as cPanel's error ids are.
func newID() string { return strings.ToLower(rand.Text()[:6]) }
