package email

import (
	_ "embed"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/strictjson"
)

// examplesFile contains an example of the data of functions, by the API and the function's name. A test compares their
// types with those of real answers.
//
//go:embed examples.json
var examplesFile []byte

// examples returns the examples of data, by names such as "uapi list_pops".
func examples() map[string]any {
	parsed, err := strictjson.Decode(examplesFile)
	if err != nil {
		return nil // A test parses the file, too.
	}
	all, _ := numbersOf(parsed).(map[string]any)
	return all
}

// numbersOf returns decoded JSON with each number as an int64 or a float64.
func numbersOf(value any) any {
	switch v := value.(type) {
	case protocol.Number:
		return v.Value()
	case []any:
		for i := range v {
			v[i] = numbersOf(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = numbersOf(v[key])
		}
	}
	return value
}
