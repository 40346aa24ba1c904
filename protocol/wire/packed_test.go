package wire_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
	"github.com/liveapid/liveapid/protocol/wire"
)

func packed(t testing.TB, value any) []byte {
	t.Helper()
	doc, err := payload.Encode(value)
	require.NoError(t, err)
	return doc
}

func TestPacked(t *testing.T) {
	call := protocol.Call{API: protocol.API2, Module: "Email", Func: "f", Args: protocol.Args{Named: map[string]any{
		"a": "x\xff\x00", "b": protocol.Number("12"), "c": true, "d": nil, "e": []any{"y", map[string]any{"z": "w"}},
	}}}
	frame, err := wire.AppendPacked(nil, 7, call)
	require.NoError(t, err)
	payload, err := wire.NewFrameReader(bytes.NewReader(frame), 0).Next()
	require.NoError(t, err)
	got := wire.ParsePacked(payload)
	require.EqualValues(t, 7, got.ID)
	require.Equal(t, wire.RequestCall, got.Request.Kind, "%v", got.Request.Err)
	call.Args.Named["b"] = "12" // A number is sent as its text.
	require.Equal(t, call, got.Request.Call)

	one := protocol.Call{API: protocol.API1, Module: "Email", Func: "f", Args: protocol.Args{Positional: []any{"a", "b"}}}
	frame, err = wire.AppendPacked(nil, 1<<63, one)
	require.NoError(t, err)
	payload, err = wire.NewFrameReader(bytes.NewReader(frame), 0).Next()
	require.NoError(t, err)
	got = wire.ParsePacked(payload)
	require.EqualValues(t, uint64(1)<<63, got.ID)
	require.Equal(t, one, got.Request.Call)

	frame, err = wire.AppendPackedAnswer(nil, 9, map[string]any{"data": "x\xff"})
	require.NoError(t, err)
	payload, err = wire.NewFrameReader(bytes.NewReader(frame), 0).Next()
	require.NoError(t, err)
	id, envelope, err := wire.ParsePackedAnswer(payload)
	require.NoError(t, err)
	require.EqualValues(t, 9, id)
	require.Equal(t, map[string]any{"data": "x\xff"}, envelope)
	for _, bad := range [][]byte{nil, packed(t, "x"), packed(t, map[string]any{"id": -1, "result": map[string]any{}}), packed(t, map[string]any{"id": 1})} {
		_, _, err := wire.ParsePackedAnswer(bad)
		require.Error(t, err)
	}
}

func TestParsePacked(t *testing.T) {
	for name, c := range map[string]struct {
		value any
		kind  wire.RequestKind
		says  string
	}{
		"numbers become text":      {map[string]any{"id": 1, "api": 2, "module": "M", "func": "f", "args": map[string]any{"n": 5, "x": 1.5, "u": uint64(1 << 63)}}, wire.RequestCall, ""},
		"an API by name":           {map[string]any{"id": 1, "api": "uapi", "module": "M", "func": "f"}, wire.RequestCall, ""},
		"an empty list":            {map[string]any{"id": 1, "api": 3, "module": "M", "func": "f", "args": []any{}}, wire.RequestCall, ""},
		"print":                    {map[string]any{"id": 1, "api": 1, "module": "print", "func": "", "args": "$user"}, wire.RequestSpecial, ""},
		"if":                       {map[string]any{"id": 1, "api": 1, "module": "if", "func": "if", "args": []any{"1"}}, wire.RequestSpecial, ""},
		"a tag":                    {map[string]any{"id": 1, "tag": `<cpanel print="$user">`}, wire.RequestSpecial, ""},
		"not a map":                {[]any{1}, wire.RequestUnknown, "not a MessagePack map"},
		"no id":                    {map[string]any{"api": 2}, wire.RequestUnknown, "id: must be"},
		"a negative id":            {map[string]any{"id": -1}, wire.RequestUnknown, "id: must be"},
		"an id as text":            {map[string]any{"id": "1"}, wire.RequestUnknown, "id: must be"},
		"no API":                   {map[string]any{"id": 1, "module": "M", "func": "f"}, wire.RequestUnknown, "is not one of 1, 2, 3 and uapi"},
		"no function":              {map[string]any{"id": 1, "api": 2, "module": "M"}, wire.RequestUnknown, "both must be named"},
		"a module of another type": {map[string]any{"id": 1, "api": 2, "module": []any{}, "func": "f"}, wire.RequestUnknown, "module: must be"},
		"text as arguments":        {map[string]any{"id": 1, "api": 2, "module": "M", "func": "f", "args": "x"}, wire.RequestUnknown, "args: must be"},
		"too many values":          {map[string]any{"id": 1, "api": 2, "module": "M", "func": "f", "args": map[string]any{"a": make([]any, 20_001)}}, wire.RequestUnknown, "more than 20000"},
	} {
		got := wire.ParsePacked(packed(t, c.value)).Request
		require.Equal(t, c.kind, got.Kind, "%s: %v", name, got.Err)
		if c.says != "" {
			require.Contains(t, got.Err.Message, c.says, name)
		}
	}
	require.Equal(t, wire.RequestShutdown, wire.ParsePacked([]byte(wire.Shutdown)).Request.Kind)
	for _, bomb := range []string{"\xdd\xff\xff\xff\xff", strings.Repeat("\x91", 2_000_000), "", "\xc1"} {
		require.Equal(t, wire.RequestUnknown, wire.ParsePacked([]byte(bomb)).Request.Kind)
	}
}

func FuzzParsePacked(f *testing.F) {
	f.Add(packed(f, map[string]any{"id": 1, "api": 2, "module": "Email", "func": "f", "args": map[string]any{"a": []any{1, nil, 1.5, "x"}}}))
	f.Add(packed(f, map[string]any{"id": 1, "tag": "<?cp Email::f(%, a) b=c ?>"}))
	f.Add([]byte(wire.Shutdown))
	f.Add([]byte("\xdd\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		got := wire.ParsePacked(frame)
		if got.Request.Kind == wire.RequestUnknown {
			require.NotNil(t, got.Request.Err)
			return
		}
		if got.Request.Kind == wire.RequestCall && !got.Request.Call.Expand {
			_, err := wire.AppendPacked(nil, got.ID, got.Request.Call)
			require.NoError(t, err)
		}
	})
}
