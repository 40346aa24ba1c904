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
	all, _ := protocol.Exact(parsed).(map[string]any)
	return all
}
