package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// The examples of data have the types and the fields of real answers.
func TestExamplesAreReal(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(hosttest.Root(t), "plugins", "email", "examples.json"))
	require.NoError(t, err)
	var examples map[string]any
	require.NoError(t, json.Unmarshal(text, &examples))
	require.NotEmpty(t, examples)
	w := hosttest.Sandbox(t)
	w.Serve(t)
	c := w.Dial(t)
	args := map[string]string{
		"uapi get_disk_usage": `{"user":"user","domain":"example.com"}`, "api2 getdiskusage": `{"domain":"example.com","login":"user"}`,
		"uapi account_name": `{"account":"user@example.com"}`, "api2 accountname": `{"account":"user@example.com"}`, "api2 listpopssingle": `{"regex":"user"}`,
	}
	for name, example := range examples {
		api, function, _ := strings.Cut(name, " ")
		given := args[name]
		if given == "" {
			given = `{}`
		}
		var answer struct {
			Result, CPanelResult struct{ Data any }
		}
		said := c.Call(strings.TrimPrefix(api, "api"), "Email", function, given)
		require.NoError(t, json.Unmarshal([]byte(said), &answer), said)
		data := answer.Result.Data
		if api == "api2" {
			data = answer.CPanelResult.Data
		}
		if list, ok := data.([]any); ok && len(list) > 1 {
			data = list[len(list)-1:] // The first record may be the account's own, which has fewer fields.
		}
		require.Equal(t, form(data), form(example), "%s: %s", name, said)
	}
}

// form returns the types of decoded JSON, and the names of its fields, as text.
func form(value any) string {
	switch v := value.(type) {
	case []any:
		if len(v) == 0 {
			return "[]"
		}
		return "[" + form(v[0]) + "]"
	case map[string]any:
		fields := make(map[string]string)
		for name, item := range v {
			fields[name] = form(item)
		}
		return fmt.Sprint(fields)
	}
	return fmt.Sprintf("%T", value)
}
