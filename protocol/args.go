package protocol

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
)

// Number is a number as the client wrote it, in decimal text. Unlike float64, it loses no digits.
type Number string

// Value returns the number as an int64, a uint64 or a float64. A number that none of them can hold is returned as text,
// so that no digit is lost.
func (n Number) Value() any {
	text := string(n)
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i
	}
	if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		return u
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && strings.ContainsAny(text, ".eE") {
		return f
	}
	return text
}

// Exact returns decoded JSON, whose numbers are Number or json.Number, with each number as Number.Value returns it. It
// changes the lists and objects in value.
func Exact(value any) any {
	switch v := value.(type) {
	case Number:
		return v.Value()
	case json.Number:
		return Number(v).Value()
	case []any:
		for i := range v {
			v[i] = Exact(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = Exact(v[key])
		}
	}
	return value
}

// Args contains the arguments of a call: named for API 2 and UAPI, positional for API 1. A value is nil,
// string, Number, bool, []any or map[string]any; a string contains exactly the bytes that the client sent.
// Arguments may contain passwords, so fmt and slog print only the names of the arguments.
type Args struct {
	Named      map[string]any
	Positional []any
}

// Names returns the sorted names of the named arguments.
func (a Args) Names() []string {
	names := make([]string, 0, len(a.Named))
	for name := range a.Named {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Format prints the names of the arguments and the number of positional arguments, for every verb. It never
// prints a value.
func (a Args) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "[%s +%d]", strings.Join(a.Names(), " "), len(a.Positional))
}

// LogValue returns the same text as Format, so that logs contain no value.
func (a Args) LogValue() slog.Value {
	return slog.StringValue(fmt.Sprint(a))
}
