package builtin

import (
	"context"
	"slices"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/protocol"
)

// Describe serves the module LiveAPI, which describes the functions that the caller may call. The module is
// not one of cPanel's; the command lines use it for help.
type Describe struct {
	// List returns the modules of an account, as host.Host.Modules does.
	List func(context.Context, protocol.Account) ([]protocol.Module, []host.UnavailablePlugin)
}

var (
	_ host.Plugin        = Describe{}
	_ host.StaticModules = Describe{}
)

// Serves implements host.StaticModules.
func (Describe) Serves() []string { return []string{"LiveAPI"} }

// Modules implements host.Plugin.
func (Describe) Modules(context.Context, protocol.Account) ([]protocol.Module, error) {
	return []protocol.Module{{Name: "LiveAPI", Help: "This host's own functions.", Functions: []protocol.Function{{
		API: protocol.UAPI, Name: "list_functions", Roles: []protocol.Role{protocol.RoleAccount, protocol.RoleMailbox},
		Help:    "Describe the functions that the caller may call.",
		Returns: "A record for each module: name, help, and its functions with api, name, help, returns, changes and params.",
		Params:  []protocol.Param{{Name: "module", Help: "Only this module."}},
	}}}}, nil
}

// Call implements host.Plugin.
func (d Describe) Call(ctx context.Context, r host.Request) (*protocol.Result, error) {
	modules, _ := d.List(ctx, r.Caller.Account)
	only, _ := r.Call.Args.Named["module"].(string)
	out := []any{}
	for _, m := range modules {
		if only != "" && m.Name != only {
			continue
		}
		functions := []any{}
		for _, f := range m.Functions {
			if slices.Contains(f.Roles, r.Caller.Role) && r.Caller.HasFeature(f.Feature) {
				functions = append(functions, functionRecord(f))
			}
		}
		if len(functions) > 0 {
			out = append(out, map[string]any{"name": m.Name, "help": m.Help, "functions": functions})
		}
	}
	return &protocol.Result{Data: out}, nil
}

func functionRecord(f protocol.Function) map[string]any {
	params := []any{}
	for _, p := range f.Params {
		kind := p.Type
		if kind == "" {
			kind = protocol.TypeString
		}
		params = append(params, map[string]any{"name": p.Name, "type": string(kind), "required": flag(p.Required), "list": flag(p.List), "help": p.Help})
	}
	return map[string]any{
		"api": int64(f.API), "name": f.Name, "help": f.Help, "returns": f.Returns, "changes": flag(f.Changes), "open": flag(f.Open), "params": params,
	}
}
