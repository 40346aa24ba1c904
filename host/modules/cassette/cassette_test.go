package cassette_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/modules/cassette"
	"github.com/liveapid/liveapid/protocol"
)

func call(function string, args map[string]any) protocol.Call {
	return protocol.Call{API: protocol.UAPI, Module: "M", Func: function, Args: protocol.Args{Named: args}}
}

// record returns a cassette with the given calls, each of which is answered with its number.
func record(t *testing.T, calls ...protocol.Call) string {
	t.Helper()
	var out bytes.Buffer
	r, err := cassette.NewRecorder(&out, []string{"Shade"}, []string{"corp.example"})
	require.NoError(t, err)
	for i, c := range calls {
		r.Record(c, protocol.Function{}, &protocol.Result{Data: int64(i + 1)})
	}
	require.NoError(t, r.Err())
	require.Equal(t, len(calls), r.Calls())
	return out.String()
}

func read(t *testing.T, text string) *cassette.Cassette {
	t.Helper()
	c, err := cassette.Read(strings.NewReader(text))
	require.NoError(t, err)
	return c
}

// Everything in an answer comes back from a cassette as it was, except for secrets and addresses.
func TestRoundTrip(t *testing.T) {
	var out bytes.Buffer
	r, err := cassette.NewRecorder(&out, nil, nil)
	require.NoError(t, err)
	results := []*protocol.Result{
		{Data: map[string]any{"big": int64(9007199254740993), "huge": uint64(18446744073709551615), "f": 1.5, "list": []any{nil, true, "é"}},
			Messages: []string{"m"}, Warnings: []string{"w"}, Metadata: map[string]any{"k": "v"}, Paginate: map[string]any{"total": "1"}},
		{No: true}, {}, {Data: "\xff<b>"},
		protocol.Failed(protocol.NewError(protocol.KindNotFound, "No c4n4ry of bob@corp.example.")),
	}
	for i, result := range results {
		r.Record(call("f", map[string]any{"n": protocol.Number(string(rune('0' + i))), "password": "c4n4ry"}), protocol.Function{}, result)
	}
	require.NoError(t, r.Err())
	require.NotContains(t, out.String(), "c4n4ry")
	require.NotContains(t, out.String(), "corp.example")
	p := cassette.NewPlayer(read(t, out.String()), true, nil)
	for i, want := range results {
		got := p.Do(call("f", map[string]any{"n": string(rune('0' + i)), "password": "another"}))
		require.Contains(t, got.Metadata, protocol.MockedKey)
		delete(got.Metadata, protocol.MockedKey)
		if want.Err != nil {
			require.Equal(t, want.Err.Kind, got.Err.Kind)
			require.Regexp(t, `^No \[masked\] of user-[0-9a-f]{8}@masked\.example\.$`, got.Err.Message)
			continue
		}
		require.Nil(t, got.Err)
		if i == 3 {
			require.Equal(t, "\ufffd<b>", got.Data)
			continue
		}
		require.Equal(t, want.Data, got.Data)
		require.Equal(t, want.No, got.No)
		require.Equal(t, []any{want.Messages, want.Warnings, want.Paginate}, []any{got.Messages, got.Warnings, got.Paginate})
	}
	require.Equal(t, cassette.Report{Exact: len(results)}, p.Report())
}

// An edited cassette is masked again when it is read, by the rules that it was recorded with.
func TestMaskedAgain(t *testing.T) {
	text := record(t, call("f", map[string]any{"shade": "c4n4ry", "site": "www.corp.example"}))
	require.NotContains(t, text, "c4n4ry")
	require.NotContains(t, text, "corp.example")
	text += `{"api":"uapi","module":"M","func":"g","args":{"password":"c4n4ry","shade":"c4n4ry"},"answer":{"data":{"api_token":"c4n4ry","said":"c4n4ry"},"error":"","messages":["c4n4ry"]}}` + "\n"
	c := read(t, text)
	again, err := json.Marshal(c.Entries)
	require.NoError(t, err)
	require.NotContains(t, string(again), "c4n4ry")
}

