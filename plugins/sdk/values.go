package sdk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"runtime"
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// maxDepth is the maximum depth of data. The host accepts less; this limit ends a value that contains itself.
const maxDepth = 100

// value returns data, a value of any type that encoding/json accepts, in the types that are sent to the host. Values of
// the types that Function.Do lists are not changed, also inside lists and maps of these types.
func value(data any) (any, error) { return converted(data, 0) }

func converted(data any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("the result is nested deeper than %d, or contains itself", maxDepth)
	}
	switch v := data.(type) {
	case nil, string, bool, int, int64, uint64, float64, []string, []byte, *List, protocol.Number:
		return data, nil
	case []any:
		return convertedList(v, depth)
	case []map[string]any:
		return convertedList(v, depth)
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			var err error
			if out[key], err = converted(item, depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return fromJSON(data)
}

func convertedList[T any](list []T, depth int) (any, error) {
	out := make([]any, len(list))
	for i, item := range list {
		var err error
		if out[i], err = converted(item, depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// fromJSON returns data as encoding/json writes it.
func fromJSON(data any) (any, error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(data); err != nil {
		return nil, fmt.Errorf("the result, a %T: %w", data, err)
	}
	dec := json.NewDecoder(&text)
	dec.UseNumber()
	var out any
	if err := dec.Decode(&out); err != nil {
		return nil, fmt.Errorf("the result, a %T: %w", data, err)
	}
	return protocol.Exact(out), nil
}

// sourceOf returns the place of a function's code, for messages.
func sourceOf(do any) string {
	code := reflect.ValueOf(do)
	if code.IsNil() {
		return ""
	}
	fn := runtime.FuncForPC(code.Pointer())
	if fn == nil {
		return ""
	}
	file, line := fn.FileLine(fn.Entry())
	return fmt.Sprintf("%s line %d", file, line)
}

// panicPlace returns the place at which the author's code panicked. It must be called by a function that recovers.
func panicPlace() string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	panicked := false
	for {
		frame, more := frames.Next()
		switch {
		case frame.Function == "runtime.gopanic":
			panicked = true
		case panicked && !strings.HasPrefix(frame.Function, "runtime."):
			return fmt.Sprintf("%s line %d", frame.File, frame.Line)
		}
		if !more {
			return "an unknown place"
		}
	}
}
