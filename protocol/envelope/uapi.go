package envelope

import "github.com/liveapid/liveapid/protocol"

// UAPIResult returns the result object of a UAPI envelope, without the outer object that contains the module
// and the function. The URL /execute answers in this form.
func UAPIResult(call protocol.Call, result *protocol.Result) []byte {
	return uapiResultOf(call, result).json()
}

// uapiOf returns a complete UAPI envelope, as sent on the socket and printed by the command uapi.
func uapiOf(call protocol.Call, result *protocol.Result) object {
	return object{{"apiversion", 3}, {"module", call.Module}, {"func", call.Func}, {"result", uapiResultOf(call, result)}}
}

func uapiResultOf(call protocol.Call, result *protocol.Result) object {
	metadata := map[string]any{}
	for k, v := range result.Metadata {
		metadata[k] = clean(v)
	}
	var data any
	var errors []string
	status := 1
	if result.Err == nil {
		data = clean(result.Data)
		if result.No {
			status = 0
		}
	} else {
		status = 0
		errors = []string{UAPIMessage(call, result.Err)}
	}
	return object{
		{"data", data}, {"errors", errors}, {"messages", orNull(result.Messages)}, {"metadata", metadata},
		{"status", status}, {"warnings", orNull(result.Warnings)},
	}
}

// UAPIMessage returns the text of an error of call as UAPI shows it.
func UAPIMessage(call protocol.Call, err *protocol.Error) string {
	switch err.Kind {
	case protocol.KindNoModule:
		return "Failed to load module “" + call.Module + "”."
	case protocol.KindNoFunction:
		return "The system could not find the function “" + call.Func + "” in the module “" + call.Module + "”."
	}
	return err.Message
}

// UAPIData returns the same object as UAPIResult, as data that a result may contain.
func UAPIData(call protocol.Call, result *protocol.Result) map[string]any {
	out := uapiResultOf(call, result).asMap()
	for _, key := range []string{"errors", "messages", "warnings"} {
		texts, _ := out[key].([]string)
		if texts == nil {
			continue
		}
		list := make([]any, 0, len(texts))
		for _, text := range texts {
			list = append(list, text)
		}
		out[key] = list
	}
	for key, value := range out {
		switch v := value.(type) {
		case int:
			out[key] = int64(v)
		}
	}
	return out
}

// orNull returns nil for an empty list, so that JSON contains null, as in cPanel's answers.
func orNull(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return list
}
