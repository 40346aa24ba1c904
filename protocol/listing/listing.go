// Package listing filters, sorts and pages the list of records in a Result, and selects columns of the
// records. The meta-parameters of a call control these steps: api2_filter, api2_sort, api2_paginate and
// api2_columns in API 2, and api.filter, api.sort, ... in UAPI. The package works with the result of any
// module and depends on none. docs/envelopes.md describes the parameters and their sources.
package listing

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/liveapid/liveapid/protocol"
)

// Options are the parsed meta-parameters of a call. The zero value leaves a result unchanged.
type Options struct {
	api     protocol.API
	filters []filter
	sorts   []sortKey
	page    *page
	columns []string // The columns to keep; nil keeps all.
	meta    map[string]string
}

// Meta returns the meta-parameters from which the options were parsed, as Parse takes them.
func (o Options) Meta() map[string]string { return o.meta }

// empty reports whether the options leave every list unchanged.
func (o Options) empty() bool {
	return len(o.filters)+len(o.sorts)+len(o.columns) == 0 && o.page == nil
}

// Split separates the meta-parameters of a call from the function's own arguments. It returns the parsed
// meta-parameters and the other arguments. For API 1, which has no meta-parameters, named is returned
// unchanged. An error names the invalid parameter.
func Split(api protocol.API, named map[string]any) (Options, map[string]any, *protocol.Error) {
	prefix := map[protocol.API]string{protocol.API2: "api2_", protocol.UAPI: "api."}[api]
	o := Options{api: api}
	if prefix == "" {
		return o, named, nil
	}
	meta := make(map[string]string)
	own := make(map[string]any, len(named))
	for name, value := range named {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok || !isMeta(rest) {
			own[name] = value
			continue
		}
		text, ok := protocol.ScalarText(value)
		if value == nil {
			text, ok = "", true
		}
		if !ok {
			return o, nil, protocol.NewError(protocol.KindInvalid, "The ‘"+name+"’ argument must be text.")
		}
		meta[rest] = text
	}
	if len(meta) == 0 {
		return o, named, nil
	}
	o, err := Parse(Dialect{API: api, Name: func(parameter string) string { return prefix + parameter }}, meta)
	return o, own, err
}

// Dialect is how an API writes the meta-parameters of its calls.
type Dialect struct {
	API protocol.API
	// Name returns the name that the caller uses for a parameter, for messages. Its argument is the name in
	// UAPI without the prefix "api.", for example "filter_type_0".
	Name func(parameter string) string
	// FilterTypes are the comparison operators that the API has beside those of UAPI. WHM API 1 has lt_equal,
	// gt_equal, and == and !=, which are other names of eq and ne.
	FilterTypes []string
}

// Parse parses meta-parameters. Their names are those of UAPI without the prefix "api.". An error names the
// invalid parameter as the caller wrote it.
func Parse(d Dialect, meta map[string]string) (Options, *protocol.Error) {
	p := parser{dialect: d, meta: meta}
	o := Options{api: d.API, meta: meta}
	o.filters = p.filters(d.API == protocol.UAPI)
	o.sorts = p.sorts()
	o.page = p.page()
	o.columns = p.columns()
	return o, p.err
}

// isMeta reports whether name is the name of a meta-parameter, without the prefix "api2_" or "api.".
func isMeta(name string) bool {
	for _, family := range []string{"filter", "sort", "paginate", "columns", "analytics"} {
		if name == family || strings.HasPrefix(name, family+"_") {
			return true
		}
	}
	return false
}

// Apply filters, sorts and pages the list in result, and then selects columns. A result that is not a
// successful list stays unchanged. Filtering and sorting a long list takes computing time, so Apply calls
// pause after every few milliseconds of it. pause may wait, so that other work can run, or return an error to
// stop; pause may be nil. Apply returns the error of pause or ctx, or a *protocol.Error if the filters would
// take too long.
func (o Options) Apply(ctx context.Context, result *protocol.Result, pause func(context.Context) error) error {
	if result.Err != nil || o.empty() {
		return nil
	}
	records, packed := result.Data.(protocol.Records)
	list, ok := result.Data.([]any)
	if !ok && !packed {
		return nil
	}
	o.filters = slices.Clone(o.filters) // A copy: compile must not change the filters of a shared o.
	w := &work{ctx: ctx, pause: pause, started: time.Now(), steps: maxSteps}
	if err := o.compile(w); err != nil {
		return err
	}
	if packed {
		list = make([]any, records.Len())
		read := records.Reader()
		for i := 0; i < len(list) && w.tick(); i++ {
			list[i] = read(i)
		}
		if w.err != nil {
			return w.err
		}
	}
	meta := make(map[string]any)
	maps.Copy(meta, result.Metadata)
	if len(o.filters) > 0 {
		before := len(list)
		list = slices.DeleteFunc(slices.Clone(list), func(record any) bool { return w.tick() && !o.matches(record, w) })
		if o.api == protocol.UAPI {
			// Some clients read the key in metadata itself, others the key in the object "filter".
			meta["records_before_filter"] = int64(before)
			meta["filter"] = map[string]any{"records_before_filter": int64(before)}
		}
	}
	if len(o.sorts) > 0 {
		list = o.sorted(list, w)
	}
	if w.err != nil {
		return w.err
	}
	if o.page != nil {
		var info map[string]any
		list, info = o.page.cut(list)
		result.Paginate = info
		if o.api == protocol.UAPI {
			meta["paginate"] = info
		}
	}
	if o.columns != nil {
		list = o.narrowed(list, w)
	}
	if w.err != nil {
		return w.err
	}
	if o.api == protocol.UAPI {
		meta["transformed"] = int64(1)
	}
	result.Data, result.Metadata = list, meta
	return nil
}

func (o Options) narrowed(list []any, w *work) []any {
	out := make([]any, len(list))
	for i, item := range list {
		if !w.tick() {
			return list
		}
		out[i] = item
		if record, ok := item.(map[string]any); ok {
			out[i] = o.Narrow(record)
		}
	}
	return out
}

// Narrow returns a record with the selected columns only. If none are selected, it returns the whole record.
func (o Options) Narrow(record map[string]any) map[string]any {
	if o.columns == nil {
		return record
	}
	narrow := make(map[string]any, min(len(o.columns), len(record)))
	for _, name := range o.columns {
		if value, ok := record[name]; ok {
			narrow[name] = value
		}
	}
	return narrow
}
