package sdk

import (
	"context"
	"maps"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/listing"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
)

// List is a list of records, as data of a function, that are made only when they are needed: for a page of a long list,
// only those on the page. All records have the same fields.
type List struct {
	Len int
	// Make returns the record with the given number, which counts from 0.
	Make func(number int) map[string]any
	// Prepare is called once before Make, with the numbers of the records that are needed; nil means all. It reads
	// the data for Make. It may be nil.
	Prepare func(ctx context.Context, numbers []int) error
	// Columns are the fields whose values are known without Prepare, and Field returns them. A list that is filtered
	// or sorted only by them need not be made as a whole. They may be nil.
	Columns []string
	Field   func(number int, column string) any
}

// prepared is a List after Prepare. It implements protocol.Lazy.
type prepared struct {
	list    *List
	numbers []int // Nil means all.
	narrow  func(map[string]any) map[string]any
}

var _ protocol.Lazy = (*prepared)(nil)

func (p *prepared) Len() int {
	if p.numbers != nil {
		return len(p.numbers)
	}
	return p.list.Len
}

func (p *prepared) Record(number int) map[string]any {
	if p.numbers != nil {
		number = p.numbers[number]
	}
	return p.narrow(p.list.Make(number))
}

// plain returns data with all records of a List.
func plain(ctx context.Context, data any) (any, error) {
	if list, ok := data.(*List); ok {
		return list.All(ctx)
	}
	return value(data)
}

// prepare reads the data for the records with the given numbers.
func (l *List) prepare(ctx context.Context, numbers []int, narrow func(map[string]any) map[string]any) (*prepared, error) {
	if l.Prepare != nil {
		if err := l.Prepare(ctx, numbers); err != nil {
			return nil, err
		}
	}
	return &prepared{list: l, numbers: numbers, narrow: narrow}, nil
}

// Map returns the list with each record changed by change.
func (l *List) Map(change func(record map[string]any)) *List {
	out := *l
	out.Make = func(number int) map[string]any {
		record := l.Make(number)
		change(record)
		return record
	}
	return &out
}

// All makes all records.
func (l *List) All(ctx context.Context) ([]any, error) {
	p, err := l.prepare(ctx, nil, func(record map[string]any) map[string]any { return record })
	if err != nil {
		return nil, err
	}
	all := make([]any, p.Len())
	for i := range all {
		all[i] = p.Record(i)
	}
	return all, nil
}

// shape sets the data of result, filtered, sorted and paged as the request asks.
func shape(ctx context.Context, request payload.Request, data any, result *protocol.Result) error {
	var options listing.Options
	if request.Shape != nil {
		var invalid *protocol.Error
		options, invalid = listing.Parse(listing.Dialect{API: request.Call.API, Name: func(name string) string { return name }}, request.Shape)
		if invalid != nil {
			return invalid
		}
		result.Shaped = true
	}
	list, ok := data.(*List)
	if !ok {
		data, err := value(data)
		if err != nil {
			return err
		}
		result.Data = anyList(data)
		return options.Apply(ctx, result, nil)
	}
	if request.Shape == nil {
		all, err := list.prepare(ctx, nil, options.Narrow)
		result.Data = all
		return err
	}
	numbers, ok, err := options.Select(ctx, listing.Source{Len: list.Len, Columns: list.Columns, Field: list.Field}, result)
	if err != nil {
		return err
	}
	if !ok {
		if result.Data, err = list.All(ctx); err != nil {
			return err
		}
		return options.Apply(ctx, result, nil)
	}
	result.Data, err = list.prepare(ctx, numbers, options.Narrow)
	return err
}

// anyList returns a list of any type that a function may return as a []any, and other data as it is.
func anyList(data any) any {
	switch list := data.(type) {
	case []map[string]any:
		out := make([]any, len(list))
		for i, record := range list {
			out[i] = maps.Clone(record)
		}
		return out
	case []string:
		out := make([]any, len(list))
		for i, text := range list {
			out[i] = text
		}
		return out
	}
	return data
}
