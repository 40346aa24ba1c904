package envelope

import "github.com/liveapid/liveapid/protocol"

// Value returns result in the envelope of call's API as a map, strings byte for byte, for
// encodings that carry any byte. A call of no known API gets a failure's shape.
func Value(call protocol.Call, result *protocol.Result) map[string]any {
	switch call.API {
	case protocol.API1:
		return api1Of(call, result).value()
	case protocol.API2:
		return map[string]any{"cpanelresult": api2Of(call, result).CpanelResult.value()}
	case protocol.UAPI:
		return uapiOf(call, result).value()
	}
	failure := map[string]any{"data": map[string]any{"result": 0}}
	if result.Err != nil {
		failure["error"] = result.Err.Message
	}
	return failure
}

// SpecialValue is Special as a map.
func SpecialValue(command string, result *protocol.Result) map[string]any {
	if command == "if" || command == "feature" {
		t := testOf(command, result)
		inner := map[string]any{"data": t.Data.value(), "module": t.Module, "apiversion": t.APIVersion}
		putText(inner, "error", t.Error)
		return map[string]any{"cpanelresult": inner}
	}
	return specialOf(command, result).value()
}

func (a api1) value() map[string]any {
	out := map[string]any{"apiversion": a.APIVersion, "type": a.Type, "source": a.Source, "data": a.Data.value(), "event": a.Event.value()}
	putText(out, "module", a.Module)
	putText(out, "func", a.Func)
	putText(out, "command", a.Command)
	putText(out, "error", a.Error)
	return out
}

func (r api1Result) value() map[string]any { return map[string]any{"result": r.Result} }

func (e event) value() map[string]any {
	out := map[string]any{"result": e.Result}
	putText(out, "reason", e.Reason)
	return out
}

func (r api2Result) value() map[string]any {
	out := map[string]any{"apiversion": r.APIVersion, "module": r.Module, "func": r.Func}
	putText(out, "error", r.Error)
	if r.Data != nil {
		out["data"] = *r.Data
	}
	if r.Event != nil {
		out["event"] = r.Event.value()
	}
	if r.Paginate != nil {
		out["paginate"] = r.Paginate
	}
	return out
}

func (u uapi) value() map[string]any {
	texts := func(list []string) any {
		if list == nil {
			return nil
		}
		return list
	}
	return map[string]any{"apiversion": u.APIVersion, "module": u.Module, "func": u.Func, "result": map[string]any{
		"data": u.Result.Data, "errors": texts(u.Result.Errors), "messages": texts(u.Result.Messages),
		"metadata": u.Result.Metadata, "status": u.Result.Status, "warnings": texts(u.Result.Warnings),
	}}
}

// putText puts a text that JSON would leave out where it is empty.
func putText(out map[string]any, key, text string) {
	if text != "" {
		out[key] = text
	}
}
