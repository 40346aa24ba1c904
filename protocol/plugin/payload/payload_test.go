package payload_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
)

func TestCodec(t *testing.T) {
	for _, c := range []struct {
		name        string
		value, want any
	}{
		{"nil", nil, nil},
		{"bools", []any{true, false}, []any{true, false}},
		{"integers", []any{1, int64(-5), int64(math.MinInt64), uint64(math.MaxUint64)}, []any{int64(1), int64(-5), int64(math.MinInt64), uint64(math.MaxUint64)}},
		{"floats", 1.5, 1.5},
		{"text", "päß", "päß"},
		{"bytes that are no text", "a\xff\x00", "a\xff\x00"},
		{"a number as text", protocol.Number("1.50"), "1.50"},
		{"a secret", protocol.NewSecret("p"), "p"},
		{"texts", []string{"a", "b"}, []any{"a", "b"}},
		{"records", []map[string]any{{"a": 1}}, []any{map[string]any{"a": int64(1)}}},
		{"nested", map[string]any{"a": []any{map[string]any{"b\xff": nil}}}, map[string]any{"a": []any{map[string]any{"b\xff": nil}}}},
		{"long", strings.Repeat("x", 70_000), strings.Repeat("x", 70_000)},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc, err := payload.Encode(c.value)
			require.NoError(t, err)
			got, err := payload.Decode(doc)
			require.NoError(t, err)
			if n, ok := c.want.([]any); ok && c.name == "integers" {
				// Small positive numbers have a single encoding for all integer types.
				require.EqualValues(t, n, normal(got))
				return
			}
			require.Equal(t, c.want, normal(got))
		})
	}
	_, err := payload.Encode(struct{}{})
	require.ErrorContains(t, err, "struct {}")
	_, err = payload.Encode(map[string]any{"a": []any{make(chan int)}})
	require.ErrorContains(t, err, "chan int")
}

// normal converts uint64 to int64 if it fits.
func normal(v any) any {
	switch v := v.(type) {
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v)
		}
	case []any:
		for i := range v {
			v[i] = normal(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = normal(v[k])
		}
	}
	return v
}

