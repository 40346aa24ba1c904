package protocol_test

import (
	"fmt"

	"github.com/liveapid/liveapid/protocol"
)

// A function's description validates the arguments of a call.
func ExampleFunction_Check() {
	function := protocol.Function{
		API: protocol.UAPI, Name: "greet", Roles: []protocol.Role{protocol.RoleAccount},
		Params: []protocol.Param{
			{Name: "name", Required: true},
			{Name: "times", Type: protocol.TypeInteger},
		},
	}
	args, err := function.Check(protocol.Args{Named: map[string]any{"name": "Ada", "times": "2"}})
	fmt.Println(args.Named["name"], args.Named["times"], err == nil)

	_, err = function.Check(protocol.Args{Named: map[string]any{"times": "2"}})
	fmt.Println(err.Message)
	// Output:
	// Ada 2 true
	// Provide the ‘name’ argument.
}

// An error of a known kind has a message for the caller.
func ExampleNewError() {
	err := protocol.NewError(protocol.KindNotFound, "The mailbox does not exist.")
	fmt.Println(err.Kind, err.Message)
	// Output: not_found The mailbox does not exist.
}

// A secret is not printed by mistake.
func ExampleSecret() {
	password := protocol.NewSecret("12345luggage")
	fmt.Println(password)
	fmt.Println(len(password.Reveal()))
	// Output:
	// [secret]
	// 12
}
