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
	} else {
		status = 0
		message := result.Err.Message
		switch result.Err.Kind {
		case protocol.KindNoModule:
			message = "Failed to load module “" + call.Module + "”."
		case protocol.KindNoFunction:
			message = "The system could not find the function “" + call.Func + "” in the module “" + call.Module + "”."
		}
		errors = []string{message}
	}
	return object{
		{"data", data}, {"errors", errors}, {"messages", orNull(result.Messages)}, {"metadata", metadata},
		{"status", status}, {"warnings", orNull(result.Warnings)},
	}
}

// orNull returns nil for an empty list, so that JSON contains null, as in cPanel's answers.
func orNull(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return list
}
