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

// value returns data, a value of any type that encoding/json accepts, in the types that are sent to the host. Values of
// the types that Function.Do lists are not changed.
func value(data any) (any, error) {
	if sendable(data) {
		return data, nil
	}
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
	return numbers(out), nil
}

// sendable reports whether data has only the types that are sent to the host as they are.
func sendable(data any) bool {
	switch v := data.(type) {
	case nil, string, bool, int, int64, uint64, float64, []string, *List, protocol.Number:
		return true
	case []any:
		for _, item := range v {
			if !sendable(item) {
				return false
			}
		}
		return true
	case map[string]any:
		for _, item := range v {
			if !sendable(item) {
				return false
			}
		}
		return true
	case []map[string]any:
		for _, item := range v {
			if !sendable(item) {
				return false
			}
		}
		return true
	}
	return false
}

// numbers returns decoded JSON with each json.Number as an int64, a uint64 or a float64. A number that none of them can
// hold becomes text.
func numbers(data any) any {
	switch v := data.(type) {
	case json.Number:
		return protocol.Number(v).Value()
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = numbers(v[key])
		}
	}
	return data
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
