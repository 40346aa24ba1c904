package listing_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/listing"
)

// boxes returns records like a list of mailboxes.
func boxes() []any {
	return []any{
		map[string]any{"user": "anna", "quota": "250.00", "used": int64(10), "ip": "10.0.0.10", "note": "Top"},
		map[string]any{"user": "Bob", "quota": "unlimited", "used": int64(9), "ip": "9.0.0.1"},
		map[string]any{"user": "carl", "quota": int64(0), "used": 100.5, "ip": "10.0.0.9", "note": nil},
		map[string]any{"user": "dora", "quota": "350", "used": protocol.Number("9"), "ip": "10.0.0.9", "note": ""},
	}
}

// run filters, sorts and pages the boxes and returns their users in order.
func run(t *testing.T, api protocol.API, meta map[string]any) (users string, result *protocol.Result) {
	t.Helper()
	meta["own"] = "kept"
	o, own, err := listing.Split(api, meta)
	require.Nil(t, err, "%v", err)
	require.Equal(t, map[string]any{"own": "kept"}, own)
	result = &protocol.Result{Data: boxes()}
	require.NoError(t, o.Apply(t.Context(), result, nil))
	for _, item := range result.Data.([]any) {
		users += fmt.Sprint(item.(map[string]any)["user"])[:1]
	}
	return users, result
}

func TestFilter(t *testing.T) {
	for _, c := range []struct{ column, kind, term, want string }{
		{"user", "", "B", "B"}, {"user", "contains", "R", "cd"}, {"user", "begins", "b", "B"}, {"user", "ends", "A", "ad"},
		{"user", "matches", "^[a-c]", "ac"}, {"user", "matches", "(?i)^b", "B"},
		{"used", "eq", "9.0", "Bd"}, {"used", "ne", "9", "ac"}, {"used", "lt", "10", "Bd"}, {"used", "gt", "9", "ac"},
		{"quota", "lt", "300", "ac"}, {"quota", "gt", "300", "d"}, {"quota", "lt", "many", ""},
		{"quota", "lt_handle_unlimited", "300", "a"}, {"quota", "gt_handle_unlimited", "300", "Bcd"}, {"quota", "lt_handle_unlimited", "unlimited", "ad"},
		{"user", "eq", "anna", "a"}, {"user", "ne", "anna", "Bcd"},
		{"note", "defined", "", "ad"}, {"note", "undefined", "ignored", "Bc"}, {"missing", "undefined", "", "aBcd"}, {"missing", "contains", "", ""},
		{"*", "contains", "top", "a"}, {"*", "eq", "9", "Bd"},
	} {
		name := c.column + " " + c.kind + " " + c.term
		users, result := run(t, protocol.API2, map[string]any{"api2_filter": "1", "api2_filter_column": c.column, "api2_filter_type": c.kind, "api2_filter_term": c.term})
		require.Equal(t, c.want, users, name)
		require.Empty(t, result.Metadata["records_before_filter"])
		users, result = run(t, protocol.UAPI, map[string]any{"api.filter": protocol.Number("1"), "api.filter_column": c.column, "api.filter_type": c.kind, "api.filter_term": c.term})
		require.Equal(t, c.want, users, name)
		require.Equal(t, map[string]any{"records_before_filter": int64(4), "filter": map[string]any{"records_before_filter": int64(4)}, "transformed": int64(1)}, result.Metadata)
	}
}

func TestSeveralFilters(t *testing.T) {
	users, _ := run(t, protocol.UAPI, map[string]any{"api.filter_column_0": "user", "api.filter_term_0": "r", "api.filter_column_1": "used", "api.filter_type_1": "eq", "api.filter_term_1": "9"})
	require.Equal(t, "d", users, "all must fit; UAPI needs no switch")
	users, _ = run(t, protocol.API2, map[string]any{"api2_filter_column": "user", "api2_filter_term": "zzz"})
	require.Equal(t, "aBcd", users, "API 2 needs its switch")
	users, _ = run(t, protocol.UAPI, map[string]any{"api.filter": "0", "api.filter_column": "user", "api.filter_term": "zzz"})
	require.Equal(t, "aBcd", users, "switched off")
}

