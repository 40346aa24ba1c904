package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/listing"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
	"github.com/liveapid/liveapid/protocol/plugin/pluginpb"
)

// long is a List of n records that records which of them are prepared and made.
type long struct {
	n        int
	prepared [][]int
	made     int
	fail     error
}

func (l *long) field(i int, column string) any {
	switch column {
	case "name":
		return "n" + strconv.Itoa((i*7919)%l.n)
	case "size":
		return (i * 31) % 17
	}
	return fmt.Sprintf("detail %d", (i*13)%5)
}

func (l *long) record(i int) map[string]any {
	return map[string]any{"name": l.field(i, "name"), "size": l.field(i, "size"), "detail": l.field(i, "detail")}
}

func (l *long) list() *sdk.List {
	return &sdk.List{
		Len: l.n, Columns: []string{"name", "size"}, Field: l.field,
		Prepare: func(_ context.Context, numbers []int) error {
			l.prepared = append(l.prepared, numbers)
			return l.fail
		},
		Make: func(i int) map[string]any {
			l.made++
			return l.record(i)
		},
	}
}

// ask calls the function that returns data, with meta-parameters.
func ask(t *testing.T, data func() any, api protocol.API, shape map[string]string) *protocol.Result {
	t.Helper()
	s := sdk.NewServer(&sdk.Module{Name: "Long", Functions: []sdk.Function{{
		Function: protocol.Function{API: api, Name: "list", Roles: []protocol.Role{protocol.RoleAccount}},
		Do:       func(context.Context, *sdk.Call) (any, error) { return data(), nil },
	}}})
	doc, err := payload.EncodeRequest(payload.Request{
		ID: "id1", Call: protocol.Call{API: api, Module: "Long", Func: "list"}, Account: protocol.Account{Name: "alice"}, Shape: shape,
	})
	require.NoError(t, err)
	answer, err := s.Call(t.Context(), &pluginpb.Payload{Msgpack: doc})
	require.NoError(t, err)
	result, err := payload.DecodeResult(answer.GetMsgpack())
	require.NoError(t, err)
	require.Equal(t, len(shape) > 0 && result.Err == nil, result.Shaped)
	result.Data, result.Shaped = protocol.Plain(result.Data), false
	return result
}

// A plugin's answer is the same as that of a host that filters, sorts and pages the whole list.
func TestListShapedAsTheHostDoes(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	for range 300 {
		n := 1 + random.IntN(200)
		shape := map[string]string{}
		if random.IntN(2) == 0 {
			shape["filter"], shape["filter_column"], shape["filter_type"], shape["filter_term"] = "1", pick("name", "size", "detail", "none", "*"), pick("contains", "eq", "gt", "lt", "begins", "defined"), pick("1", "n1", "9", "")
		}
		if random.IntN(2) == 0 {
			shape["sort"], shape["sort_column"], shape["sort_method"], shape["sort_reverse"] = "1", pick("name", "size", "detail", "none"), pick("lexicographic", "numeric"), pick("0", "1")
		}
		if random.IntN(2) == 0 {
			shape["paginate"], shape["paginate_start"], shape["paginate_size"] = "1", strconv.Itoa(1+random.IntN(n)), strconv.Itoa(1+random.IntN(100))
		}
		if random.IntN(3) == 0 {
			shape["columns"], shape["columns_0"], shape["columns_1"] = "1", "name", "detail"
		}
		for _, api := range []protocol.API{protocol.API2, protocol.UAPI} {
			options, invalid := listing.Parse(listing.Dialect{API: api, Name: func(name string) string { return name }}, shape)
			require.Nil(t, invalid, "%v", shape)
			want := ask(t, func() any { return (&long{n: n}).list() }, api, nil)
			require.NoError(t, options.Apply(t.Context(), want, nil))
			for kind, data := range map[string]func() any{
				"lazy": func() any { return (&long{n: n}).list() },
				"made": func() any {
					all, err := (&long{n: n}).list().All(context.Background())
					require.NoError(t, err)
					return all
				},
			} {
				got := ask(t, data, api, shape)
				a, err := json.Marshal(want)
				require.NoError(t, err)
				b, err := json.Marshal(got)
				require.NoError(t, err)
				require.Equal(t, string(a), string(b), "%s, %d records, %v", kind, n, shape)
			}
		}
	}
}

