package main

import (
	"encoding/json"
	"io"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

// addJSON adds the option --json to a command.
func addJSON(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print JSON for programs")
}

// printJSON prints value as indented JSON.
func printJSON(out io.Writer, value any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(value)
}

// inSnakeCase returns value as decoded JSON, with the names of its fields in lower case with underscores.
func inSnakeCase(value any) (any, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var plain any
	if err := json.Unmarshal(text, &plain); err != nil {
		return nil, err
	}
	return lowered(plain), nil
}

// lowered returns decoded JSON with all keys in lower case.
func lowered(value any) any {
	switch v := value.(type) {
	case []any:
		for i := range v {
			v[i] = lowered(v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[snake(key)] = lowered(item)
		}
		return out
	}
	return value
}

// snake returns a name such as InFlight as in_flight.
func snake(name string) string {
	var out strings.Builder
	before := rune('_')
	for _, r := range name {
		if unicode.IsUpper(r) && before != '_' && !unicode.IsUpper(before) {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToLower(r))
		before = r
	}
	return out.String()
}