func be32(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// bombs are small documents that claim large sizes. Decoding the first without a check crashes the process.
func bombs() map[string]string {
	deep := func(n int) string { return strings.Repeat("\x91", n) + "\xc0" }
	return map[string]string{
		"array of 2^31":          "\xdd" + be32(1<<31) + strings.Repeat("\xc0", 15),
		"map of 2^31":            "\xdf" + be32(1<<31) + strings.Repeat("\xc0", 15),
		"text of 4 GiB":          "\xdb" + be32(math.MaxUint32) + "abc",
		"bytes of 4 GiB":         "\xc6" + be32(math.MaxUint32) + "abc",
		"array of 65535":         "\xdc\xff\xff\xc0",
		"one too deep":           deep(protocol.MaxDepth + 1),
		"two million deep":       deep(2_000_000),
		"maps, two million deep": strings.Repeat("\x81\xa1a", 2_000_000) + "\xc0",
		"too many values":        "\xdd" + be32(protocol.MaxNodes) + strings.Repeat("\xc0", protocol.MaxNodes),
		"an extension":           "\xd4\x01\x00",
		"a timestamp":            "\xd6\xff\x00\x00\x00\x00",
		"the unused type":        "\xc1",
		"empty":                  "",
		"two documents":          "\xc0\xc0",
		"half a number":          "\xcf\x00",
		"half a length":          "\xdb\x00",
		"a map without a value":  "\x81\xa1a",
	}
}

// T23: every document is checked before it is decoded, and the check rejects every bomb.
func TestT23_WalkRefusesBombs(t *testing.T) {
	for name, doc := range bombs() {
		t.Run(name, func(t *testing.T) {
			allocs := testing.AllocsPerRun(1, func() { require.ErrorIs(t, payload.Walk([]byte(doc)), payload.ErrPayload) })
			require.Less(t, allocs, 50.0)
			_, err := payload.Decode([]byte(doc))
			require.ErrorIs(t, err, payload.ErrPayload)
		})
	}
	for name, doc := range map[string]string{
		"as deep as may be": strings.Repeat("\x91", protocol.MaxDepth) + "\xc0",
		"as many as may be": "\xdd" + be32(protocol.MaxNodes-1) + strings.Repeat("\xc0", protocol.MaxNodes-1),
	} {
		require.NoError(t, payload.Walk([]byte(doc)), name)
	}
	_, err := payload.Decode([]byte("\x81\x01\xc0")) // A key that is not a text.
	require.ErrorIs(t, err, payload.ErrPayload)
}

func TestMessages(t *testing.T) {
	request := payload.Request{
		ID: "abc123", Role: protocol.RoleAccount,
		Call: protocol.Call{API: protocol.API2, Module: "Email", Func: "passwdpop",
			Args: protocol.Args{Named: map[string]any{"password": protocol.NewSecret("p\xff"), "n": protocol.Number("1")}}},
		Account: protocol.Account{Name: "alice", UID: 1001, GID: 1002, Home: "/home/alice", Domains: []string{"a.example", "b.example"},
			Features: []string{"popaccts"}, Data: map[string]string{"PLAN": "gold"}},
	}
	doc, err := payload.EncodeRequest(request)
	require.NoError(t, err)
	got, err := payload.DecodeRequest(doc)
	require.NoError(t, err)
	request.Call.Args.Named = map[string]any{"password": "p\xff", "n": "1"}
	require.Equal(t, request, got)
	for _, features := range [][]string{nil, {}} { // All features, and none.
		request.Account.Features = features
		doc, err = payload.EncodeRequest(request)
		require.NoError(t, err)
		got, err = payload.DecodeRequest(doc)
		require.NoError(t, err)
		require.Equal(t, features, got.Account.Features)
	}

	result := &protocol.Result{Data: "x", Messages: []string{"m"}, Warnings: []string{"w"}, Metadata: map[string]any{"k": "v"}}
	doc, err = payload.EncodeResult(result)
	require.NoError(t, err)
	back, err := payload.DecodeResult(doc)
	require.NoError(t, err)
	require.Equal(t, result, back)

	modules := []protocol.Module{{Name: "Email", Help: "h", Functions: []protocol.Function{{
		API: protocol.UAPI, Name: "f", Help: "h", Returns: "r", Changes: true, Open: true, Feature: "popaccts", Roles: []protocol.Role{protocol.RoleMailbox},
		Params: []protocol.Param{{Name: "p", Type: protocol.TypeSecret, Required: true, Help: "h"}},
	}}}}
	doc, err = payload.EncodeModules(modules)
	require.NoError(t, err)
	described, err := payload.DecodeModules(doc)
	require.NoError(t, err)
	require.Equal(t, modules, described)

	doc, err = payload.EncodeSettings(map[string]any{"scheme": "BLF-CRYPT"})
	require.NoError(t, err)
	settings, err := payload.DecodeSettings(doc)
	require.NoError(t, err)
	require.Equal(t, map[string]any{"scheme": "BLF-CRYPT"}, settings)
}

// Long lists of similar records are sent as tables, and arrive unchanged.
func TestTables(t *testing.T) {
	record := func(i int) map[string]any { return map[string]any{"email": "a", "n": int64(-i - 1), "none": nil} }
	for _, n := range []int{0, 1, 63, 64, 1000} {
		var list []any
		for i := range n {
			list = append(list, record(i))
		}
		if list == nil {
			list = []any{}
		}
		for name, spoil := range map[string]func(){
			"alike": func() {},
			"one has another field": func() {
				if n > 2 {
					list[2] = map[string]any{"email": "a", "n": int64(-1), "other": nil}
				}
			},
			"one has a field more": func() {
				if n > 3 {
					list[3].(map[string]any)["more"] = "x"
				}
			},
			"one is no record": func() {
				if n > 4 {
					list[4] = "x"
				}
			},
		} {
			spoil()
			doc, err := payload.EncodeResult(&protocol.Result{Data: list})
			require.NoError(t, err)
			back, err := payload.DecodeResult(doc)
			require.NoError(t, err)
			require.Equal(t, list, protocol.Plain(back.Data), "%d, %s", n, name)
		}
	}
	for _, table := range []any{
		map[string]any{}, map[string]any{"columns": []any{"a", "a"}, "rows": []any{}}, map[string]any{"columns": []any{"a"}, "rows": []any{[]any{}}},
		map[string]any{"columns": []any{"a"}, "rows": []any{"x"}}, map[string]any{"columns": []any{}, "rows": []any{[]any{}}},
	} {
		doc, err := payload.Encode(map[string]any{"table": table})
		require.NoError(t, err)
		_, err = payload.DecodeResult(doc)
		require.ErrorIs(t, err, payload.ErrPayload, "%v", table)
	}
}

// A plugin may fail a call, but may not use the kinds of errors that only the host may use.
func TestErrorsOfPlugins(t *testing.T) {
	for kind, want := range map[protocol.Kind]protocol.Kind{
		protocol.KindInvalid: protocol.KindInvalid, protocol.KindNotFound: protocol.KindNotFound,
		protocol.KindFailed: protocol.KindFailed, protocol.KindDenied: protocol.KindDenied,
		protocol.KindUnavailable: protocol.KindUnavailable, protocol.KindInternal: protocol.KindInternal,
		protocol.KindNoModule: protocol.KindInternal, protocol.KindNoFunction: protocol.KindInternal,
		protocol.KindBadRequest: protocol.KindInternal, "": protocol.KindInternal, "root": protocol.KindInternal,
	} {
		doc, err := payload.EncodeResult(protocol.Failed(protocol.NewError(kind, "m")))
		require.NoError(t, err)
		got, err := payload.DecodeResult(doc)
		require.NoError(t, err)
		require.Equal(t, want, got.Err.Kind, kind)
	}
	doc, err := payload.EncodeError(protocol.NewError(protocol.KindInvalid, "setting scheme: no"))
	require.NoError(t, err)
	_, err = payload.DecodeModules(doc)
	require.ErrorContains(t, err, "setting scheme: no")
}

// FuzzDecode passes hostile documents to every decoder of the plugin boundary.
func FuzzDecode(f *testing.F) {
	for _, bomb := range bombs() {
		if len(bomb) < 1000 {
			f.Add([]byte(bomb))
		}
	}
	for _, value := range []any{
		map[string]any{"modules": []any{map[string]any{"name": "Email", "functions": []any{map[string]any{"api": 2, "name": "f", "roles": []string{"account"}}}}}},
		map[string]any{"error": map[string]any{"kind": "invalid", "message": "m"}}, map[string]any{"data": []any{1.5, nil, true}}, "a\xff",
	} {
		doc, err := payload.Encode(value)
		require.NoError(f, err)
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		_, _ = payload.DecodeRequest(doc)
		_, _ = payload.DecodeResult(doc)
		_, _ = payload.DecodeModules(doc)
		_, _ = payload.DecodeSettings(doc)
		value, err := payload.Decode(doc)
		if err != nil {
			return
		}
		require.NoError(t, payload.Walk(doc))
		again, err := payload.Encode(value)
		require.NoError(t, err)
		same, err := payload.Decode(again)
		require.NoError(t, err)
		if !bytes.Contains(doc, []byte{0xcb}) && !bytes.Contains(doc, []byte{0xca}) { // NaN is not equal to itself.
			require.True(t, reflect.DeepEqual(normal(value), normal(same)))
		}
	})
}

