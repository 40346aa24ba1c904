package envelope_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/envelope"
)

// JSON writes what Parse reads, so a tool between a program and a host does not change answers.
func TestParse(t *testing.T) {
	results := map[string]*protocol.Result{
		"nothing": {}, "text": {Data: "<a> & ü"}, "number": {Data: int64(5)}, "large": {Data: uint64(1) << 63}, "fraction": {Data: 0.5},
		"records": {Data: []any{map[string]any{"a": "1", "b": int64(2), "c": nil, "d": []any{"x"}}}, Paginate: map[string]any{"total_results": int64(1)}},
		"uapi":    {Data: map[string]any{"k": "v"}, Messages: []string{"m"}, Warnings: []string{"w"}, Metadata: map[string]any{"n": int64(1)}},
	}
	for _, kind := range []protocol.Kind{
		protocol.KindInvalid, protocol.KindNotFound, protocol.KindFailed, protocol.KindDenied, protocol.KindUnavailable, protocol.KindInternal,
	} {
		results[string(kind)] = protocol.Failed(protocol.NewError(kind, "It is so."))
	}
	for _, api := range []protocol.API{protocol.API1, protocol.API2, protocol.UAPI} {
		call := protocol.Call{API: api, Module: "M", Func: "f"}
		for name, result := range results {
			want := envelope.JSON(call, result)
			got, err := envelope.Parse(call, want)
			require.NoError(t, err)
			require.Equal(t, result.Err == nil, got.Err == nil, "%s %s", api, name)
			require.JSONEq(t, string(want), string(envelope.JSON(call, got)), "%s %s", api, name)
		}
	}
	for _, command := range []string{"print", "if", "feature"} {
		call := protocol.Call{API: protocol.API1, Module: command, Func: command}
		for _, result := range []*protocol.Result{{Data: "1"}, {Data: int64(0)}, protocol.Failed(protocol.NewError(protocol.KindInvalid, "No."))} {
			want := envelope.Special(command, result)
			got, err := envelope.Parse(call, want)
			require.NoError(t, err)
			require.JSONEq(t, string(want), string(envelope.Special(command, got)), command)
		}
	}
	for _, bad := range []string{"", "[]", "{", "{} {}", "null x"} {
		_, err := envelope.Parse(protocol.Call{API: protocol.UAPI}, []byte(bad))
		require.Error(t, err, bad)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{"cpanelresult":{"data":[{}],"event":{"result":1}}}`, `{"result":{"status":1,"data":[1.5]}}`, `{"data":{"result":"x"},"error":"e"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, api := range []protocol.API{protocol.API1, protocol.API2, protocol.UAPI} {
			if result, err := envelope.Parse(protocol.Call{API: api}, []byte(body)); err == nil {
				require.NotNil(t, result)
			}
		}
	})
}