func TestSort(t *testing.T) {
	for _, c := range []struct{ column, method, reverse, want string }{
		{"user", "", "", "Bacd"}, {"user", "lexicographic", "1", "dcaB"}, {"user", "alphabet", "0", "Bacd"},
		{"used", "numeric", "", "Bdac"}, {"used", "numeric", "1", "caBd"}, {"used", "lexicographic", "", "acBd"},
		{"quota", "numeric", "", "cBad"}, {"quota", "numeric_zero_as_max", "", "Badc"},
		{"ip", "ipv4", "", "Bcda"}, {"ip", "ipv4", "1", "acdB"}, {"missing", "numeric", "1", "aBcd"},
	} {
		meta := map[string]any{"api2_sort": "1", "api2_sort_column": c.column, "api2_sort_method": c.method, "api2_sort_reverse": c.reverse}
		users, _ := run(t, protocol.API2, meta)
		require.Equal(t, c.want, users, "%v", c)
	}
	users, _ := run(t, protocol.UAPI, map[string]any{"api.sort": "1", "api.sort_column_0": "ip", "api.sort_method_0": "ipv4", "api.sort_column_1": "user", "api.sort_reverse_1": "1"})
	require.Equal(t, "Bdca", users)
	users, _ = run(t, protocol.UAPI, map[string]any{"api.sort_column": "user"})
	require.Equal(t, "aBcd", users, "sorting has to be switched on")
}

func TestPaginate(t *testing.T) {
	for _, c := range []struct {
		start, size, page, want string
		info                    string
	}{
		{"", "", "", "aBcd", `{"current_page":1,"results_per_page":100,"start_result":"1","total_pages":1,"total_results":4}`},
		{"1", "2", "", "aB", `{"current_page":1,"results_per_page":2,"start_result":"1","total_pages":2,"total_results":4}`},
		{"", "2", "2", "cd", `{"current_page":2,"results_per_page":2,"start_result":"3","total_pages":2,"total_results":4}`},
		{"2", "2", "", "Bc", `{"current_page":1,"results_per_page":2,"start_result":"2","total_pages":2,"total_results":4}`},
		{"2", "1", "3", "d", `{"current_page":4,"results_per_page":1,"start_result":"4","total_pages":4,"total_results":4}`},
		{"9", "2", "", "", `{"current_page":5,"results_per_page":2,"start_result":"9","total_pages":2,"total_results":4}`},
		{"-1", "", "", "aBcd", `{"current_page":1,"results_per_page":4,"start_result":"1","total_pages":1,"total_results":4}`},
		{"x", "-3", "0", "aBcd", `{"current_page":1,"results_per_page":100,"start_result":"1","total_pages":1,"total_results":4}`},
		{"1073741824", "1073741824", "1073741824", "", ""},
		{"99999999999999999999", "2", "", "aB", ""},
	} {
		users, result := run(t, protocol.API2, map[string]any{"api2_paginate": "1", "api2_paginate_start": c.start, "api2_paginate_size": c.size, "api2_paginate_page": c.page})
		require.Equal(t, c.want, users, "%v", c)
		if c.info != "" {
			info, err := json.Marshal(result.Paginate)
			require.NoError(t, err)
			require.Equal(t, c.info, string(info), "%v", c)
		}
		_, result = run(t, protocol.UAPI, map[string]any{"api.paginate": "1", "api.paginate_start": c.start, "api.paginate_size": c.size, "api.paginate_page": c.page})
		require.NotNil(t, result.Metadata["paginate"])
	}
}

func TestColumnsAndOrder(t *testing.T) {
	_, result := run(t, protocol.API2, map[string]any{
		"api2_filter": "1", "api2_filter_column": "used", "api2_filter_type": "gt", "api2_filter_term": "8",
		"api2_sort": "1", "api2_sort_column": "used", "api2_sort_method": "numeric", "api2_sort_reverse": "1",
		"api2_paginate": "1", "api2_paginate_size": "2", "api2_columns": "1", "api2_columns_a": "user", "api2_columns_b": "missing",
	})
	require.Equal(t, []any{map[string]any{"user": "carl"}, map[string]any{"user": "anna"}}, result.Data, "a key to sort by need not be shown")
	_, result = run(t, protocol.UAPI, map[string]any{"api.columns": "1", "api.columns_0": "user", "api.analytics": "1"})
	require.Equal(t, map[string]any{"user": "anna"}, result.Data.([]any)[0])
	_, result = run(t, protocol.UAPI, map[string]any{"api.columns": "1"})
	require.Equal(t, boxes(), result.Data)
}

