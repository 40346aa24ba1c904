package envelope

import "github.com/liveapid/liveapid/protocol"

// api2 is API 2's envelope. Its one top key and the order of the keys are what a
// published PHP client looks for as text.
type api2 struct {
	CpanelResult api2Result `json:"cpanelresult"`
}

type api2Result struct {
	APIVersion int    `json:"apiversion"`
	Module     string `json:"module"`
	Func       string `json:"func"`
	Error      string `json:"error,omitempty"`
	Data       *[]any `json:"data,omitempty"` // Nil leaves it out; an empty list stays.
	Event      *event `json:"event,omitempty"`
	Paginate   any    `json:"paginate,omitempty"`
}

func api2Of(call protocol.Call, result *protocol.Result) api2 {
	r := api2Result{APIVersion: 2, Module: call.Module, Func: call.Func}
	if result.Err == nil {
		data := records(result.Data)
		r.Data, r.Event = &data, &event{Result: 1}
		if result.Paginate != nil {
			r.Paginate = clean(result.Paginate)
		}
		return api2{r}
	}
	r.Error = result.Err.Message
	switch result.Err.Kind {
	case protocol.KindNoModule, protocol.KindNoFunction:
		// Without data and event; a published client matches the words.
		r.Error = "Could not find function '" + call.Func + "' in module '" + call.Module + "'"
	case protocol.KindInvalid, protocol.KindNotFound, protocol.KindFailed:
		// The call ran and its work failed: the verdict is in the record.
		r.Data = &[]any{map[string]any{"result": 0, "reason": r.Error}}
		r.Event = &event{Result: 1}
	default:
		// The function was not run, or its outcome is not known.
		r.Data = &[]any{}
		r.Event = &event{Result: 0, Reason: r.Error}
	}
	return api2{r}
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
