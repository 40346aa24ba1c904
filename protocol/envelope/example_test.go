package envelope_test

import (
	"fmt"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/envelope"
)

// The same result in the envelopes of API 2 and UAPI.
func ExampleJSON() {
	result := &protocol.Result{Data: []any{map[string]any{"email": "user@example.com"}}}
	fmt.Println(string(envelope.JSON(protocol.Call{API: protocol.API2, Module: "Email", Func: "listpops"}, result)))
	fmt.Println(string(envelope.JSON(protocol.Call{API: protocol.UAPI, Module: "Email", Func: "list_pops"}, result)))
	// Output:
	// {"cpanelresult":{"apiversion":2,"module":"Email","func":"listpops","data":[{"email":"user@example.com"}],"event":{"result":1}}}
	// {"apiversion":3,"module":"Email","func":"list_pops","result":{"data":[{"email":"user@example.com"}],"errors":null,"messages":null,"metadata":{},"status":1,"warnings":null}}
}

// A failed call.
func ExampleJSON_failed() {
	call := protocol.Call{API: protocol.UAPI, Module: "Email", Func: "passwd_pop"}
	fmt.Println(string(envelope.JSON(call, protocol.Failed(protocol.Missing("email")))))
	// Output:
	// {"apiversion":3,"module":"Email","func":"passwd_pop","result":{"data":null,"errors":["Provide the ‘email’ argument."],"messages":null,"metadata":{},"status":0,"warnings":null}}
}

// A program reads the result out of an envelope.
func ExampleParse() {
	call := protocol.Call{API: protocol.UAPI, Module: "Email", Func: "list_pops"}
	body := `{"apiversion":3,"module":"Email","func":"list_pops","result":{"data":["user@example.com"],"errors":null,"messages":null,"metadata":{},"status":1,"warnings":null}}`
	result, err := envelope.Parse(call, []byte(body))
	fmt.Println(result.Data, err)
	// Output: [user@example.com] <nil>
}
