package envelope_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/envelope"
)

func TestJSON(t *testing.T) {
	api1 := protocol.Call{API: protocol.API1, Module: "Email", Func: "addpop"}
	api2 := protocol.Call{API: protocol.API2, Module: "Email", Func: "passwdpop"}
	uapi := protocol.Call{API: protocol.UAPI, Module: "Email", Func: "passwd_pop"}
	fail := func(kind protocol.Kind) *protocol.Result {
		return protocol.Failed(protocol.NewError(kind, "No <way>."))
	}
	for _, c := range []struct {
		name   string
		call   protocol.Call
		result *protocol.Result
		want   string
	}{
		{"API 2 success", api2, &protocol.Result{Data: []any{map[string]any{"result": int64(1), "reason": ""}}},
			`{"cpanelresult":{"apiversion":2,"module":"Email","func":"passwdpop","data":[{"reason":"","result":1}],"event":{"result":1}}}`},
		{"API 2 work failed", api2, fail(protocol.KindInvalid),
			`{"cpanelresult":{"apiversion":2,"module":"Email","func":"passwdpop","error":"No \u003cway\u003e.","data":[{"reason":"No \u003cway\u003e.","result":0}],"event":{"result":1}}}`},
		{"API 2 not run", api2, fail(protocol.KindUnavailable),
			`{"cpanelresult":{"apiversion":2,"module":"Email","func":"passwdpop","error":"No \u003cway\u003e.","data":[],"event":{"reason":"No \u003cway\u003e.","result":0}}}`},
		{"API 2 unknown function", api2, fail(protocol.KindNoFunction),
			`{"cpanelresult":{"apiversion":2,"module":"Email","func":"passwdpop","error":"Could not find function 'passwdpop' in module 'Email'"}}`},
		{"API 2 one record", api2, &protocol.Result{Data: map[string]any{"on": true}},
			`{"cpanelresult":{"apiversion":2,"module":"Email","func":"passwdpop","data":[{"on":1}],"event":{"result":1}}}`},
		{"API 2 no record", api2, &protocol.Result{},
			`{"cpanelresult":{"apiversion":2,"module":"Email","func":"passwdpop","data":[],"event":{"result":1}}}`},
		{"UAPI success", uapi, &protocol.Result{},
			`{"apiversion":3,"module":"Email","func":"passwd_pop","result":{"data":null,"errors":null,"messages":null,"metadata":{},"status":1,"warnings":null}}`},
		{"UAPI everything", uapi, &protocol.Result{Data: []any{math.NaN(), "x\xff", false}, Messages: []string{"m"}, Warnings: []string{"w"}, Metadata: map[string]any{"transformed": true}},
			`{"apiversion":3,"module":"Email","func":"passwd_pop","result":{"data":[null,"x\ufffd",0],"errors":null,"messages":["m"],"metadata":{"transformed":1},"status":1,"warnings":["w"]}}`},
		{"UAPI failure", uapi, fail(protocol.KindInvalid),
			`{"apiversion":3,"module":"Email","func":"passwd_pop","result":{"data":null,"errors":["No \u003cway\u003e."],"messages":null,"metadata":{},"status":0,"warnings":null}}`},
		{"UAPI unknown module", uapi, fail(protocol.KindNoModule),
			`{"apiversion":3,"module":"Email","func":"passwd_pop","result":{"data":null,"errors":["Failed to load module “Email”."],"messages":null,"metadata":{},"status":0,"warnings":null}}`},
		{"UAPI unknown function", uapi, fail(protocol.KindNoFunction),
			`{"apiversion":3,"module":"Email","func":"passwd_pop","result":{"data":null,"errors":["The system could not find the function “passwd_pop” in the module “Email”."],"messages":null,"metadata":{},"status":0,"warnings":null}}`},
		{"API 1 success", api1, &protocol.Result{Data: "user@example.com"},
			`{"apiversion":"1","type":"event","module":"Email","func":"addpop","source":"module","data":{"result":"user@example.com"},"event":{"result":1}}`},
		{"API 1 unknown function", api1, fail(protocol.KindNoFunction),
			`{"apiversion":"1","type":"event","module":"Email","func":"addpop","source":"module","data":{"result":""},"event":{"reason":"Email::addpop() failed: Undefined subroutine","result":0},"error":"Email::addpop() failed: Undefined subroutine"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, string(envelope.JSON(c.call, c.result)))
		})
	}
}

func TestSpecial(t *testing.T) {
	failed := protocol.Failed(protocol.NewError(protocol.KindBadRequest, "Not served."))
	require.Equal(t,
		`{"apiversion":"1","type":"internal","command":"print","source":"internal","data":{"result":""},"event":{"reason":"Not served.","result":0},"error":"Not served."}`,
		string(envelope.Special("print", failed)))
	require.Equal(t,
		`{"cpanelresult":{"data":{"result":0},"module":"if","apiversion":1,"error":"Not served."}}`,
		string(envelope.Special("if", failed)))
	require.Equal(t, `{"cpanelresult":{"data":{"result":1},"module":"feature","apiversion":1}}`,
		string(envelope.Special("feature", &protocol.Result{Data: int64(1)})))
	require.Equal(t, `{"apiversion":"1","type":"internal","command":"print","source":"internal","data":{"result":"/home/dave"},"event":{"result":1}}`,
		string(envelope.Special("print", &protocol.Result{Data: "/home/dave"})))
}

// For any result of a plugin, the answer is a single line of valid JSON without '<'.
func FuzzJSON(f *testing.F) {
	f.Add(uint(3), "Email", "</cpanelresult>", "a\nb", 1.5)
	f.Add(uint(2), "\xff", "<", "\u2028", math.Inf(1))
	f.Fuzz(func(t *testing.T, api uint, module, name, text string, number float64) {
		call := protocol.Call{API: protocol.API(api%3 + 1), Module: module, Func: name}
		for _, result := range []*protocol.Result{
			{Data: []any{text, number, map[string]any{text: []byte(text)}}, Messages: []string{text}, Metadata: map[string]any{text: text}},
			protocol.Failed(protocol.NewError(protocol.Kind(name), text)),
		} {
			out := envelope.JSON(call, result)
			require.True(t, json.Valid(out))
			require.NotContains(t, string(out), "<")
			require.NotContains(t, string(out), "\n")
		}
	})
}
