package email

import (
	"context"
	"slices"

	"github.com/liveapid/liveapid/plugins/email/policy"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// apps lists the values of PasswdStrength's argument app, according to UAPI's documentation: what a password
// is used for. This server requires the same strength for all of them.
var apps = []string{"cpaddons", "createacct", "ftp", "htaccess", "list", "mysql", "passwd", "pop", "postgres", "sshkey", "virtual", "webdisk"}

// strengthFunctions returns the functions of the module PasswdStrength.
func (m *Module) strengthFunctions() []sdk.Function {
	app := protocol.Param{Name: "app", Required: true, Help: "The use of the password, such as pop or virtual."}
	function := func(api protocol.API, name, help, returns string, params []protocol.Param, do func(*sdk.Call) (any, error)) sdk.Function {
		return sdk.Function{
			Function: protocol.Function{
				API: api, Name: name, Help: help, Returns: returns, Params: params,
				Roles: []protocol.Role{protocol.RoleAccount, protocol.RoleMailbox}, Shared: true,
			},
			Do: func(_ context.Context, call *sdk.Call) (any, error) { return do(call) },
		}
	}
	required := func(call *sdk.Call) (any, error) {
		if !slices.Contains(apps, call.String("app")) {
			return nil, protocol.NewError(protocol.KindInvalid, "The ‘app’ argument must be one of cpaddons, createacct, ftp, htaccess, list, mysql, passwd, pop, postgres, sshkey, virtual and webdisk.")
		}
		return map[string]any{"strength": m.current().policy.Required(call.Account)}, nil
	}
	strength := func(call *sdk.Call) (any, error) {
		return []any{map[string]any{"strength": policy.Strength(call.Secret("password"))}}, nil
	}
	const help = "Show the least strength that a password must have, from 0 to 100."
	return []sdk.Function{
		function(protocol.UAPI, "get_required_strength", help, "An object with strength.", []protocol.Param{app}, required),
		function(protocol.API2, "get_required_strength", help, "A record with strength.", []protocol.Param{app}, func(call *sdk.Call) (any, error) {
			v, err := required(call)
			return []any{v}, err
		}),
		function(protocol.API2, "get_password_strength", "Show a password's strength, from 0 to 100.", "A record with strength.",
			[]protocol.Param{{Name: "password", Type: protocol.TypeSecret, Required: true, Help: "The password."}}, strength),
		function(protocol.API2, "appstrengths", "Show the least strength for every use.", "A record with app and strength for each.", nil,
			func(call *sdk.Call) (any, error) {
				records := make([]any, 0, len(apps))
				for _, app := range apps {
					records = append(records, map[string]any{"app": app, "strength": m.current().policy.Required(call.Account)})
				}
				return records, nil
			}),
	}
}
