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

// Plugin serves modules for accounts. host/worker has the one that runs processes.
type Plugin interface {
	// Modules describes what the plugin serves, from its own word. It may start a
	// worker of the account.
	Modules(ctx context.Context, account protocol.Account) ([]protocol.Module, error)
	// Call runs a call whose arguments were checked. The error is for the log; errors.Is tells
	// whether it is ErrNotRun, ErrOutcomeUnknown or neither.
	Call(ctx context.Context, r Request) (*protocol.Result, error)
}

// Request is a call that a plugin runs.
type Request struct {
	ID       string // The call's id, which the log has, too.
	Caller   protocol.Caller
	Call     protocol.Call
	Function protocol.Function // What the plugin's description says of the function.
}

// Errors of Plugin.Call. Where a call was handed over and no answer came, whether it
// took effect can't be known; the caller is told so.
var (
	ErrNotRun         = errors.New("host: the call was not run")
	ErrOutcomeUnknown = errors.New("host: the call's outcome is not known")
)

// Event is a call as those see it who watch: what it was, and nothing of its secrets.
type Event struct {
	ID     string
	Caller protocol.Caller
	API    protocol.API
	Module string
	Func   string
	// Function is what the call ran; its name is "" where there is no such function.
	Function protocol.Function
	Args     map[string]string // Of what the function describes, without its secrets.
}

// Observer watches calls. It must be quick: calls wait for it.
type Observer interface {
	// Begin is told of a call that changes something before it runs. An error keeps it from
	// running.
	Begin(Event) error
	// End is told of every call that is over.
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

// generation is a set of plugins, and the calls that go by it.
type generation struct {
	plugins []Plugin
	calls   sync.WaitGroup
}

// Options are a host's parts.
type Options struct {
	Plugins []Plugin
	Timeout time.Duration // Of one call; 0 means protocol.CallTimeout.
	// Variables are what an account's tags may name; nil knows none.
	Variables func(protocol.Account) cpvars.Lookup
	Observers []Observer
	// Pace shares the processor out among the accounts whose answers are filtered and sorted, as
	// admission.Work does; nil computes at once.
	Pace func(account string) (pause func(context.Context) error, end func())
	Log  *slog.Logger
}

// New returns a host of the given plugins. Where two serve one module, the first wins.
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

// Replace has the calls that come from now on go by other plugins. It returns when those that
// went by the old ones are over, which may then be closed, or when ctx ends.
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

// enter returns the plugins that a call goes by. The caller must call leave.
func (h *Host) enter() (plugins []Plugin, leave func()) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	g := h.serving
	g.calls.Add(1)
	return g.plugins, g.calls.Done
}

// Do runs one call for caller. It always returns a result; whatever goes wrong is in
// its Err.
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
		// cPanel's wording in API 2 and UAPI alike (quoted by public logs and clients' tests).
		return protocol.Failed(protocol.NewError(protocol.KindDenied, "You do not have the feature “"+fn.Feature+"”."))
	}
	if call.ReadOnly && (fn.Changes || fn.Open) {
		// What does not describe itself may change anything.
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
					Message: "The host can't write down what is changed, and so changes nothing. Tell its operator.",
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

// shaped returns the result with its list filtered, sorted and cut as the caller asked.
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
		// What was done must not be told as a failure.
		result.Warnings = append(result.Warnings, "The answer could not be filtered and sorted, and is whole.")
	case refused != nil:
		return protocol.Failed(refused)
	case err != nil:
		return protocol.Failed(protocol.NewError(protocol.KindUnavailable,
			"The call was run, and its answer could not be filtered and sorted within "+h.timeout.String()+". Ask for less, or try again later."))
	}
	return result
}

// explain turns the failure to run a call into what the caller sees.
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
		return unknown(why + " Whether the change was made is not known: check, or make it again.")
	}
	return unknown(why + " Try again.")
}

// internal hides a fault behind an id that the log has too, in cPanel's wording.
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

// shown returns the arguments that may be written down: those that the function describes, and
// that are no secrets.
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

// newID returns a call's id: six letters and digits, as cPanel's error ids are.
func newID() string { return strings.ToLower(rand.Text()[:6]) }
