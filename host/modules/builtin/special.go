package builtin

import (
	"context"
	"strings"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/cpvars"
)

// Special serves the requests that belong to none of cPanel's modules: print, langprint, if and feature. Each
// of them is a module with a single API 1 function, which has the same name as the module.
type Special struct{}

var _ host.Plugin = Special{}

// Modules implements host.Plugin.
func (Special) Modules(context.Context, protocol.Account) ([]protocol.Module, error) {
	var out []protocol.Module
	for _, s := range []struct{ name, help, returns string }{
		{"print", "Show a variable, or a text with variables.", "The text."},
		{"langprint", "Show a text of the locale.", "The text; it is the key itself, since this host has no other locale."},
		{"if", "Evaluate an expression of variables.", "1 or 0."},
		{"feature", "Tell whether the account has a feature.", "1 or 0."},
	} {
		out = append(out, protocol.Module{Name: s.name, Help: s.help, Functions: []protocol.Function{{
			API: protocol.API1, Name: s.name, Help: s.help, Returns: s.returns, Roles: []protocol.Role{protocol.RoleAccount},
			Params: []protocol.Param{{Name: "text", Help: "The variable, key, expression or name."}},
		}}})
	}
	return out, nil
}

// Call implements host.Plugin.
func (Special) Call(_ context.Context, r host.Request) (*protocol.Result, error) {
	caller, call := r.Caller, r.Call
	text, _ := call.Args.Named["text"].(string)
	lookup := Variables(caller.Account)
	switch call.Module {
	case "print":
		return &protocol.Result{Data: cpvars.Print(text, lookup)}, nil
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

// Variables returns a function that looks up the cPanel variables for programs of the account. All values are
// facts about the account; nothing is taken from the host's environment.
func Variables(a protocol.Account) cpvars.Lookup {
	fact := func(key, fallback string) string {
		if value, ok := a.Data[key]; ok {
			return value
		}
		return fallback
	}
	plain := map[string]string{
		"user": a.Name, "homedir": a.Home, "domain": a.MainDomain(), "DOMAIN": a.MainDomain(),
		"theme": fact("THEME", fact("RS", "jupiter")), "lang": fact("LOCALE", "en"), "locale": fact("LOCALE", "en"),
		"haspostgres": "0", "isreseller": "0", "authuser": a.Name,
	}
	data := map[string]string{
		"USER": a.Name, "DNS": a.MainDomain(), "HOMEDIR": a.Home, "THEME": plain["theme"], "RS": plain["theme"], "LOCALE": plain["lang"],
		"PLAN": "default", "OWNER": "root", "FEATURELIST": "default",
	}
	env := map[string]string{
		"HOME": a.Home, "USER": a.Name, "LOGNAME": a.Name, "REMOTE_USER": a.Name, "DOMAIN": a.MainDomain(), "LANG": "C.UTF-8",
	}
	return func(name, key string) string {
		switch name {
		case "CPDATA":
			return fact(key, data[key])
		case "ENV":
			return env[key]
		}
		if key != "" {
			return "" // Includes $FORM (there is no form) and $CONF (private).
		}
		return plain[name]
	}
}
