package host

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/cpvars"
	"github.com/liveapid/liveapid/protocol/listing"
)

// Plugin serves modules for accounts. Its methods are called concurrently. host/worker implements Plugin with
// processes; host/modules/builtin implements it inside the host.
type Plugin interface {
	// Modules returns the descriptions of the modules that the plugin serves for account. It may start a
	// worker.
	Modules(ctx context.Context, account protocol.Account) ([]protocol.Module, error)
	// Call runs the call in r, the arguments of which the host has validated. Call returns an error if the
	// call could not be run or its outcome is not known. The text of the error is only for the log. If the
	// error wraps ErrNotRun, the client is told that the call was not run; if it wraps ErrOutcomeUnknown,
	// that the outcome is unknown.
	Call(ctx context.Context, r Request) (*protocol.Result, error)
}

// Request is a validated call for a plugin.
type Request struct {
	ID       string // Id of the call, also in the log and in error messages.
	Caller   protocol.Caller
	Call     protocol.Call
	Function protocol.Function // The description of the called function.
	// Shape are the meta-parameters that the plugin applies to the list of the result; see protocol.Function.Shapes.
	Shape map[string]string
}

// Errors that Plugin.Call wraps. If the plugin received the call but did not answer, the call may or may not
// have taken effect; the client's message then says that the outcome is unknown.
var (
	ErrNotRun         = errors.New("host: the call was not run")
	ErrOutcomeUnknown = errors.New("host: the call's outcome is not known")
	// ErrNoRoom is wrapped in addition to ErrOutcomeUnknown if the memory that the caller may occupy has no room
	// for the answer, because the caller holds other answers.
	ErrNoRoom = errors.New("host: no room for the call's answer")
)

// Event is the description of a call for observers. It contains no secrets.
type Event struct {
	ID     string
	Caller protocol.Caller
	API    protocol.API
	Module string
	Func   string
	// Function is the description of the called function. Its Name is "" if the function was not found.
	Function protocol.Function
	Args     map[string]string // Validated arguments; secrets are masked.
}

// Observer is notified of all calls, concurrently. Its methods must return quickly, because the calls wait
// for them.
type Observer interface {
	// Begin is called before each call of a function that changes something. If Begin returns an error, the
	// call is not run.
	Begin(Event) error
	// End is called after every call, also if the call was rejected. took is the duration of the call.
	End(e Event, result *protocol.Result, took time.Duration)
}

// Host runs calls on its plugins. Its methods may be called concurrently.
type Host struct {
	timeout   time.Duration
	variables func(protocol.Account) cpvars.Lookup
	observers []Observer
	pace      func(account string) (pause func(context.Context) error, end func())
	causes    bool
	tap       atomic.Pointer[Tap]
	log       *slog.Logger

	mu      sync.RWMutex
	serving *generation
}

// Tap gets each call as its client sent it, the description of the called function, and the result.
type Tap func(call protocol.Call, fn protocol.Function, result *protocol.Result)

// inCall is the key of a context's value that marks the calls that a call makes itself.
type inCall struct{}

// Tap makes the host pass each call to tap, except for those that a call makes itself.
func (h *Host) Tap(tap Tap) { h.tap.Store(&tap) }

// generation is a set of plugins and the number of calls that use it. Replace installs a new generation and
// waits for the calls of the old one.
type generation struct {
	plugins []Plugin
	calls   sync.WaitGroup
}

// Options are the settings and the parts of a Host.
type Options struct {
	Plugins []Plugin
	Timeout time.Duration // Deadline of a call; 0 means protocol.CallTimeout.
	// Variables returns the values of the variables that an account's tags may contain. If it is nil, all
	// variables are empty.
	Variables func(protocol.Account) cpvars.Lookup
	Observers []Observer
	// Pace makes accounts take turns in using the processor for filtering and sorting answers; see
	// admission.Work. The host calls pause after each slice of the work, and end when the work has finished.
	// If Pace is nil, no account waits.
	Pace func(account string) (pause func(context.Context) error, end func())
	// Causes means that the callers are the authors of the modules: they get the cause of a failure, too, and not only
	// the log.
	Causes bool
	Log    *slog.Logger
}