func TestWhatIsNotShaped(t *testing.T) {
	o, _, err := listing.Split(protocol.UAPI, map[string]any{"api.sort": "1", "api.sort_column": "a", "api.filter_column": "a", "api.filter_term": "x"})
	require.Nil(t, err)
	for _, result := range []*protocol.Result{
		{Data: "text"}, {Data: map[string]any{"a": 1}}, {}, protocol.Failed(protocol.NewError(protocol.KindFailed, "no")),
	} {
		before := *result
		require.NoError(t, o.Apply(t.Context(), result, nil))
		require.Equal(t, &before, result)
	}
	scalars := &protocol.Result{Data: []any{"b", "a"}}
	o, _, err = listing.Split(protocol.UAPI, map[string]any{"api.sort": "1", "api.sort_column": "a"})
	require.Nil(t, err)
	require.NoError(t, o.Apply(t.Context(), scalars, nil))
	require.Equal(t, []any{"b", "a"}, scalars.Data)

	args := map[string]any{"api2_filterx": "own", "api.version": "1", "filter": "own"}
	_, own, err := listing.Split(protocol.API2, args)
	require.Nil(t, err)
	require.Equal(t, args, own)
	_, own, err = listing.Split(protocol.API1, map[string]any{"api2_filter": "1"})
	require.Nil(t, err)
	require.Len(t, own, 1)
}

// many returns a switch and n different values for it.
func many(on, stem string, n int) map[string]any {
	out := map[string]any{on: "1"}
	for i := range n {
		out[fmt.Sprint(stem, i)] = fmt.Sprint("c", i)
	}
	return out
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		meta map[string]any
		says string
	}{
		{map[string]any{"api2_filter": "1", "api2_filter_column": "a", "api2_filter_type": "like"}, "The ‘api2_filter_type’ argument must be one of contains, begins"},
		{map[string]any{"api2_filter": "1", "api2_filter_column_3": "a", "api2_filter_type_3": "matches", "api2_filter_term_3": "("}, "The ‘api2_filter_term_3’ argument is not a regular expression"},
		{map[string]any{"api2_filter": "1", "api2_filter_column": "a", "api2_filter_type": "matches", "api2_filter_term": strings.Repeat("a", 1001)}, "is too long: at most 1000"},
		{map[string]any{"api2_sort": "1", "api2_sort_column": "a", "api2_sort_method": "random"}, "The ‘api2_sort_method’ argument must be one of lexicographic"},
		{map[string]any{"api2_sort": []any{"1"}}, "The ‘api2_sort’ argument must be text."},
		{map[string]any{"api2_filter": "1", "api2_filter_column": "a", "api2_filter_type": "matches", "api2_filter_term": "(a{1000}){1000}"}, "is not a regular expression"},
		{map[string]any{"api2_filter": "1", "api2_filter_column": "a", "api2_filter_type": "matches", "api2_filter_term": strings.Repeat("a{900}", 100)}, "is not a regular expression"},
		{many("api2_filter", "api2_filter_column_", 17), "The ‘api2_filter_column_16’ argument is one filter too many: at most 16"},
		{many("api2_sort", "api2_sort_column_", 17), "one column too many: at most 16"},
		{many("api2_columns", "api2_columns_", 257), "one column too many: at most 256"},
	} {
		_, _, err := listing.Split(protocol.API2, c.meta)
		require.NotNil(t, err)
		require.Contains(t, err.Message, c.says)
		require.Equal(t, protocol.KindInvalid, err.Kind)
	}
}

// WHM API 1 has more operators, and names its parameters in another way.
func TestDialect(t *testing.T) {
	whm := listing.Dialect{API: protocol.UAPI, FilterTypes: []string{"lt_equal", "gt_equal", "==", "!="}, Name: func(name string) string { return "sent " + name }}
	for _, c := range []struct{ kind, term, want string }{
		{"lt_equal", "10", "aBd"}, {"gt_equal", "10", "ac"}, {"lt_equal", "many", ""}, {"gt_equal", "", ""}, {"==", "9.0", "Bd"}, {"!=", "9", "ac"},
	} {
		o, err := listing.Parse(whm, map[string]string{"filter_column_a": "used", "filter_type_a": c.kind, "filter_term_a": c.term})
		require.Nil(t, err, "%v", err)
		result := &protocol.Result{Data: boxes()}
		require.NoError(t, o.Apply(t.Context(), result, nil))
		var users string
		for _, item := range result.Data.([]any) {
			users += fmt.Sprint(item.(map[string]any)["user"])[:1]
		}
		require.Equal(t, c.want, users, c.kind+" "+c.term)
	}
	_, err := listing.Parse(whm, map[string]string{"filter_column_a": "used", "filter_type_a": "less"})
	require.Contains(t, err.Message, "The ‘sent filter_type_a’ argument must be one of contains")
	require.Contains(t, err.Message, "gt_equal, ==, !=.")
	_, _, err = listing.Split(protocol.UAPI, map[string]any{"api.filter_column": "used", "api.filter_type": "lt_equal"})
	require.Contains(t, err.Message, "‘api.filter_type’", "UAPI does not have the operator")
}