// Only the records of the page are prepared and made.
func TestListMakesOnlyThePage(t *testing.T) {
	page := map[string]string{"paginate": "1", "paginate_start": "101", "paginate_size": "50"}
	with := func(more map[string]string) map[string]string {
		for key, value := range page {
			more[key] = value
		}
		return more
	}
	for _, c := range []struct {
		name  string
		shape map[string]string
		made  int
	}{
		{"a page", with(map[string]string{}), 50},
		{"sorted and filtered by what is known", with(map[string]string{
			"sort": "1", "sort_column": "name", "filter": "1", "filter_column": "size", "filter_type": "lt", "filter_term": "10",
		}), 50},
		{"sorted by what is not known", with(map[string]string{"sort": "1", "sort_column": "detail"}), 1000},
		{"everything is searched", with(map[string]string{"filter": "1", "filter_column": "*", "filter_term": "n"}), 1000},
		{"columns of all", map[string]string{"columns": "1", "columns_0": "name"}, 1000},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &long{n: 1000}
			result := ask(t, func() any { return l.list() }, protocol.UAPI, c.shape)
			require.Nil(t, result.Err)
			require.Len(t, l.prepared, 1)
			if c.made == 50 {
				require.Len(t, l.prepared[0], 50)
				require.Len(t, result.Data, 50)
			}
			require.LessOrEqual(t, l.made, c.made+1+50) // One more for the names of the fields.
		})
	}
	l := &long{n: 10, fail: protocol.NewError(protocol.KindFailed, "The disk is away.")}
	require.Equal(t, "The disk is away.", ask(t, func() any { return l.list() }, protocol.UAPI, page).Err.Message)
	l.fail = errors.New("secret")
	require.Equal(t, protocol.KindInternal, ask(t, func() any { return l.list() }, protocol.UAPI, nil).Err.Kind)
}

// The next part of a function gets the records, and a record can be changed.
func TestListForTheNextPart(t *testing.T) {
	var input any
	s := sdk.NewServer(&sdk.Module{Name: "Long", Functions: []sdk.Function{{
		Function: protocol.Function{API: protocol.UAPI, Name: "list", Roles: []protocol.Role{protocol.RoleAccount}},
		Do: func(context.Context, *sdk.Call) (any, error) {
			return (&long{n: 3}).list().Map(func(record map[string]any) { record["more"] = 1 }), nil
		},
		After: func(_ context.Context, call *sdk.Call) (any, error) {
			input = call.Input
			return nil, nil
		},
	}}})
	doc, err := payload.EncodeRequest(payload.Request{ID: "id1", Call: protocol.Call{API: protocol.UAPI, Module: "Long", Func: "list"}})
	require.NoError(t, err)
	_, err = s.Call(t.Context(), &pluginpb.Payload{Msgpack: doc})
	require.NoError(t, err)
	require.Len(t, input, 3)
	require.Equal(t, map[string]any{"name": "n0", "size": 0, "detail": "detail 0", "more": 1}, input.([]any)[0])

	settings, err := payload.EncodeSettings(nil)
	require.NoError(t, err)
	described, err := s.Describe(t.Context(), &pluginpb.Payload{Msgpack: settings})
	require.NoError(t, err)
	modules, err := payload.DecodeModules(described.GetMsgpack())
	require.NoError(t, err)
	require.False(t, modules[0].Functions[0].Shapes, "another part makes the list")
}

// A panic while a record is made is reported like one in the function, and the process goes on.
func TestListPanics(t *testing.T) {
	for _, shape := range []map[string]string{nil, {"paginate": "1"}, {"sort": "1", "sort_column": "other"}} {
		result := ask(t, func() any {
			return &sdk.List{Len: 100, Make: func(int) map[string]any { panic("c4n4ry") }}
		}, protocol.UAPI, shape)
		require.Equal(t, protocol.KindInternal, result.Err.Kind)
		require.NotContains(t, result.Err.Message, "c4n4ry")
	}
}

// What Prepare says about the call is in the answer.
func TestListWarns(t *testing.T) {
	s := sdk.NewServer(&sdk.Module{Name: "Long", Functions: []sdk.Function{{
		Function: protocol.Function{API: protocol.UAPI, Name: "list", Roles: []protocol.Role{protocol.RoleAccount}},
		Do: func(_ context.Context, call *sdk.Call) (any, error) {
			return &sdk.List{Prepare: func(context.Context, []int) error {
				call.Warn("Some are away.")
				return nil
			}}, nil
		},
	}}})
	doc, err := payload.EncodeRequest(payload.Request{ID: "id1", Call: protocol.Call{API: protocol.UAPI, Module: "Long", Func: "list"}})
	require.NoError(t, err)
	answer, err := s.Call(t.Context(), &pluginpb.Payload{Msgpack: doc})
	require.NoError(t, err)
	result, err := payload.DecodeResult(answer.GetMsgpack())
	require.NoError(t, err)
	require.Equal(t, []string{"Some are away."}, result.Warnings)
	require.Empty(t, result.Data)
}
