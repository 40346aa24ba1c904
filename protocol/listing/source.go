package listing

import (
	"context"
	"maps"
	"slices"

	"github.com/liveapid/liveapid/protocol"
)

// Source is a list whose records are expensive to make. Select needs only some columns of them.
type Source struct {
	Len     int
	Columns []string // The columns that Field knows.
	// Field returns the value of a column of the record with the given number.
	Field func(number int, column string) any
}

// Pushable reports whether a plugin should apply the options itself. A pattern is left to the host, which shares its
// computing time among the accounts. If many accounts share the plugin's process, filters and sorts are, too.
func (o Options) Pushable(shared bool) bool {
	if shared && len(o.filters)+len(o.sorts) > 0 {
		return false
	}
	return !o.empty() && !slices.ContainsFunc(o.filters, func(f filter) bool { return f.kind == "matches" })
}

// Select does the same as Apply for a Source, and returns the numbers of the records of the answer in their order. The
// caller makes these records, narrows each with Narrow, and puts them into result. ok is false if a filter or a sort
// needs a column that the source does not have; result is then unchanged.
func (o Options) Select(ctx context.Context, s Source, result *protocol.Result) (numbers []int, ok bool, err error) {
	var needed []string
	for _, f := range o.filters {
		needed = append(needed, f.column)
	}
	for _, k := range o.sorts {
		needed = append(needed, k.column)
	}
	if slices.ContainsFunc(needed, func(column string) bool { return !slices.Contains(s.Columns, column) }) {
		return nil, false, nil
	}
	const number = "\x00" // No column has this name.
	items := make([]any, s.Len)
	for i := range items {
		if needed == nil {
			items[i] = i
			continue
		}
		record := map[string]any{number: i}
		for _, column := range needed {
			record[column] = s.Field(i, column)
		}
		items[i] = record
	}
	o.columns = nil
	short := &protocol.Result{Data: items, Metadata: maps.Clone(result.Metadata)}
	if err := o.Apply(ctx, short, nil); err != nil {
		return nil, true, err
	}
	result.Metadata, result.Paginate = short.Metadata, short.Paginate
	if o.api == protocol.UAPI { // Apply did not see the columns.
		result.Metadata = maps.Clone(short.Metadata)
		if result.Metadata == nil {
			result.Metadata = make(map[string]any, 1)
		}
		result.Metadata["transformed"] = int64(1)
	}
	items, _ = short.Data.([]any)
	numbers = make([]int, len(items))
	for i, item := range items {
		if record, ok := item.(map[string]any); ok {
			item = record[number]
		}
		numbers[i], _ = item.(int)
	}
	return numbers, true, nil
}
