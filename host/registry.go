package host

import (
	"context"

	"github.com/liveapid/liveapid/protocol"
)

// Knowing is a plugin that can say without being asked what it does not serve.
type Knowing interface {
	// MayServe reports whether the plugin could serve a module.
	MayServe(module string) bool
}

// found is the place of a function.
type found struct {
	plugin   Plugin
	function protocol.Function
}

// find looks a call's function up in what the plugins say of themselves. Module and
// function names are case-sensitive (cPanel's documentation says so).
func (h *Host) find(ctx context.Context, account protocol.Account, call protocol.Call) (found, *protocol.Error) {
	var unreachable error
	for _, p := range h.plugins {
		if known, ok := p.(Knowing); ok && !known.MayServe(call.Module) {
			continue
		}
		modules, err := p.Modules(ctx, account)
		if err != nil {
			unreachable = err
			continue
		}
		for _, m := range modules {
			if m.Name != call.Module {
				continue
			}
			for _, fn := range m.Functions {
				if fn.API == call.API && fn.Name == call.Func {
					return found{plugin: p, function: fn}, nil
				}
			}
			return found{}, protocol.NewError(protocol.KindNoFunction, "No function "+call.Func+" in module "+call.Module+".")
		}
	}
	if unreachable != nil {
		// The module may be in the plugin that can't be asked.
		return found{}, &protocol.Error{
			Kind: protocol.KindUnavailable, Err: unreachable,
			Message: "The " + call.Module + " module is not available at the moment and nothing was changed. Try again later.",
		}
	}
	return found{}, protocol.NewError(protocol.KindNoModule, "No module "+call.Module+".")
}

// Modules describes everything that account can reach, for help and documents.
func (h *Host) Modules(ctx context.Context, account protocol.Account) ([]protocol.Module, error) {
	var all []protocol.Module
	for _, p := range h.plugins {
		modules, err := p.Modules(ctx, account)
		if err != nil {
			return nil, err
		}
		all = append(all, modules...)
	}
	return all, nil
}
