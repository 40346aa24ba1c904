package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/liveapid/liveapid/protocol"
)

// StaticModules is a plugin with a module list that is known without starting it.
type StaticModules interface {
	// Serves returns the modules that the plugin can serve, or nil if only the plugin itself knows them.
	Serves() []string
}

// serves returns the modules that a plugin can serve, or nil if only the plugin itself knows them.
func serves(p Plugin) []string {
	if known, ok := p.(StaticModules); ok {
		return known.Serves()
	}
	return nil
}

// BackoffError is returned for a plugin that stopped so often that it is not started for a while. Calls fail
// with it and ErrNotRun in the meantime.
type BackoffError struct {
	Times int           // How often it stopped in a row.
	For   time.Duration // How long until it starts again.
	Err   error         // Why it stopped last.
}

func (r *BackoffError) Error() string {
	return fmt.Sprintf("it stopped %d times in a row and starts again in %s: %v", r.Times, r.For, r.Err)
}

func (r *BackoffError) Unwrap() error { return r.Err }

// unavailable returns the error for a module that can't be reached.
func unavailable(module string, err error) *protocol.Error {
	message := "The " + module + " module is not available at the moment and nothing was changed. Try again later."
	var resting *BackoffError
	if errors.As(err, &resting) {
		message = fmt.Sprintf("The %s module stopped %d times in a row and is not started again for %s. Nothing was changed; try again later.",
			module, resting.Times, resting.For.Round(100*time.Millisecond))
	}
	return &protocol.Error{Kind: protocol.KindUnavailable, Message: message, Err: err}
}

// found is a function with its plugin.
type found struct {
	plugin   Plugin
	function protocol.Function
}

// find looks up a call's function in the descriptions of the plugins. Names of modules and functions are
// case-sensitive, as in cPanel's documentation.
func find(ctx context.Context, plugins []Plugin, account protocol.Account, call protocol.Call) (found, *protocol.Error) {
	var unreachable error
	for _, p := range plugins {
		if known := serves(p); known != nil && !slices.Contains(known, call.Module) {
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
		// The module may belong to the plugin that can't be reached.
		return found{}, unavailable(call.Module, unreachable)
	}
	return found{}, protocol.NewError(protocol.KindNoModule, "No module "+call.Module+".")
}

// UnavailablePlugin is a plugin that can't be asked for its modules.
type UnavailablePlugin struct {
	Modules []string // The modules that it would serve; nil if only the plugin itself knows them.
	Err     error
}

// Modules returns the descriptions of all modules that the account can call, and the plugins that can't be
// reached. A broken plugin does not hide the others.
func (h *Host) Modules(ctx context.Context, account protocol.Account) (all []protocol.Module, missing []UnavailablePlugin) {
	plugins, leave := h.enter()
	defer leave()
	for _, p := range plugins {
		modules, err := p.Modules(ctx, account)
		if err != nil {
			missing = append(missing, UnavailablePlugin{Modules: serves(p), Err: err})
			continue
		}
		all = append(all, modules...)
	}
	return all, missing
}
