package envelope

import "github.com/liveapid/liveapid/protocol"

// UAPIResult returns a UAPI result without its module and function: as /execute answers.
func UAPIResult(call protocol.Call, result *protocol.Result) []byte {
	return uapiResultOf(call, result).json()
}

// uapiOf returns UAPI's envelope as the command line and the socket carry it.
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

// orNull returns nil, which is null in JSON, for an empty list.
func orNull(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return list
}
