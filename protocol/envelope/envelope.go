// Package envelope turns a Result into the form that an API's clients read: cPanel's API 1, API 2 and UAPI
// envelopes, as JSON on a single line; xml.go converts it to XML. The package does not depend on functions or
// transports. docs/envelopes.md describes the envelopes and their sources.
package envelope

import (
	"math"

	"github.com/liveapid/liveapid/protocol"
)

// JSON returns result in the envelope of call's API, or nil if the call names no known API.
func JSON(call protocol.Call, result *protocol.Result) []byte {
	if o := objectOf(call, result); o != nil {
		return o.json()
	}
	return nil
}

// Value returns result in the envelope of call's API as a map, strings byte for byte, for encodings that
// carry any byte. A call that names no known API gets the shape of a failure.
func Value(call protocol.Call, result *protocol.Result) map[string]any {
	if o := objectOf(call, result); o != nil {
		return o.asMap()
	}
	failure := object{{"data", object{{"result", 0}}}}
	if result.Err != nil {
		failure = append(failure, member{"error", result.Err.Message})
	}
	return failure.asMap()
}

func objectOf(call protocol.Call, result *protocol.Result) object {
	switch call.API {
	case protocol.API1:
		return api1Of(call, "", result)
	case protocol.API2:
		return api2Of(call, result)
	case protocol.UAPI:
		return uapiOf(call, result)
	}
	return nil
}

// clean returns v as cPanel's JSON has it: 1 and 0 for booleans, and null for values that JSON can't hold.
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
