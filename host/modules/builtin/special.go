package builtin

import (
	"context"
	"strings"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/cpvars"
)

// Special serves the requests that belong to none of cPanel's modules: print, langprint, if, feature and
// setvar. Each of them is a module with a single API 1 function, which has the same name as the module.
type Special struct {
	// Variables returns the values of the variables that an account's programs may use.
	Variables func(protocol.Account) cpvars.Lookup
}

var (
	_ host.Plugin        = Special{}
	_ host.StaticModules = Special{}
)

// Serves implements host.StaticModules.
func (Special) Serves() []string { return []string{"print", "langprint", "if", "feature", "setvar"} }

// Modules implements host.Plugin.
func (Special) Modules(context.Context, protocol.Account) ([]protocol.Module, error) {
	var out []protocol.Module
	for _, s := range []struct{ name, help, returns string }{
		{"print", "Show a variable, or a text with variables.", "The text."},
		{"langprint", "Show a text of the locale.", "The text; it is the key itself, since this host has no other locale."},
		{"if", "Evaluate an expression of variables.", "1 or 0."},
		{"feature", "Tell whether the account has a feature.", "1 or 0."},
		{"setvar", "Set a variable of cPanel's theme; it is ignored, since this server has no theme.", "Nothing."},
	} {
		out = append(out, protocol.Module{Name: s.name, Help: s.help, Functions: []protocol.Function{{
			API: protocol.API1, Name: s.name, Help: s.help, Returns: s.returns, Roles: []protocol.Role{protocol.RoleAccount},
			Params: []protocol.Param{{Name: "text", Help: "The variable, key, expression or name."}},
		}}})
	}
	return out, nil
}

// Call implements host.Plugin.
func (s Special) Call(_ context.Context, r host.Request) (*protocol.Result, error) {
	caller, call := r.Caller, r.Call
	text, _ := call.Args.Named["text"].(string)
	lookup := s.Variables(caller.Account)
	switch call.Module {
	case "print":
		return &protocol.Result{Data: cpvars.Print(text, lookup)}, nil
	case "setvar":
		return &protocol.Result{Data: ""}, nil
	case "langprint":
		return &protocol.Result{Data: text}, nil
	case "feature":
		return &protocol.Result{Data: flag(caller.Account.HasFeature(strings.TrimSpace(text)))}, nil
	}
	yes, err := cpvars.Eval(text, lookup)
	if err != nil {
		return protocol.Failed(protocol.NewError(protocol.KindInvalid, "The expression can't be evaluated: "+err.Error()+".")), nil
	}
	return &protocol.Result{Data: flag(yes)}, nil
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
