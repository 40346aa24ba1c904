package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/liveapid/liveapid/protocol"
)

// StaticModules is implemented by a plugin that can list the names of its modules without being started.
type StaticModules interface {
	// Serves returns the names of all modules that the plugin may serve, or nil if the plugin must be started
	// to find out.
	Serves() []string
}

// Dynamic is implemented by a plugin that decides for each call whether it serves the function, such as mocks. Its
// functions may belong to a module of another plugin: the first plugin in the order of the plugins wins.
type Dynamic interface {
	// Function returns the description of the called function, if the plugin serves it.
	Function(call protocol.Call) (protocol.Function, bool)
	// Whole reports whether the plugin gets calls as their clients sent them, with meta-parameters and variables, and
	// changes nothing, so that calls that must not change anything reach it, too.
	Whole() bool
}

// serves returns the names of all modules that p may serve, or nil if p must be started to find out.
func serves(p Plugin) []string {
	if known, ok := p.(StaticModules); ok {
		return known.Serves()
	}
	return nil
}

// BackoffError reports that a plugin stopped several times in a row and is not started again until the time
// For has passed. During that time, calls fail with an error that wraps both BackoffError and ErrNotRun.
type BackoffError struct {
	Times int           // How often the plugin stopped in a row.
	For   time.Duration // Time until the plugin may be started again.
	Err   error         // Why the plugin stopped the last time.
}

func (r *BackoffError) Error() string {
	return fmt.Sprintf("the plugin stopped %d times in a row and is not started again for %s: %v", r.Times, r.For, r.Err)
}

func (r *BackoffError) Unwrap() error { return r.Err }

// unavailable returns the error for the client if module can't be reached because of err. The call was not
// run.
func unavailable(module string, err error) *protocol.Error {
	message := "The " + module + " module is not available at the moment and nothing was changed. Try again later."
	var resting *BackoffError
	if errors.As(err, &resting) {
		message = fmt.Sprintf("The %s module stopped %d times in a row and is not started again for %s. Nothing was changed; try again later.",
			module, resting.Times, resting.For.Round(100*time.Millisecond))
	}
	return &protocol.Error{Kind: protocol.KindUnavailable, Message: message, Err: err}
}

// found is the description of a function and the plugin that serves it.
type found struct {
	plugin   Plugin
	function protocol.Function
	dynamic  bool // The plugin is Dynamic: its functions take all arguments as they are.
	whole    bool // See Dynamic.Whole.
}

// find looks up the function of call in the descriptions of the modules of all plugins. The first plugin with
// the module wins. Names of modules and functions are case-sensitive, as in cPanel's documentation.
func find(ctx context.Context, plugins []Plugin, account protocol.Account, call protocol.Call) (found, *protocol.Error) {
	var unreachable error
	var missing *protocol.Error
	broken := false // The plugin that should serve the module can't; no mock may hide this.
	for _, p := range plugins {
		if dynamic, ok := p.(Dynamic); ok && !broken {
			if fn, ok := dynamic.Function(call); ok {
				return found{plugin: p, function: fn, dynamic: true, whole: dynamic.Whole()}, nil
			}
			continue
		}
		if _, ok := p.(Dynamic); ok || missing != nil {
			continue // The module of the first plugin with this name counts.
		}
		if known := serves(p); known != nil && !slices.Contains(known, call.Module) {
			continue
		}
		modules, err := p.Modules(ctx, account)
		if err != nil {
			unreachable = err
			broken = broken || serves(p) != nil
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
			missing = protocol.NewError(protocol.KindNoFunction, "No function "+call.Func+" in module "+call.Module+".")
			break
		}
	}
	if missing != nil {
		return found{}, missing
	}
	if unreachable != nil {
		// The module may belong to a plugin that failed to return its descriptions. Therefore the error must
		// not say that the module does not exist.
		return found{}, unavailable(call.Module, unreachable)
	}
	return found{}, protocol.NewError(protocol.KindNoModule, "No module "+call.Module+".")
}

// UnavailablePlugin is a plugin that failed to return the descriptions of its modules.
type UnavailablePlugin struct {
	Modules []string // Names of its modules; nil if they are not known.
	Err     error
}

// Modules returns the descriptions of all modules that the plugins serve for account. A plugin that fails
// does not hide the others: it is returned in missing.
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
