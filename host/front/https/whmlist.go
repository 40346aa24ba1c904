package https

import (
	"context"
	"regexp"
	"strings"

	"github.com/liveapid/liveapid/host/front/https/request"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/listing"
)

// listOptions are the parameters of WHM API 1 for filtering, sorting and paging a list.
type listOptions struct {
	shape           listing.Options
	chunked, filter bool // Whether the metadata contains "chunk" and "filter".
}

// whmNames maps names of WHM API 1 parameters to the names of the equivalent UAPI parameters. It contains the
// parameters that switch on filtering, sorting, selection of columns or paging, and the parameters that are
// numbers. takeListOptions converts all other names.
var whmNames = map[string]string{
	"api.filter.enable": "api.filter", "api.sort.enable": "api.sort", "api.columns.enable": "api.columns", "api.chunk.enable": "api.paginate",
	"api.chunk.start": "api.paginate_start", "api.chunk.size": "api.paginate_size",
}

// takeListOptions removes the parameters for filtering, sorting and paging from v and returns them. Examples
// are api.filter.a.field, api.sort.a.field, api.chunk.size and api.columns.a. They mean the same as UAPI's
// parameters, but have other names.
func takeListOptions(v request.Values) (o listOptions, problem *protocol.Error) {
	meta := make(map[string]any)
	for name, values := range v {
		if !strings.HasPrefix(name, "api.") || name == "api.version" {
			continue
		}
		delete(v, name)
		text, ok := values[0].(string)
		if number, isNumber := values[0].(protocol.Number); isNumber {
			text, ok = string(number), true
		}
		if !ok || len(values) != 1 {
			return o, protocol.NewError(protocol.KindInvalid, "The ‘"+name+"’ argument must be text and must not be repeated.")
		}
		switch to, parts := whmNames[name], strings.Split(name, "."); {
		case to != "":
			meta[to] = text
		case name == "api.filter.verbose":
			o.filter = text == "1"
		case name == "api.chunk.verbose":
			o.chunked = text == "1"
		case len(parts) == 3 && parts[1] == "columns":
			meta["api.columns_"+parts[2]] = text
		case len(parts) == 4:
			if part := map[string]string{"field": "column", "type": "type", "arg0": "term", "reverse": "reverse", "method": "method"}[parts[3]]; part != "" {
				meta["api."+parts[1]+"_"+part+"_"+parts[2]] = text
			}
		}
	}
	for name, kind := range meta {
		switch suffix, ok := strings.CutPrefix(name, "api.filter_type_"); {
		case ok && kind == "eq": // eq compares texts in WHM, but numbers in UAPI.
			meta[name] = "matches"
			term, _ := meta["api.filter_term_"+suffix].(string)
			meta["api.filter_term_"+suffix] = "^" + regexp.QuoteMeta(term) + "$"
		case ok && kind == "==":
			meta[name] = "eq"
		case ok && kind == "!=":
			meta[name] = "ne"
		}
	}
	o.shape, _, problem = listing.Split(protocol.UAPI, meta)
	return o, problem
}

// apply filters, sorts and pages the records. It returns the remaining records and the metadata for the
// answer. Errors are those of package listing.
func (o listOptions) apply(ctx context.Context, records []any, pause func(context.Context) error) ([]any, map[string]any, error) {
	result := &protocol.Result{Data: records}
	if err := o.shape.Apply(ctx, result, pause); err != nil {
		return nil, nil, err
	}
	shaped, _ := result.Data.([]any)
	meta := map[string]any{}
	if o.filter && result.Metadata["filter"] != nil {
		left := len(shaped)
		if n, ok := protocol.WholeNumber(result.Paginate["total_results"]); ok {
			left = int(n)
		}
		meta["filter"] = map[string]any{"filtered": len(records) - left}
	}
	if o.chunked && result.Paginate != nil {
		total, _ := protocol.WholeNumber(result.Paginate["total_results"])
		size, _ := protocol.WholeNumber(result.Paginate["results_per_page"])
		current, _ := protocol.WholeNumber(result.Paginate["current_page"])
		meta["chunk"] = map[string]any{
			"start": result.Paginate["start_result"], "size": size, "records": total, "current": current, "chunks": result.Paginate["total_pages"],
		}
	}
	return shaped, meta, nil
}
