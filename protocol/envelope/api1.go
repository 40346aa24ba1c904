package envelope

import (
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// api1Of returns an envelope of API 1. command is "" for a call of a module's function; for a request that
// belongs to no module, such as print, command is the name of that request.
func api1Of(call protocol.Call, command string, result *protocol.Result) object {
	data, message, ran := any(""), "", 1
	if result.Err == nil {
		if value := clean(result.Data); value != nil {
			data = value
		}
	} else {
		ran, message = 0, result.Err.Message
		switch result.Err.Kind {
		case protocol.KindNoModule, protocol.KindNoFunction:
			message = call.Module + "::" + call.Func + "() failed: Undefined subroutine"
		}
	}
	kind, source := "event", "module"
	if command != "" {
		kind, source = "internal", "internal"
	}
	out := object{{"apiversion", "1"}, {"type", kind}}
	out = out.addText("module", call.Module).addText("func", call.Func).addText("command", strings.ToLower(command))
	out = append(out, member{"source", source}, member{"data", object{{"result", data}}}, member{"event", event(ran, message)})
	return out.addText("error", message)
}

// Special returns the JSON envelope of a request that belongs to no module. command is print, langprint, setvar, if,
// feature or tag.
func Special(command string, result *protocol.Result) []byte {
	return specialOf(command, result).json()
}

// SpecialValue returns the same envelope as Special, as a map. Strings keep their bytes, even if they are not
// UTF-8.
func SpecialValue(command string, result *protocol.Result) map[string]any {
	return specialOf(command, result).asMap()
}

func specialOf(command string, result *protocol.Result) object {
	if command != "if" && command != "feature" {
		return api1Of(protocol.Call{}, command, result)
	}
	data, message := any(0), ""
	if result.Err != nil {
		message = result.Err.Message
	} else {
		data = clean(result.Data)
	}
	inner := object{{"data", object{{"result", data}}}, {"module", command}, {"apiversion", 1}}
	return object{{"cpanelresult", inner.addText("error", message)}}
}
