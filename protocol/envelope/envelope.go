// Package envelope gives a Result the shape that an API's clients read: cPanel's
// API 1, API 2 and UAPI envelopes, as JSON on one line. It knows no function and no
// transport. Shapes and their sources are in docs/envelopes.md.
package envelope

import (
	"encoding/json"
	"math"

	"github.com/liveapid/liveapid/protocol"
)

// JSON returns result in the envelope of call's API, and nil where it names no known API:
// there is no envelope for that.
func JSON(call protocol.Call, result *protocol.Result) []byte {
	var v any
	switch call.API {
	case protocol.API1:
		v = api1Of(call, result)
	case protocol.API2:
		v = api2Of(call, result)
	case protocol.UAPI:
		v = uapiOf(call, result)
	default:
		return nil
	}
	return marshal(v)
}

// marshal encodes v, which was built of clean values only and so always encodes.
// encoding/json writes '<', '>' and '&' as escapes, replaces bytes that are no UTF-8
// and sorts the keys of maps.
func marshal(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		// Unreachable with values from clean; an empty object still ends the answer.
		return []byte("{}")
	}
	return out
}

// clean returns v as cPanel's JSON has it: 1 and 0 for booleans, and nothing that JSON
// can't say.
func clean(v any) any {
	switch v := v.(type) {
	case bool:
		if v {
			return 1
		}
		return 0
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		return v
	case []byte:
		return string(v)
	case protocol.Number:
		return string(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = clean(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = clean(v[k])
		}
		return out
	case nil, string, int, int64, uint64:
		return v
	}
	return nil
}

type event struct {
	Reason string `json:"reason,omitempty"`
	Result int    `json:"result"`
}
