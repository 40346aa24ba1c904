package host

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/cpvars"
	"github.com/liveapid/liveapid/protocol/listing"
)

// Plugin serves modules for accounts. host/worker implements it with processes.
type Plugin interface {
	// Modules returns the plugin's description of its modules. It may start a worker of the account.
	Modules(ctx context.Context, account protocol.Account) ([]protocol.Module, error)
	// Call runs a call with validated arguments. The error is for the log; errors.Is tells whether it is
	// ErrNotRun, ErrOutcomeUnknown or neither.
	Call(ctx context.Context, r Request) (*protocol.Result, error)
}

// Request is a call for a plugin.
type Request struct {
	ID       string // The call's id, which is also in the log.
	Caller   protocol.Caller
	Call     protocol.Call
	Function protocol.Function // The function's description.
}

// Errors of Plugin.Call. If the plugin received a call and no answer came, nobody knows whether the call took
// effect, and the client is told so.
var (
	ErrNotRun         = errors.New("host: the call was not run")
	ErrOutcomeUnknown = errors.New("host: the call's outcome is not known")
)

// Event is a call as observers see it, without secrets.
type Event struct {
	ID     string
	Caller protocol.Caller
	API    protocol.API
	Module string
	Func   string
	// Function is the function that was called. Its name is "" if the function does not exist.
	Function protocol.Function
	Args     map[string]string // The described arguments, without secrets.
}

// Observer is notified of calls. It must be quick, because calls wait for it.
type Observer interface {
	// Begin is called before a call that changes something. If it returns an error, the call is not run.
	Begin(Event) error
	// End is called after every call.
	End(e Event, result *protocol.Result, took time.Duration)
}

// Host runs calls.
type Host struct {
	timeout   time.Duration
	variables func(protocol.Account) cpvars.Lookup
	observers []Observer
	pace      func(account string) (pause func(context.Context) error, end func())
	log       *slog.Logger

	mu      sync.RWMutex
	serving *generation
}

// generation is a set of plugins with the calls that use it.
type generation struct {
	plugins []Plugin
	calls   sync.WaitGroup
}

// Options are the parts of a host.
type Options struct {
	Plugins []Plugin
	Timeout time.Duration // The deadline of one call; 0 means protocol.CallTimeout.
	// Variables returns the variables for an account's tags; nil means that there are none.
	Variables func(protocol.Account) cpvars.Lookup
	Observers []Observer
	// Pace shares processor time among the accounts with answers to filter and sort, as admission.Work
	// does. If it is nil, nothing waits.
	Pace func(account string) (pause func(context.Context) error, end func())
	Log  *slog.Logger
}

// New returns a host with the given plugins. If two plugins serve the same module, the first one wins.
func New(o Options) *Host {
	if o.Timeout <= 0 {
		o.Timeout = protocol.CallTimeout
	}
	if o.Variables == nil {
		o.Variables = func(protocol.Account) cpvars.Lookup { return func(string, string) string { return "" } }
	}
	return &Host{
		serving: &generation{plugins: o.Plugins}, timeout: o.Timeout, variables: o.Variables, observers: o.Observers, pace: o.Pace, log: o.Log,
	}
}

// Replace makes new calls use other plugins. It returns when the calls of the old plugins have ended, which
// may then be closed, or when ctx ends.
func (h *Host) Replace(ctx context.Context, plugins []Plugin) {
	h.mu.Lock()
	old := h.serving
	h.serving = &generation{plugins: plugins}
	h.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		old.calls.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// enter returns the plugins for a call. The caller must call leave.
func (h *Host) enter() (plugins []Plugin, leave func()) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	g := h.serving
	g.calls.Add(1)
	return g.plugins, g.calls.Done
}

// Do runs one call for caller. It always returns a result; if anything fails, the result's Err says so.
func (h *Host) Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result {
	id := newID()
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	plugins, leave := h.enter()
	defer leave()
	e := Event{ID: id, Caller: caller, API: call.API, Module: call.Module, Func: call.Func}
	result := h.do(ctx, plugins, &e, call)
	took := time.Since(start)
	h.report(ctx, e, result, took)
	for _, o := range h.observers {
		o.End(e, result, took)
	}
	return result
}

