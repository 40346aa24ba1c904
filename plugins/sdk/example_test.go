package sdk_test

import (
	"context"

	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// A plugin with a module of a single function. examples/hello-go is the complete program.
func ExampleServe() {
	greet := func(_ context.Context, call *sdk.Call) (any, error) {
		name := call.String("name")
		if name == "nobody" {
			return nil, protocol.NewError(protocol.KindInvalid, "I do not greet nobody.")
		}
		return "Hello, " + name + "! You are " + call.Account.Name + ".", nil
	}
	sdk.Serve(&sdk.Module{
		Name: "Hello",
		Help: "Greetings.",
		Functions: []sdk.Function{{
			Function: protocol.Function{
				API: protocol.UAPI, Name: "greet", Help: "Greet somebody.",
				Roles:  []protocol.Role{protocol.RoleAccount},
				Params: []protocol.Param{{Name: "name", Required: true}},
			},
			Do: greet,
		}},
	})
}

// A function that keeps a typed password from the account's process: Before hashes it in the helper, and Do
// stores the hash as the account.
func ExampleFunction() {
	hash := func(password protocol.Secret) string { return "…" }
	store := func(home, hash string) error { return nil }
	function := sdk.Function{
		Function: protocol.Function{
			API: protocol.UAPI, Name: "set_pin", Changes: true, Roles: []protocol.Role{protocol.RoleAccount},
			Params: []protocol.Param{{Name: "pin", Type: protocol.TypeSecret, Required: true}},
		},
		Before: func(_ context.Context, call *sdk.Call) (any, error) {
			return hash(call.Secret("pin")), nil
		},
		Do: func(_ context.Context, call *sdk.Call) (any, error) {
			hash, _ := call.Input.(string)
			return nil, store(call.Account.Home, hash)
		},
	}
	sdk.Serve(&sdk.Module{Name: "Pin", Functions: []sdk.Function{function}})
}
