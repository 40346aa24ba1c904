package live_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/live"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
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
	frame, err := live.AppendPacked(nil, 7, call)
	require.NoError(t, err)
	payload, err := live.NewFrameReader(bytes.NewReader(frame), 0).Next()
	require.NoError(t, err)
	got := live.ParsePacked(payload)
	require.EqualValues(t, 7, got.ID)
	require.Equal(t, live.RequestCall, got.Request.Kind, "%v", got.Request.Err)
	call.Args.Named["b"] = "12" // A number travels as the text that it is.
	require.Equal(t, call, got.Request.Call)

	one := protocol.Call{API: protocol.API1, Module: "Email", Func: "f", Args: protocol.Args{Positional: []any{"a", "b"}}}
	frame, err = live.AppendPacked(nil, 1<<63, one)
	require.NoError(t, err)
	payload, err = live.NewFrameReader(bytes.NewReader(frame), 0).Next()
	require.NoError(t, err)
	got = live.ParsePacked(payload)
	require.EqualValues(t, uint64(1)<<63, got.ID)
	require.Equal(t, one, got.Request.Call)

	frame, err = live.AppendPackedAnswer(nil, 9, map[string]any{"data": "x\xff"})
	require.NoError(t, err)
	payload, err = live.NewFrameReader(bytes.NewReader(frame), 0).Next()
	require.NoError(t, err)
	id, envelope, err := live.ParsePackedAnswer(payload)
	require.NoError(t, err)
	require.EqualValues(t, 9, id)
	require.Equal(t, map[string]any{"data": "x\xff"}, envelope)
	for _, bad := range [][]byte{nil, packed(t, "x"), packed(t, map[string]any{"id": -1, "result": map[string]any{}}), packed(t, map[string]any{"id": 1})} {
		_, _, err := live.ParsePackedAnswer(bad)
		require.Error(t, err)
	}
}

func TestParsePacked(t *testing.T) {
	for name, c := range map[string]struct {
		value any
		kind  live.RequestKind
		says  string
	}{
		"numbers become text":      {map[string]any{"id": 1, "api": 2, "module": "M", "func": "f", "args": map[string]any{"n": 5, "x": 1.5, "u": uint64(1 << 63)}}, live.RequestCall, ""},
		"an API by name":           {map[string]any{"id": 1, "api": "uapi", "module": "M", "func": "f"}, live.RequestCall, ""},
		"an empty list":            {map[string]any{"id": 1, "api": 3, "module": "M", "func": "f", "args": []any{}}, live.RequestCall, ""},
		"print":                    {map[string]any{"id": 1, "api": 1, "module": "print", "func": "", "args": "$user"}, live.RequestSpecial, ""},
		"if":                       {map[string]any{"id": 1, "api": 1, "module": "if", "func": "if", "args": []any{"1"}}, live.RequestSpecial, ""},
		"a tag":                    {map[string]any{"id": 1, "tag": `<cpanel print="$user">`}, live.RequestSpecial, ""},
		"no map":                   {[]any{1}, live.RequestUnknown, "no MessagePack map"},
		"no id":                    {map[string]any{"api": 2}, live.RequestUnknown, "id: must be"},
		"a negative id":            {map[string]any{"id": -1}, live.RequestUnknown, "id: must be"},
		"an id as text":            {map[string]any{"id": "1"}, live.RequestUnknown, "id: must be"},
		"no API":                   {map[string]any{"id": 1, "module": "M", "func": "f"}, live.RequestUnknown, "is none of 1, 2, 3 and uapi"},
		"no function":              {map[string]any{"id": 1, "api": 2, "module": "M"}, live.RequestUnknown, "both must be named"},
		"a module of another type": {map[string]any{"id": 1, "api": 2, "module": []any{}, "func": "f"}, live.RequestUnknown, "module: must be"},
		"text as arguments":        {map[string]any{"id": 1, "api": 2, "module": "M", "func": "f", "args": "x"}, live.RequestUnknown, "args: must be"},
		"too many values":          {map[string]any{"id": 1, "api": 2, "module": "M", "func": "f", "args": map[string]any{"a": make([]any, 20_001)}}, live.RequestUnknown, "more than 20000"},
	} {
		got := live.ParsePacked(packed(t, c.value)).Request
		require.Equal(t, c.kind, got.Kind, "%s: %v", name, got.Err)
		if c.says != "" {
			require.Contains(t, got.Err.Message, c.says, name)
		}
	}
	require.Equal(t, live.RequestShutdown, live.ParsePacked([]byte(live.Shutdown)).Request.Kind)
	for _, bomb := range []string{"\xdd\xff\xff\xff\xff", strings.Repeat("\x91", 2_000_000), "", "\xc1"} {
		require.Equal(t, live.RequestUnknown, live.ParsePacked([]byte(bomb)).Request.Kind)
	}
}

func FuzzParsePacked(f *testing.F) {
	f.Add(packed(f, map[string]any{"id": 1, "api": 2, "module": "Email", "func": "f", "args": map[string]any{"a": []any{1, nil, 1.5, "x"}}}))
	f.Add(packed(f, map[string]any{"id": 1, "tag": "<?cp Email::f(%, a) b=c ?>"}))
	f.Add([]byte(live.Shutdown))
	f.Add([]byte("\xdd\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		got := live.ParsePacked(frame)
		if got.Request.Kind == live.RequestUnknown {
			require.NotNil(t, got.Request.Err)
			return
		}
		if got.Request.Kind == live.RequestCall && !got.Request.Call.Expand {
			_, err := live.AppendPacked(nil, got.ID, got.Request.Call)
			require.NoError(t, err)
		}
	})
}
