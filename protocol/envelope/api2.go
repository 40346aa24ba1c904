package envelope

import "github.com/liveapid/liveapid/protocol"

// api2Of returns an envelope of API 2. The order of the keys matters, because a published PHP client searches
// the text of the JSON for the top-level key "cpanelresult" and then for the keys in this order.
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
		// For an unknown function, the envelope has neither data nor event. A published client searches the
		// error for these words, so the text must not change.
		out = out.addText("error", "Could not find function '"+call.Func+"' in module '"+call.Module+"'")
	case protocol.KindInvalid, protocol.KindNotFound, protocol.KindFailed:
		// These failures count as failures of a function that ran, so event reports success and the record in
		// data reports the failure.
		out = out.addText("error", message)
		out = append(out, member{"data", []any{map[string]any{"result": 0, "reason": message}}}, member{"event", event(1, "")})
	default:
		// The function did not run, or its outcome is unknown, so event reports the failure.
		out = out.addText("error", message)
		out = append(out, member{"data", []any{}}, member{"event", event(0, message)})
	}
	return object{{"cpanelresult", out}}
}

// records returns data as the list of records that API 2 requires. A single value becomes a list with that
// value, and nil an empty list.
func records(data any) any {
	switch v := clean(data).(type) {
	case nil:
		return []any{}
	case []any, protocol.Records:
		return v
	default:
		return []any{v}
	}
}
