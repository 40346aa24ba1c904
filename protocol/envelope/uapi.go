package envelope

import "github.com/liveapid/liveapid/protocol"

// uapi is UAPI's envelope as the command line and the socket carry it.
type uapi struct {
	APIVersion int        `json:"apiversion"`
	Module     string     `json:"module"`
	Func       string     `json:"func"`
	Result     uapiResult `json:"result"`
}

type uapiResult struct {
	Data     any            `json:"data"`
	Errors   []string       `json:"errors"` // Nil prints null, as do the two below.
	Messages []string       `json:"messages"`
	Metadata map[string]any `json:"metadata"`
	Status   int            `json:"status"`
	Warnings []string       `json:"warnings"`
}

// UAPIResult returns a UAPI result by itself, without what the call was: as /execute answers.
func UAPIResult(call protocol.Call, result *protocol.Result) []byte {
	return marshal(uapiOf(call, result).Result)
}

func uapiOf(call protocol.Call, result *protocol.Result) uapi {
	u := uapi{APIVersion: 3, Module: call.Module, Func: call.Func}
	u.Result = uapiResult{
		Messages: orNull(result.Messages), Warnings: orNull(result.Warnings),
		Metadata: map[string]any{}, Status: 1,
	}
	for k, v := range result.Metadata {
		u.Result.Metadata[k] = clean(v)
	}
	if result.Err == nil {
		u.Result.Data = clean(result.Data)
		return u
	}
	u.Result.Status = 0
	message := result.Err.Message
	switch result.Err.Kind {
	case protocol.KindNoModule:
		message = "Failed to load module “" + call.Module + "”."
	case protocol.KindNoFunction:
		message = "The system could not find the function “" + call.Func + "” in the module “" + call.Module + "”."
	}
	u.Result.Errors = []string{message}
	return u
}

func orNull(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return list
}
