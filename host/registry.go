package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/liveapid/liveapid/protocol"
)

// StaticModules is a plugin of which is known, without asking it, what it does not serve.
type StaticModules interface {
	// Serves returns the modules that the plugin could serve; nil where only itself knows.
	Serves() []string
}

// serves returns the modules that a plugin could serve; nil where only itself knows.
func serves(p Plugin) []string {
	if known, ok := p.(StaticModules); ok {
		return known.Serves()
	}
	return nil
}

// BackoffError is a plugin that stopped so often that it is not started for a while. Calls meanwhile
// fail with it, as ErrNotRun.
type BackoffError struct {
	Times int           // It stopped so often in a row,
	For   time.Duration // and starts again in so long.
	Err   error         // The last stop.
}

func (r *BackoffError) Error() string {
	return fmt.Sprintf("it stopped %d times in a row and starts again in %s: %v", r.Times, r.For, r.Err)
}

func (r *BackoffError) Unwrap() error { return r.Err }

// unavailable is what callers are told of a module that can't be had.
func unavailable(module string, err error) *protocol.Error {
	message := "The " + module + " module is not available at the moment and nothing was changed. Try again later."
	var resting *BackoffError
	if errors.As(err, &resting) {
		message = fmt.Sprintf("The %s module stopped %d times in a row and rests for %s. Nothing was changed; try again later.",
			module, resting.Times, resting.For.Round(100*time.Millisecond))
	}
	return &protocol.Error{Kind: protocol.KindUnavailable, Message: message, Err: err}
}

// found is the place of a function.
type found struct {
	plugin   Plugin
	function protocol.Function
}

// find looks a call's function up in what the plugins say of themselves. Module and
// function names are case-sensitive (cPanel's documentation says so).
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
		// The module may be in the plugin that can't be asked.
		return found{}, unavailable(call.Module, unreachable)
	}
	return found{}, protocol.NewError(protocol.KindNoModule, "No module "+call.Module+".")
}

// UnavailablePlugin is a plugin that can't be asked what it serves.
type UnavailablePlugin struct {
	Modules []string // Those that it would serve; none where only itself knows.
	Err     error
}

// Modules describes everything that account can reach, for help and documents, and says what is
// missing there: one broken plugin hides no other.
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
