package strictjson_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/strictjson"
)

func TestT24_DecodeKeepsWhatWasSent(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     any
	}{
		{"string", `"a\u0000b\"ü😀"`, "a\x00b\"ü😀"},
		{"surrogate pair", `"\ud83d\ude00"`, "😀"},
		{"escaped backslash before u", `"\\ud800"`, `\ud800`},
		{"a number keeps its digits", `9007199254740993.10`, protocol.Number("9007199254740993.10")},
		{"object", `{"a":[1,true,null],"b":{}}`, map[string]any{
			"a": []any{protocol.Number("1"), true, nil}, "b": map[string]any{}}},
		{"keys that differ in case", `{"user":"a","User":"b"}`, map[string]any{"user": "a", "User": "b"}},
		{"white space around", " \n[]\n ", []any{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := strictjson.Decode([]byte(c.in))
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestT24_DecodeRefuses(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"bytes that are no UTF-8", "\"\xff\"", "UTF-8"},
		{"lone high surrogate", `"\ud800"`, "UTF-8"},
		{"lone low surrogate", `"\udc00x"`, "UTF-8"},
		{"two high surrogates", `"\ud800\ud800"`, "UTF-8"},
		{"a pair with text between", `"\ud83dx\ude00"`, "UTF-8"},
		{"key twice", `{"a":1,"a":2}`, "repeated"},
		{"key twice by escape", `{"a":1,"\u0061":2}`, "repeated"},
		{"text behind", `{} x`, "follows"},
		{"second document", `{}{}`, "follows"},
		{"nothing", ``, "too early"},
		{"cut", `{"a":`, "too early"},
		{"broken", `{"a" 1}`, "broken JSON at byte"},
		{"too deep", strings.Repeat("[", 33) + strings.Repeat("]", 33), "deeper than 32"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := strictjson.Decode([]byte(c.in))
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := strictjson.Decode([]byte(strings.Repeat("[", 32) + strings.Repeat("]", 32)))
	require.NoError(t, err, "the limit itself is allowed")
}

func TestErrorsQuoteNoValue(t *testing.T) {
	_, err := strictjson.Decode([]byte(`{"password":"canary-1" canary-2}`))
	require.Error(t, err)
	require.NotContains(t, err.Error(), "canary")
}

// encoding/json accepts every document that Decode accepts, with the same result.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"a":[1,"x",null,true]}`, `"\ud83d\ude00"`, `"\ud800"`, `[[[]]]`, `1e5`, "\xff", `{"a":1,"a":2}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := strictjson.Decode(raw)
		if err != nil {
			return
		}
		require.True(t, json.Valid(raw))
		if s, ok := got.(string); ok {
			var want string
			require.NoError(t, json.Unmarshal(raw, &want))
			require.Equal(t, want, s)
		}
	})
}

// A frame's memory is limited by its number of values, not only by its bytes.
func TestT23_TooManyValues(t *testing.T) {
	for name, raw := range map[string]string{
		"a list":    "[" + strings.Repeat("0,", protocol.MaxFrameNodes) + "0]",
		"objects":   "[" + strings.Repeat(`{"":0},`, protocol.MaxFrameNodes/3+1) + "0]",
		"in layers": "[" + strings.Repeat("[[]],", protocol.MaxFrameNodes) + "0]",
	} {
		_, err := strictjson.Decode([]byte(raw))
		require.ErrorContains(t, err, "too many names and values: more than 20000", name)
	}
	_, err := strictjson.Decode([]byte("[" + strings.Repeat("0,", protocol.MaxFrameNodes-2) + "0]"))
	require.NoError(t, err)
}
