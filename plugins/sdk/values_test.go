package sdk

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type inner struct {
	Deep []uint8 `json:"deep"` // Bytes become base64, as in encoding/json.
}

type record struct {
	inner
	Name    string         `json:"name"`
	Hidden  string         `json:"-"`
	Empty   string         `json:"empty,omitempty"`
	Small   int8           `json:"small"`
	Big     uint64         `json:"big"`
	Float   float32        `json:"float"`
	Pointer *int           `json:"pointer"`
	Map     map[int]string `json:"map"`
	Time    time.Time      `json:"time"`
	Raw     json.RawMessage
	Any     any `json:"any"`
}

// A function may return any value that encoding/json can encode, and the caller gets what encoding/json would have
// written.
func TestValue(t *testing.T) {
	seven := 7
	r := record{
		inner: inner{Deep: []byte("x")}, Name: "<é>", Hidden: "h", Small: -8, Big: math.MaxUint64, Float: 1.5, Pointer: &seven,
		Map: map[int]string{2: "b"}, Time: time.Unix(0, 0).UTC(), Raw: json.RawMessage(`{"n":12345678901234567890123}`), Any: []int64{math.MinInt64},
	}
	want := map[string]any{
		"deep": "eA==", "name": "<é>", "small": int64(-8), "big": uint64(math.MaxUint64), "float": 1.5, "pointer": int64(7),
		"map": map[string]any{"2": "b"}, "time": "1970-01-01T00:00:00Z", "Raw": map[string]any{"n": "12345678901234567890123"}, "any": []any{int64(math.MinInt64)},
	}
	for name, c := range map[string]struct{ in, want any }{
		"a struct":                 {r, want},
		"a pointer":                {&r, want},
		"a list of structs":        {[]record{r}, []any{want}},
		"a map of structs":         {map[string]any{"r": r, "n": int32(1)}, map[string]any{"r": want, "n": int64(1)}},
		"a list in a list":         {[][]int{{1}, nil}, []any{[]any{int64(1)}, nil}},
		"every int":                {[]any{int8(1), int16(2), uint8(3), uint(4), float32(0.5)}, []any{int64(1), int64(2), int64(3), int64(4), 0.5}},
		"bytes beside a number":    {map[string]any{"b": []byte("\xff"), "s": "\xfe", "n": int32(1)}, map[string]any{"b": []byte("\xff"), "s": "\xfe", "n": int64(1)}},
		"bytes that are not UTF-8": {map[string]any{"b": "\xff"}, map[string]any{"b": "\xff"}},
		"nothing":                  {nil, nil},
	} {
		got, err := value(c.in)
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
	for name, in := range map[string]any{"a channel": make(chan int), "a function": []any{func() {}}, "not a number": []float64{math.NaN()}, "a loop": loop()} {
		_, err := value(in)
		require.ErrorContains(t, err, "the result, a ", name)
	}
}

func TestValueThatContainsItself(t *testing.T) {
	itself := map[string]any{}
	itself["list"] = []any{itself}
	_, err := value(itself)
	require.ErrorContains(t, err, "contains itself")
}

// loop returns a value that contains itself.
func loop() any {
	type node struct{ Next *node }
	n := &node{}
	n.Next = n
	return n
}
