package envelope

import (
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// api1 is API 1's envelope, for modules and for the special requests alike.
type api1 struct {
	APIVersion string     `json:"apiversion"`
	Type       string     `json:"type"`
	Module     string     `json:"module,omitempty"`
	Func       string     `json:"func,omitempty"`
	Command    string     `json:"command,omitempty"`
	Source     string     `json:"source"`
	Data       api1Result `json:"data"`
	Event      event      `json:"event"`
	Error      string     `json:"error,omitempty"`
}

type api1Result struct {
	Result any `json:"result"`
}

func api1Of(call protocol.Call, result *protocol.Result) api1 {
	a := api1{
		APIVersion: "1", Type: "event", Module: call.Module, Func: call.Func, Source: "module",
		Data: api1Result{Result: ""}, Event: event{Result: 1},
	}
	if result.Err == nil {
		if text := clean(result.Data); text != nil {
			a.Data.Result = text
		}
		return a
	}
	a.Error = result.Err.Message
	switch result.Err.Kind {
	case protocol.KindNoModule, protocol.KindNoFunction:
		a.Error = call.Module + "::" + call.Func + "() failed: Undefined subroutine"
	}
	a.Event = event{Result: 0, Reason: a.Error}
	return a
}

// test is the envelope of if and feature.
type test struct {
	CpanelResult testResult `json:"cpanelresult"`
}

type testResult struct {
	Data       api1Result `json:"data"`
	Module     string     `json:"module"`
	APIVersion int        `json:"apiversion"`
	Error      string     `json:"error,omitempty"`
}

// Special returns the envelope of the requests that belong to no module: print,
// langprint, if, feature and tags. if and feature have a shape of their own.
func Special(command string, result *protocol.Result) []byte {
	if command == "if" || command == "feature" {
		return marshal(test{testOf(command, result)})
	}
	return marshal(specialOf(command, result))
}

func testOf(command string, result *protocol.Result) testResult {
	t := testResult{Data: api1Result{Result: 0}, Module: command, APIVersion: 1}
	if result.Err != nil {
		t.Error = result.Err.Message
	} else {
		t.Data.Result = clean(result.Data)
	}
	return t
}

func specialOf(command string, result *protocol.Result) api1 {
	a := api1Of(protocol.Call{}, result)
	a.Type, a.Command, a.Source = "internal", strings.ToLower(command), "internal"
	return a
}
