package mocks_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/modules/mocks"
	"github.com/liveapid/liveapid/protocol"
)

func load(t *testing.T, name, text string) (*mocks.Set, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return mocks.Load(path)
}

func ask(t *testing.T, p mocks.Plugin, call protocol.Call) *protocol.Result {
	t.Helper()
	fn, ok := p.Function(call)
	require.True(t, ok)
	result, err := p.Call(t.Context(), host.Request{Call: call, Function: fn, Caller: protocol.Caller{Account: protocol.Account{Name: "demo"}}})
	require.NoError(t, err)
	require.Contains(t, result.Metadata, protocol.MockedKey)
	return result
}

// Texts are templates over the arguments, and a text that is only an argument becomes its value.
func TestTemplates(t *testing.T) {
	s, err := load(t, "M.toml", `
[[answer]]
function = "f"
data = {text = "{{.Args.a}} for {{.Account.Name}}, call {{.Count}}", list = "{{.Args.list}}", missing = "[{{.Args.nothing}}]", big = 9007199254740993, float = 1.0}
warnings = ["{{if .Args.a}}given{{end}}"]
metadata = {seen = "{{.Args.a}}"}
`)
	require.NoError(t, err)
	got := ask(t, mocks.Of(s), protocol.Call{API: protocol.UAPI, Module: "M", Func: "f", Args: protocol.Args{Named: map[string]any{"a": "é", "list": []any{"x"}}}})
	require.Equal(t, map[string]any{"text": "é for demo, call 1", "list": []any{"x"}, "missing": "[]", "big": int64(9007199254740993), "float": int64(1)}, got.Data)
	require.Equal(t, []string{"given"}, got.Warnings)
	require.Equal(t, "é", got.Metadata["seen"])

	// Arguments by position have their numbers as names, and a secret stays secret.
	s, err = load(t, "Old.json", `{"answer":[{"api":"api1","function":"f","data":"{{index .Args \"1\"}} {{index .Args \"2\"}}"}]}`)
	require.NoError(t, err)
	got = ask(t, mocks.Of(s), protocol.Call{API: protocol.API1, Module: "Old", Func: "f", Args: protocol.Args{Positional: []any{"a", protocol.NewSecret("c4n4ry")}}})
	require.Equal(t, "a [secret]", got.Data)
}

// The first answer whose arguments a call has is used. A call without one gets an error of its own.
func TestWhen(t *testing.T) {
	s, err := load(t, "M.json", `{"answer":[{"function":"f","when":{"n":1,"on":true},"data":"one"},{"function":"f","when":{"n":"2"},"error":"two","kind":"not_found"}]}`)
	require.NoError(t, err)
	do := func(args map[string]any) *protocol.Result {
		return ask(t, mocks.Of(s), protocol.Call{API: protocol.UAPI, Module: "M", Func: "f", Args: protocol.Args{Named: args}})
	}
	require.Equal(t, "one", do(map[string]any{"n": "1", "on": "1", "more": "x"}).Data)
	require.Equal(t, protocol.NewError(protocol.KindNotFound, "two"), do(map[string]any{"n": protocol.Number("2")}).Err)
	require.Contains(t, do(map[string]any{"n": []any{"1"}}).Err.Message, "no answer for these arguments")
	for _, other := range []protocol.Call{{API: protocol.API2, Module: "M", Func: "f"}, {API: protocol.UAPI, Module: "N", Func: "f"}, {API: protocol.UAPI, Module: "M", Func: "g"}} {
		_, ok := mocks.Of(s).Function(other)
		require.False(t, ok)
	}
}

// A delay ends with its call.
func TestDelay(t *testing.T) {
	s, err := load(t, "M.toml", "[[answer]]\nfunction = \"f\"\ndelay = \"1h\"\n")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	result, err := mocks.Of(s).Call(ctx, host.Request{Call: protocol.Call{API: protocol.UAPI, Module: "M", Func: "f"}})
	require.NoError(t, err)
	require.Equal(t, protocol.KindUnavailable, result.Err.Kind)
}

// A mistake in a file is reported with its place, and the other files are read.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"Good.toml": "[[answer]]\nfunction = \"f\"\n", "Bad.toml": "x", "readme.md": "x", ".hidden.toml": "x"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	sets, broken := mocks.LoadDir(dir)
	require.Len(t, sets, 1)
	require.Len(t, broken, 1)
	require.ErrorContains(t, broken[0], "Bad.toml: line 1: ")
	sets, broken = mocks.LoadDir(filepath.Join(dir, "none"))
	require.Empty(t, sets)
	require.Empty(t, broken)
	for text, says := range map[string]string{
		`{"answer":[{"funktion":"f"}]}`:                            `unknown field "funktion"`,
		`{"answer":[{"function":"a b"}]}`:                          "answer 1: function must be the name",
		`{"answer":[{"function":"f","api":"rest"}]}`:               "answer 1: api: ",
		`{"answer":[{"function":"f","kind":"bad","error":"x"}]}`:   "answer 1: kind: ",
		`{"answer":[{"function":"f","delay":"soon"}]}`:             "answer 1: delay: ",
		`{"answer":[{"function":"f","data":"{{.Args.a"}]}`:         "answer 1: the template ",
		`{"answer":[{"function":"f","sequence":[{"data":"{{"}]}]}`: "answer 1: sequence 1: the template ",
		`{"answer":[null]}`:                                        "answer 1 must be a table",
		`{"answer":[{"function":"f","data":1e999}]}`:               "too large",
		`{"module":"a b"}`:                                         "the name must be",
		`{"answer":[],"answer":[]}`:                                "",
		`[`:                                                        "",
	} {
		_, err := load(t, "M.json", text)
		require.ErrorContains(t, err, says, text)
	}
}

// No file makes the reader of mocks fail, and each answer that it accepts can be asked for.
func FuzzLoad(f *testing.F) {
	f.Add("M.json", `{"answer":[{"function":"f","when":{"n":1},"data":"{{.Args.n}}","sequence":[{"data":[1]}]}]}`)
	f.Add("M.toml", "[[answer]]\nfunction = \"f\"\ndata = [1, {a = \"{{.Count}}\"}]\n")
	f.Fuzz(func(t *testing.T, name, text string) {
		kind := "M.json"
		if filepath.Ext(name) == ".toml" {
			kind = "M.toml"
		}
		s, err := load(t, kind, text)
		if err != nil {
			return
		}
		modules, err := mocks.Of(s).Modules(t.Context(), protocol.Account{})
		require.NoError(t, err)
		for _, fn := range modules[0].Functions {
			ctx, cancel := context.WithTimeout(t.Context(), 0)
			_, err := mocks.Of(s).Call(ctx, host.Request{Call: protocol.Call{API: fn.API, Module: modules[0].Name, Func: fn.Name}})
			cancel()
			require.NoError(t, err)
		}
	})
}