// Calls get the answers to the same arguments in their order; then the last one again, or without strict the next answer
// of the function. Reports say what differed.
func TestOrder(t *testing.T) {
	text := record(t, call("f", map[string]any{"a": "1"}), call("f", map[string]any{"a": "1"}), call("f", map[string]any{"a": "2", "list": []any{"x"}}), call("g", nil))
	var told []string
	p := cassette.NewPlayer(read(t, text), false, func(report string) { told = append(told, report) })
	for i, want := range []int64{1, 2, 2} {
		require.Equal(t, want, p.Do(call("f", map[string]any{"a": int64(1)})).Data, i)
	}
	require.Equal(t, int64(3), p.Do(call("f", map[string]any{"a": "3", "b": "new"})).Data)
	require.Equal(t, "An unexpected call: the cassette has no call of this function.", p.Do(call("h", nil)).Err.Message)
	require.Equal(t, protocol.KindUnavailable, p.Do(protocol.Call{API: protocol.API2, Module: "M", Func: "f"}).Err.Kind, "another API is another function")
	report := p.Report()
	require.Equal(t, 3, report.Exact)
	require.Equal(t, told, report.Problems)
	require.Equal(t, "uapi M::f: other arguments than in line 4:\n  - a=2\n  + a=3\n  + b=new\n  - list=[x]", report.Problems[0])
	require.Equal(t, []string{"line 5: uapi M::g"}, report.Unused)

	strict := cassette.NewPlayer(read(t, text), true, nil)
	same := call("f", map[string]any{"a": "1"})
	require.Nil(t, strict.Do(same).Err)
	require.Nil(t, strict.Do(same).Err)
	require.Contains(t, strict.Do(same).Err.Message, "has this call only 2 times")
	require.Contains(t, strict.Do(call("f", map[string]any{"a": "2"})).Err.Message, "has no call with these arguments")
	require.Contains(t, strict.Report().Problems[1], "  - list=[x]")

	// A caller that changes its answer does not change the next one.
	shared := cassette.NewPlayer(read(t, text+`{"api":"uapi","module":"M","func":"m","args":{},"answer":{"data":{"k":["v"]}}}`), false, nil)
	shared.Do(call("m", nil)).Data.(map[string]any)["k"].([]any)[0] = "changed"
	require.Equal(t, map[string]any{"k": []any{"v"}}, shared.Do(call("m", nil)).Data)
}

// A broken cassette is refused with the number of its line.
func TestBroken(t *testing.T) {
	first := `{"cassette":1,"salt":"x"}` + "\n"
	for name, c := range map[string]struct{ text, says string }{
		"empty":            {"", "the file is empty"},
		"another version":  {`{"cassette":2,"salt":"x"}`, "line 1: it must describe the cassette"},
		"no header":        {`{"api":"uapi"}`, "line 1: it must describe the cassette"},
		"not JSON":         {first + "\n{", "line 3: "},
		"an unknown key":   {first + `{"api":"uapi","module":"M","func":"f","anwser":{}}`, `line 2: json: unknown field "anwser"`},
		"no function":      {first + `{"api":"uapi","module":"M"}`, "line 2: a call must have api"},
		"an unknown API":   {first + `{"api":"uapi3","module":"M","func":"f"}`, "line 2: a call must have api"},
		"strange args":     {first + `{"api":"uapi","module":"M","func":"f","args":7}`, "line 2: args must be an object or a list"},
		"a repeated key":   {first + `{"api":"uapi","module":"M","func":"f","func":"g"}`, "line 2: "},
		"a number too big": {first + `{"api":"uapi","module":"M","func":"f","answer":{"data":1e999}}`, "line 2: "},
	} {
		_, err := cassette.Read(strings.NewReader(c.text))
		require.ErrorContains(t, err, c.says, name)
	}
	_, err := cassette.Load("/nothing/like/this")
	require.ErrorContains(t, err, "cassette: open /nothing/like/this")
}

// No text makes the reader of cassettes fail, and each cassette that it accepts answers every call.
func FuzzRead(f *testing.F) {
	f.Add(`{"cassette":1,"salt":"x"}` + "\n" + `{"api":"uapi","module":"M","func":"f","args":{"a":["1",{}]},"answer":{"data":[1,2.5,null],"metadata":{"k":1}}}`)
	f.Add(`{"cassette":1,"salt":"x","mask":["a"]}` + "\n" + `{"api":"api1","module":"M","func":"f","args":["x"],"answer":{"error":"no","kind":"denied"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := cassette.Read(strings.NewReader(text))
		if err != nil {
			return
		}
		p := cassette.NewPlayer(c, false, nil)
		for _, e := range p.Functions() {
			api, ok := cassette.APIOf(e.API)
			require.True(t, ok)
			require.True(t, p.Has(api, e.Module, e.Func))
			require.NotNil(t, p.Do(protocol.Call{API: api, Module: e.Module, Func: e.Func}))
		}
		p.Report()
	})
}