// T22: a short document must not expand beyond memory: a table's names are sent once and repeated in each
// row.
func TestT22_TablesThatGrow(t *testing.T) {
	table := func(name string, rows int) []byte {
		list := make([]any, rows)
		for i := range list {
			list[i] = []any{nil}
		}
		doc, err := payload.Encode(map[string]any{"table": map[string]any{"columns": []string{name}, "rows": list}})
		require.NoError(t, err)
		return doc
	}
	_, err := payload.DecodeResult(table(strings.Repeat("a", 256), 100))
	require.NoError(t, err)
	_, err = payload.DecodeResult(table(strings.Repeat("a", 257), 1))
	require.ErrorContains(t, err, "the name of a column has 257 bytes")
	_, err = payload.DecodeResult(table(strings.Repeat("a", 256), protocol.MaxAnswer/256+1))
	require.ErrorContains(t, err, "the names of")
}

// A worker's answer costs little more memory than it has bytes: unknown keys are not decoded, and a table's
// names are counted as they are written.
func TestT22_HostileResults(t *testing.T) {
	keys := map[string]any{}
	for i := range 1000 {
		keys[fmt.Sprint(i)] = nil
	}
	rows := make([]any, 1_000_000)
	for i := range rows {
		rows[i] = []any{int64(1)}
	}
	record := map[string]any{"columns": []any{"a"}, "rows": []any{[]any{int64(1)}}}
	for name, document := range map[string]map[string]any{
		"many keys":              keys,
		"many keys in a table":   {"table": keys},
		"a name that is escaped": {"table": map[string]any{"columns": []any{strings.Repeat("\x01", 20)}, "rows": rows}},
		"data and a table":       {"table": record, "data": []any{}},
		"a repeated key":         {"table": map[string]any{"columns": []any{"a", "a"}, "rows": []any{}}},
		"rows without columns":   {"table": map[string]any{"rows": []any{}}},
		"columns without rows":   {"table": map[string]any{"columns": []any{"a"}}},
		"columns of numbers":     {"table": map[string]any{"columns": []any{int64(1)}, "rows": []any{}}},
		"rows that are a map":    {"table": map[string]any{"columns": []any{"a"}, "rows": map[string]any{}}},
		"a row that is a text":   {"table": map[string]any{"columns": []any{"a"}, "rows": []any{"x"}}},
	} {
		doc, err := payload.Encode(document)
		require.NoError(t, err)
		_, err = payload.DecodeResult(doc)
		require.ErrorIs(t, err, payload.ErrPayload, name)
	}
	doc, err := payload.Encode(map[string]any{"table": record, "data": nil, "unknown": int64(1)})
	require.NoError(t, err)
	_, err = payload.DecodeResult(doc)
	require.ErrorIs(t, err, payload.ErrPayload)
	doc, err = payload.Encode(map[string]any{"table": record, "unknown": int64(1)})
	require.NoError(t, err)
	result, err := payload.DecodeResult(doc)
	require.NoError(t, err)
	require.Equal(t, []any{map[string]any{"a": int64(1)}}, protocol.Plain(result.Data))
}

func FuzzResult(f *testing.F) {
	for _, data := range []any{nil, "x", []any{map[string]any{"a": int64(300), "b": -1.5, "c": "t\xff"}}} {
		doc, err := payload.Encode(map[string]any{"data": data})
		require.NoError(f, err)
		f.Add(doc)
	}
	doc, err := payload.Encode(map[string]any{"table": map[string]any{"columns": []any{"b", "a"}, "rows": []any{
		[]any{int64(-300), "<x>"}, []any{uint64(1 << 40), nil}, []any{true, []any{1.5}}, []any{1e300, map[string]any{"k": "v"}},
	}}})
	require.NoError(f, err)
	f.Add(doc)
	f.Fuzz(func(t *testing.T, doc []byte) {
		result, err := payload.DecodeResult(doc)
		if err != nil {
			return
		}
		records, ok := result.Data.(protocol.Records)
		if !ok {
			return
		}
		marshal := func(out []byte, value any) []byte {
			text, err := json.Marshal(value)
			if err != nil {
				text = []byte("null")
			}
			return append(out, text...)
		}
		require.True(t, json.Valid(records.AppendJSON(nil, marshal)))
		require.Len(t, protocol.Plain(records), records.Len())
	})
}
