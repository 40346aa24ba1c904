// Package envelope encodes a Result in the form that the clients of an API expect: the envelopes of cPanel's
// API 1, API 2 and UAPI, as JSON on a single line. XML converts such an envelope to XML, and Parse reads it
// back into a Result. The package does not depend on functions or transports. docs/envelopes.md describes the
// envelopes and their sources.
package envelope

import (
	"fmt"
	"math"

	"github.com/liveapid/liveapid/protocol"
)

// JSON returns the envelope of result for the API of call, or nil if call.API is not a known API.
func JSON(call protocol.Call, result *protocol.Result) []byte {
	if o := objectOf(call, result); o != nil {
		return o.json()
	}
	return nil
}

// TooLarge returns the error of a call whose envelope has more than protocol.MaxAnswer bytes.
func TooLarge() *protocol.Error {
	return protocol.NewError(protocol.KindUnavailable, fmt.Sprintf(
		"The call was run, but its answer is too large: at most %d bytes can be sent.", protocol.MaxAnswer))
}

// Value returns the same envelope as JSON, as a map, for encodings that allow any byte in strings. If
// call.API is not a known API, Value returns the general form of a failure.
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

// clean converts a value to the types that cPanel's JSON uses: booleans become 1 and 0, bytes and numbers of
// type protocol.Number become text, and values that JSON can't represent become null.
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
	case nil, string, int, int64, uint64, protocol.Records: // object encodes a Records.
		return v
	}
	return nil
}