func (h *Host) do(ctx context.Context, plugins []Plugin, e *Event, call protocol.Call) *protocol.Result {
	id, caller := e.ID, e.Caller
	found, err := find(ctx, plugins, caller.Account, call)
	if err != nil {
		return protocol.Failed(err)
	}
	fn := found.function
	e.Function = fn
	if !slices.Contains(fn.Roles, caller.Role) {
		return protocol.Failed(protocol.NewError(protocol.KindDenied, "Permission denied."))
	}
	if !caller.HasFeature(fn.Feature) {
		// cPanel uses this text in API 2 and UAPI alike (public logs and clients' tests quote it).
		return protocol.Failed(protocol.NewError(protocol.KindDenied, "You do not have the feature “"+fn.Feature+"”."))
	}
	if call.ReadOnly && (fn.Changes || fn.Open) {
		// A function of an open module may change anything, because it has no description.
		return protocol.Failed(protocol.NewError(protocol.KindReadOnly, "This call may change something: send it by POST, with your session's token."))
	}
	if call.Quoted {
		call.Args.Named = fn.Unquote(call.Args.Named)
	}
	if call.Expand {
		call.Args = cpvars.ExpandArgs(call.Args, h.variables(caller.Account))
	}
	options, named, err := listing.Split(call.API, call.Args.Named)
	if err != nil {
		return protocol.Failed(err)
	}
	if len(call.Args.Positional) == 0 {
		call.Args.Named = named
	}
	if call.Args, err = fn.Check(call.Args); err != nil {
		return protocol.Failed(err)
	}
	e.Args = shown(fn, call.Args)
	if fn.Changes {
		for _, o := range h.observers {
			if err := o.Begin(*e); err != nil {
				return protocol.Failed(&protocol.Error{
					Kind: protocol.KindUnavailable, Err: err,
					Message: "The host can't record the change, and so does not make it. Tell its operator.",
				})
			}
		}
	}
	result, failure := found.plugin.Call(ctx, Request{ID: id, Caller: caller, Call: call, Function: fn})
	switch {
	case failure != nil:
		return protocol.Failed(h.explain(ctx, fn, call, id, failure))
	case result.Err != nil && result.Err.Kind == protocol.KindInternal:
		return protocol.Failed(internal(id, result.Err))
	}
	return h.shaped(ctx, caller, fn, options, result)
}

// shaped returns the result with its list filtered, sorted and paged as the caller asked.
func (h *Host) shaped(ctx context.Context, caller protocol.Caller, fn protocol.Function, options listing.Options, result *protocol.Result) *protocol.Result {
	var pause func(context.Context) error
	if h.pace != nil {
		var end func()
		pause, end = h.pace(caller.Account.Name)
		defer end()
	}
	err := options.Apply(ctx, result, pause)
	switch refused := protocol.AsError(err); {
	case err != nil && fn.Changes:
		// A change that was made must not be reported as failed.
		result.Warnings = append(result.Warnings, "The answer could not be filtered and sorted, and is whole.")
	case refused != nil:
		return protocol.Failed(refused)
	case err != nil:
		return protocol.Failed(protocol.NewError(protocol.KindUnavailable,
			"The call was run, but its answer could not be filtered and sorted within "+h.timeout.String()+". Ask for less, or try again later."))
	}
	return result
}

// explain returns the error that the client sees if a call could not be run.
func (h *Host) explain(ctx context.Context, fn protocol.Function, call protocol.Call, id string, err error) *protocol.Error {
	unknown := func(message string) *protocol.Error {
		return &protocol.Error{Kind: protocol.KindUnavailable, Message: message, Err: err}
	}
	why := "The " + call.Module + " module stopped while it ran this call."
	switch {
	case errors.Is(err, ErrNotRun) && !errors.Is(err, ErrOutcomeUnknown):
		return unavailable(call.Module, err)
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		why = "The " + call.Module + " module did not answer within " + h.timeout.String() + "."
	case !errors.Is(err, ErrOutcomeUnknown):
		return internal(id, err)
	}
	if fn.Changes {
		return unknown(why + " Whether the change was made is not known. Check it, or make the change again.")
	}
	return unknown(why + " Try again.")
}

// internal hides a fault behind an id that is also in the log, with cPanel's text.
func internal(id string, err error) *protocol.Error {
	return &protocol.Error{
		Kind: protocol.KindInternal, Message: "The request failed. (Error ID: " + id + ")", Err: err,
	}
}

func (h *Host) report(ctx context.Context, e Event, result *protocol.Result, took time.Duration) {
	level, kind, cause := slog.LevelDebug, "ok", ""
	if failed := result.Err; failed != nil {
		kind = string(failed.Kind)
		if failed.Err != nil {
			level, cause = slog.LevelError, protocol.Clip(failed.Err.Error(), protocol.MaxText)
		}
	}
	h.log.Log(ctx, level, "call", "id", e.ID, "account", e.Caller.Account.Name, "role", e.Caller.Role, "door", e.Caller.Door,
		"api", int(e.API), "module", protocol.Clip(e.Module, 64), "func", protocol.Clip(e.Func, 64), "result", kind, "cause", cause, "took", took)
}

// shown returns the arguments that may be logged: those that the function describes, without secrets.
func shown(fn protocol.Function, args protocol.Args) map[string]string {
	out := make(map[string]string)
	for _, p := range fn.Params {
		switch value := args.Named[p.Name].(type) {
		case nil:
		case string:
			out[p.Name] = protocol.Clip(value, 200)
		case protocol.Secret:
			out[p.Name] = value.String()
		default:
			out[p.Name] = "..."
		}
	}
	return out
}

// newID returns a call's id: six letters and digits, like cPanel's error ids.
func newID() string { return strings.ToLower(rand.Text()[:6]) }
