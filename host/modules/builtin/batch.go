package builtin

import (
	"context"
	"strconv"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/envelope"
	"github.com/liveapid/liveapid/protocol/strictjson"
)

// Batch serves the module Batch, with which a client makes several UAPI calls in one request.
type Batch struct {
	// Do runs a single call. It applies no limits of calls.
	Do func(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result
	// Charge counts the calls of a batch against the account's rate of calls, before they are run.
	Charge func(account string, calls int) *protocol.Error
}

var (
	_ host.Plugin        = Batch{}
	_ host.StaticModules = Batch{}
)

// maxCommands is the maximum number of calls in a batch.
const maxCommands = 50

// Serves implements host.StaticModules.
func (Batch) Serves() []string { return []string{"Batch"} }

// Modules implements host.Plugin.
func (Batch) Modules(context.Context, protocol.Account) ([]protocol.Module, error) {
	return []protocol.Module{{Name: "Batch", Help: "Several calls in one request.", Functions: []protocol.Function{{
		API: protocol.UAPI, Name: "strict", Roles: []protocol.Role{protocol.RoleAccount}, Changes: true,
		Help:    "Run several functions in order, until one fails.",
		Returns: "The result of each call: data, errors, messages, metadata, status and warnings.",
		Params: []protocol.Param{{Name: "command", Type: protocol.TypeAny, Required: true, List: true,
			Help: `A call as JSON: ["Module", "function", {"name": "value"}]. Send command-0, command-1 and so on for several.`}},
	}}}}, nil
}

// Call implements host.Plugin. All commands are parsed before the first is run.
func (b Batch) Call(ctx context.Context, r host.Request) (*protocol.Result, error) {
	commands, _ := r.Call.Args.Named["command"].([]any)
	if len(commands) > maxCommands {
		return protocol.Failed(protocol.NewError(protocol.KindInvalid, "The ‘command’ argument has more than "+strconv.Itoa(maxCommands)+" calls.")), nil
	}
	calls := make([]protocol.Call, 0, len(commands))
	for i, command := range commands {
		call, err := parseCommand(command)
		if err != nil {
			return protocol.Failed(protocol.NewError(protocol.KindInvalid, "The ‘command’ argument, call "+strconv.Itoa(i+1)+": "+err.Message+" No call was made.")), nil
		}
		call.ReadOnly = r.Call.ReadOnly
		calls = append(calls, call)
	}
	if refused := b.Charge(r.Caller.Account.Name, len(calls)); refused != nil {
		return protocol.Failed(refused), nil
	}
	out := []any{}
	left := int64(protocol.MaxWorkerMessage)
	for i, call := range calls {
		result := b.Do(ctx, r.Caller, call)
		if result.Err != nil || result.No {
			return protocol.Failed(failedCommand(call, result, i, len(calls))), nil
		}
		if left -= sizeOf(result.Data); left < 0 {
			return protocol.Failed(failedCommand(call, protocol.Failed(protocol.NewError(protocol.KindFailed,
				"it was made, but the answers of the batch are too large. Ask for less, or make the calls one by one.")), i, len(calls))), nil
		}
		out = append(out, envelope.UAPIData(call, result))
	}
	return &protocol.Result{Data: out, Metadata: map[string]any{"transformed": int64(1)}}, nil
}

// failedCommand returns the error of a batch whose call at index failed.
func failedCommand(call protocol.Call, result *protocol.Result, index, all int) *protocol.Error {
	kind, message, cause := protocol.KindFailed, "the answer is no.", error(nil)
	if result.Err != nil {
		kind, message, cause = result.Err.Kind, envelope.UAPIMessage(call, result.Err), result.Err.Err
	}
	text := "Call " + strconv.Itoa(index+1) + ", " + protocol.Clip(call.Module, 64) + "::" + protocol.Clip(call.Func, 64) + ", failed: " + message
	switch kind {
	case protocol.KindNoModule, protocol.KindNoFunction, protocol.KindInternal:
		kind = protocol.KindFailed // The text of these kinds would speak of Batch::strict itself.
	}
	switch {
	case index > 0 && index+1 < all:
		text += " The calls before it were made; those after it were not."
	case index > 0:
		text += " The calls before it were made."
	case all > 1:
		text += " The calls after it were not made."
	}
	return &protocol.Error{Kind: kind, Message: text, Err: cause}
}

// parseCommand parses a command: a list, or its JSON text, of a module, a function and an optional object of
// arguments.
func parseCommand(command any) (call protocol.Call, _ *protocol.Error) {
	wrong := protocol.NewError(protocol.KindInvalid, `it must be a JSON list such as ["Email", "count_pops"] or ["Email", "list_pops", {"regex": "user"}].`)
	if text, ok := command.(string); ok {
		value, err := strictjson.Decode([]byte(text))
		if err != nil {
			return call, wrong
		}
		command = value
	}
	items, ok := command.([]any)
	if !ok || len(items) < 2 || len(items) > 3 {
		return call, wrong
	}
	module, ok1 := items[0].(string)
	name, ok2 := items[1].(string)
	if !ok1 || !ok2 || module == "" || name == "" || len(module) > 64 || len(name) > 64 {
		return call, wrong
	}
	args := map[string]any{}
	if len(items) == 3 && items[2] != nil {
		object, ok := items[2].(map[string]any)
		if !ok {
			return call, wrong
		}
		args = object
	}
	if module == "Batch" {
		return call, protocol.NewError(protocol.KindInvalid, "a batch can't contain a batch.")
	}
	return protocol.Call{API: protocol.UAPI, Module: module, Func: name, Args: protocol.Args{Named: args}}, nil
}

// sizeOf returns about how many bytes a value needs in memory.
func sizeOf(value any) (n int64) {
	switch v := value.(type) {
	case string:
		return int64(len(v)) + 16
	case []any:
		for _, item := range v {
			n += sizeOf(item)
		}
	case map[string]any:
		for key, item := range v {
			n += int64(len(key)) + 32 + sizeOf(item)
		}
	}
	return n + 16
}