// New returns a host with the given options. If two plugins serve the same module, calls go to the first one
// in o.Plugins.
func New(o Options) *Host {
	if o.Timeout <= 0 {
		o.Timeout = protocol.CallTimeout
	}
	if o.Variables == nil {
		o.Variables = func(protocol.Account) cpvars.Lookup { return func(string, string) string { return "" } }
	}
	return &Host{
		serving: &generation{plugins: o.Plugins}, timeout: o.Timeout, variables: o.Variables, observers: o.Observers, pace: o.Pace, causes: o.Causes, log: o.Log,
	}
}

// Replace makes new calls use plugins. Calls in flight continue on the old plugins. The function drained waits until
// these calls have ended, or until ctx ends; the caller may then close the old plugins.
func (h *Host) Replace(plugins []Plugin) (drained func(ctx context.Context)) {
	h.mu.Lock()
	old := h.serving
	h.serving = &generation{plugins: plugins}
	h.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		old.calls.Wait()
	}()
	return func(ctx context.Context) {
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
}

// enter returns the current plugins and counts a call that uses them. The caller must call leave when the
// call has ended.
func (h *Host) enter() (plugins []Plugin, leave func()) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	g := h.serving
	g.calls.Add(1)
	return g.plugins, g.calls.Done
}

// Do runs call for caller and returns its result. The result is never nil; if the call fails, the error is in
// the result's Err.
func (h *Host) Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result {
	id := newID()
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	plugins, leave := h.enter()
	defer leave()
	e := Event{ID: id, Caller: caller, API: call.API, Module: call.Module, Func: call.Func}
	tap := h.tap.Load()
	if ctx.Value(inCall{}) != nil {
		tap = nil // The call is a part of another, which is passed to the tap as a whole.
	}
	ctx = context.WithValue(ctx, inCall{}, true)
	sent := call
	if tap != nil {
		sent.Args = protocol.Args{Named: maps.Clone(call.Args.Named), Positional: slices.Clone(call.Args.Positional)}
	}
	result := h.do(ctx, plugins, &e, call)
	if !call.Compact {
		result.Data = protocol.Plain(result.Data)
	}
	took := time.Since(start)
	h.report(ctx, e, result, took)
	for _, o := range h.observers {
		o.End(e, result, took)
	}
	result.Err = h.withCause(e.Function, result.Err)
	if tap != nil {
		(*tap)(sent, e.Function, result)
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
		// cPanel uses this text in both API 2 and UAPI: public logs and the tests of clients quote it.
		return protocol.Failed(protocol.NewError(protocol.KindDenied, "You do not have the feature “"+fn.Feature+"”."))
	}
	if call.ReadOnly && (fn.Changes || fn.Open) && !found.whole {
		// An open module does not describe its functions, so the host must assume that each of them may
		// change something.
		return protocol.Failed(protocol.NewError(protocol.KindReadOnly, "This call may change data. Send the call by POST, with your session's security token."))
	}
	if call.Quoted {
		call.Args.Named = fn.Unquote(call.Args.Named)
	}
	if call.Expand && !found.whole {
		call.Args = cpvars.ExpandArgs(call.Args, h.variables(caller.Account))
	}
	var options listing.Options
	if !found.whole {
		var named map[string]any
		if options, named, err = listing.Split(call.API, call.Args.Named); err != nil {
			return protocol.Failed(err)
		}
		if len(call.Args.Positional) == 0 {
			call.Args.Named = named
		}
	}
	ignored := fn.IgnoredWarnings(call.Args.Named)
	if !found.dynamic {
		if call.Args, err = fn.Check(call.Args); err != nil {
			return protocol.Failed(err)
		}
	}
	e.Args = shown(fn, call.Args)
	if fn.Changes {
		if err := h.begin(*e); err != nil {
			return protocol.Failed(err)
		}
	}
	request := Request{ID: id, Caller: caller, Call: call, Function: fn}
	if fn.Shapes && !fn.Changes && !fn.Open && !fn.After && options.Pushable(fn.Shared) {
		request.Shape = options.Meta()
	}
	result, failure := found.plugin.Call(ctx, request)
	switch {
	case failure != nil:
		return protocol.Failed(h.explain(ctx, fn, call, id, failure))
	case result.Err != nil && result.Err.Kind == protocol.KindInternal:
		return protocol.Failed(internal(id, causeIn(result.Err)))
	}
	result.Warnings = append(result.Warnings, ignored...)
	if request.Shape != nil && result.Shaped {
		return result
	}
	return h.shaped(ctx, caller, fn, options, result)
}

