// Command hello is a plugin with a module of a single function.
package main

import (
	"context"

	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

func greet(_ context.Context, call *sdk.Call) (any, error) {
	name := call.String("name")
	if name == "nobody" {
		return nil, protocol.NewError(protocol.KindInvalid, "I do not greet nobody.")
	}
	return "Hello, " + name + "! You are " + call.Account.Name + ".", nil
}

func main() {
	sdk.Serve(&sdk.Module{
		Name: "Hello",
		Help: "Greetings.",
		Functions: []sdk.Function{{
			Function: protocol.Function{
				API: protocol.UAPI, Name: "greet", Help: "Greet somebody.", Returns: "The greeting.",
				Roles:  []protocol.Role{protocol.RoleAccount},
				Params: []protocol.Param{{Name: "name", Required: true, Help: "Whom to greet."}},
			},
			Do: greet,
		}},
	})
}
