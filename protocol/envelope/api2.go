package envelope

import "github.com/liveapid/liveapid/protocol"

// api2Of returns API 2's envelope. A published PHP client searches its text for the one top key and for the
// keys in this order.
func api2Of(call protocol.Call, result *protocol.Result) object {
	out := object{{"apiversion", 2}, {"module", call.Module}, {"func", call.Func}}
	if result.Err == nil {
		out = append(out, member{"data", records(result.Data)}, member{"event", event(1, "")})
		if result.Paginate != nil {
			out = append(out, member{"paginate", clean(result.Paginate)})
		}
		return object{{"cpanelresult", out}}
	}
	message := result.Err.Message
	switch result.Err.Kind {
	case protocol.KindNoModule, protocol.KindNoFunction:
		// Without data and event. A published client matches the words.
		out = out.addText("error", "Could not find function '"+call.Func+"' in module '"+call.Module+"'")
	case protocol.KindInvalid, protocol.KindNotFound, protocol.KindFailed:
		// The function ran and failed: its record has the verdict.
		out = out.addText("error", message)
		out = append(out, member{"data", []any{map[string]any{"result": 0, "reason": message}}}, member{"event", event(1, "")})
	default:
		// The function was not run, or its outcome is unknown.
		out = out.addText("error", message)
		out = append(out, member{"data", []any{}}, member{"event", event(0, message)})
	}
	return object{{"cpanelresult", out}}
}

// records returns data as API 2's list of records.
func records(data any) []any {
	switch v := clean(data).(type) {
	case nil:
		return []any{}
	case []any:
		return v
	default:
		return []any{v}
	}
}