// Record runs change, a change that is not a call of a plugin's function, and reports it to the observers like
// a call: the change is not made if it can't be recorded. module and function name the change, and args
// describe it without secrets.
func (h *Host) Record(caller protocol.Caller, module, function string, args map[string]string, change func() *protocol.Error) *protocol.Error {
	e := Event{
		ID: newID(), Caller: caller, Module: module, Func: function, Args: args,
		Function: protocol.Function{Name: function, Changes: true},
	}
	start := time.Now()
	if err := h.begin(e); err != nil {
		return err
	}
	result := &protocol.Result{Err: change()}
	took := time.Since(start)
	h.report(context.Background(), e, result, took)
	for _, o := range h.observers {
		o.End(e, result, took)
	}
	return result.Err
}

// begin reports a change to the observers before it is made.
func (h *Host) begin(e Event) *protocol.Error {
	for _, o := range h.observers {
		if err := o.Begin(e); err != nil {
			return &protocol.Error{
				Kind: protocol.KindUnavailable, Err: err,
				Message: "The host can't write to its audit log, so the change was not made. Tell the host's operator.",
			}
		}
	}
	return nil
}

// shaped returns result with its list filtered, sorted and paged as the caller requested in options.
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
		// The function has already changed something, so the call must not be reported as failed. The client
		// gets the whole list with a warning.
		result.Warnings = append(result.Warnings, "The answer could not be filtered and sorted, and is whole.")
	case refused != nil:
		return protocol.Failed(refused)
	case err != nil:
		return protocol.Failed(protocol.NewError(protocol.KindUnavailable,
			"The call was run, but its answer could not be filtered and sorted within "+h.timeout.String()+". Ask for less, or try again later."))
	}
	return result
}

// explain returns the error for the client if Plugin.Call failed with err. The message of the error says
// whether the call was not run, was run, or may have been run.
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
	case errors.Is(err, ErrNoRoom):
		why = "The answers of the calls that were made together are too large. Make fewer calls together."
	case !errors.Is(err, ErrOutcomeUnknown):
		return internal(id, err)
	}
	if fn.Changes {
		return unknown(why + " Whether the change was made is not known. Check it, or make the change again.")
	}
	return unknown(why + " Try again.")
}

// internal returns an error that does not contain err, an internal fault. The client gets cPanel's text and
// the call's id, with which an operator finds err in the log.
func internal(id string, err error) *protocol.Error {
	return &protocol.Error{
		Kind: protocol.KindInternal, Message: "The request failed. (Error ID: " + id + ")", Err: err,
	}
}

// causeIn returns the private cause that a module sent with a failure, or the failure itself if it sent none.
func causeIn(failure *protocol.Error) error {
	if failure.Message == "" && failure.Err != nil {
		return failure.Err
	}
	return failure
}

func (h *Host) report(ctx context.Context, e Event, result *protocol.Result, took time.Duration) {
	level, kind, cause := slog.LevelDebug, "ok", ""
	if failed := result.Err; failed != nil {
		kind = string(failed.Kind)
		if failed.Err != nil {
			level, cause = slog.LevelError, CauseOf(failed.Err)
		}
	}
	h.log.Log(ctx, level, "call", "id", e.ID, "account", e.Caller.Account.Name, "role", e.Caller.Role, "door", e.Caller.Door,
		"api", int(e.API), "module", protocol.Clip(e.Module, 64), "func", protocol.Clip(e.Func, 64), "result", kind, "cause", cause, "took", took)
}

// shown returns the arguments that may be logged: only those that the description of the function contains,
// with secrets masked and long values truncated.
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

// newID returns a random id for a call: six letters and digits, like the error ids of cPanel.
func newID() string { return strings.ToLower(rand.Text()[:6]) }