func FuzzSplit(f *testing.F) {
	f.Add("api2_filter_type", "matches", "api2_filter_term", "(a|b)*", "1")
	f.Add("api2_paginate_start", "-9", "api2_paginate_size", "99999999999", "1")
	f.Add("api2_sort_method", "ipv4", "api2_sort_column", "ip", "1")
	f.Fuzz(func(t *testing.T, a, x, b, y, on string) {
		o, _, err := listing.Split(protocol.API2, map[string]any{
			"api2_filter": on, "api2_sort": on, "api2_paginate": on, "api2_columns": on, "api2_filter_column": x, "api2_sort_column": y, a: x, b: y,
		})
		if err != nil {
			return
		}
		result := &protocol.Result{Data: boxes()}
		require.NoError(t, o.Apply(t.Context(), result, nil))
		require.LessOrEqual(t, len(result.Data.([]any)), 4)
	})
}

// T51: the cost of patterns is limited by the number of records. Long work pauses, and ends when its caller's
// time ends.
func TestT51_Work(t *testing.T) {
	list := make([]any, 3000)
	for i := range list {
		list[i] = map[string]any{"a": fmt.Sprintf("user%04d@%s.example", i, strings.Repeat("x", 40)), "b": strings.Repeat("y", i%100)}
	}
	split := func(meta map[string]any) listing.Options {
		o, _, err := listing.Split(protocol.UAPI, meta)
		require.Nil(t, err)
		return o
	}
	hard := map[string]any{}
	for i := range 16 {
		hard[fmt.Sprintf("api.filter_column_%d", i)], hard[fmt.Sprintf("api.filter_type_%d", i)] = "*", "matches"
		hard[fmt.Sprintf("api.filter_term_%d", i)] = "^" + strings.Repeat("(.*.*)", 10) + strings.Repeat("x?", 450)
	}
	result := &protocol.Result{Data: list}
	pauses := 0
	err := split(hard).Apply(t.Context(), result, func(context.Context) error { pauses++; return nil })
	require.ErrorContains(t, err, "regular expressions take too long")
	require.Equal(t, protocol.KindInvalid, protocol.AsError(err).Kind)
	require.Positive(t, pauses)

	// The same holds for other kinds: the term is parsed once, and each value counts.
	for _, kind := range []string{"contains", "eq", "lt_handle_unlimited"} {
		_, _, err := listing.Split(protocol.UAPI, map[string]any{"api.filter_column": "*", "api.filter_type": kind, "api.filter_term": strings.Repeat("9", 1001)})
		require.Contains(t, err.Message, "is too long")
	}
	wide := map[string]any{}
	for i := range 200_000 {
		wide[fmt.Sprint(i)] = "value"
	}
	pauses = 0
	one := split(map[string]any{"api.filter_column": "*", "api.filter_type": "contains", "api.filter_term": "none"})
	require.NoError(t, one.Apply(t.Context(), &protocol.Result{Data: []any{wide}}, func(context.Context) error { pauses++; return nil }))
	require.Positive(t, pauses, "one record with many values")

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	sorted := map[string]any{"api.sort": "1", "api.sort_column": "b"}
	for i := range 15 {
		sorted[fmt.Sprintf("api.sort_column_%d", i)] = "b"
	}
	for name, meta := range map[string]map[string]any{"filter": hard, "sort": sorted} {
		require.ErrorIs(t, split(meta).Apply(ended, &protocol.Result{Data: slices.Repeat(list, 20)}, nil), context.Canceled, name)
		stop := errors.New("stop")
		require.ErrorIs(t, split(meta).Apply(t.Context(), &protocol.Result{Data: slices.Repeat(list, 20)}, func(context.Context) error { return stop }), stop, name)
	}
	// Normal use is allowed: a hundred thousand records.
	easy := split(map[string]any{"api.filter_column": "a", "api.filter_type": "matches", "api.filter_term": "^user[0-9]+@x+\\.(example|com)$", "api.sort": "1", "api.sort_column": "a"})
	result = &protocol.Result{Data: slices.Repeat(list, 34)}
	require.NoError(t, easy.Apply(t.Context(), result, nil))
	require.Len(t, result.Data, 102_000)
}
