package protocol

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// Number is a number in the client's spelling, so that no digit is lost.
type Number string

// Args are a call's arguments: named for API 2 and UAPI, positional for API 1. A value is nil, string,
// Number, bool, []any or map[string]any; a string holds the client's bytes. Arguments contain passwords, so
// fmt and slog print only the names of Args.
type Args struct {
	Named      map[string]any
	Positional []any
}

// Names returns the names of the named arguments in order.
func (a Args) Names() []string {
	names := make([]string, 0, len(a.Named))
	for name := range a.Named {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Format prints the names and never a value, whatever the verb.
func (a Args) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "[%s +%d]", strings.Join(a.Names(), " "), len(a.Positional))
}

// LogValue logs the names and never a value.
func (a Args) LogValue() slog.Value {
	return slog.StringValue(fmt.Sprint(a))
}
