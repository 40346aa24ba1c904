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

// whmNames maps names of WHM API 1 parameters to the names of the equivalent parameters of package listing. It
// contains the parameters that switch on filtering, sorting, selection of columns or paging, and the parameters
// that are numbers. listName converts all other names.
var whmNames = map[string]string{
	"api.filter.enable": "filter", "api.sort.enable": "sort", "api.columns.enable": "columns", "api.chunk.enable": "paginate",
	"api.chunk.start": "paginate_start", "api.chunk.size": "paginate_size",
}

// whmParts maps the last part of a WHM API 1 parameter to the equivalent part in package listing.
var whmParts = map[string]string{"field": "column", "type": "type", "arg0": "term", "reverse": "reverse", "method": "method"}

// listName returns the name of the parameter in package listing, or "" if it has none.
func listName(name string) string {
	parts := strings.Split(name, ".")
	switch to := whmNames[name]; {
	case to != "":
		return to
	case len(parts) == 3 && parts[1] == "columns":
		return "columns_" + parts[2]
	case len(parts) == 4 && whmParts[parts[3]] != "":
		return parts[1] + "_" + whmParts[parts[3]] + "_" + parts[2]
	}
	return ""
}

// takeListOptions removes the parameters for filtering, sorting and paging from v and returns them. Examples
// are api.filter.a.field, api.sort.a.field, api.chunk.size and api.columns.a. They mean the same as UAPI's
// parameters, but have other names. An error names the parameter that the client sent.
func takeListOptions(v request.Values) (o listOptions, problem *protocol.Error) {
	meta := make(map[string]string)
	sent := make(map[string]string) // The client's names of the parameters in meta.
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
		switch to := listName(name); {
		case to != "":
			meta[to], sent[to] = text, name
		case name == "api.filter.verbose":
			o.filter = text == "1"
		case name == "api.chunk.verbose":
			o.chunked = text == "1"
		}
	}
	for name, kind := range meta {
		if suffix, ok := strings.CutPrefix(name, "filter_type_"); ok && kind == "eq" {
			// eq compares texts in WHM, but numbers in UAPI.
			term := "filter_term_" + suffix
			meta[name], meta[term] = "matches", "^"+regexp.QuoteMeta(meta[term])+"$"
		}
	}
	o.shape, problem = listing.Parse(listing.Dialect{
		API: protocol.UAPI, FilterTypes: []string{"lt_equal", "gt_equal", "==", "!="},
		Name: func(parameter string) string { return sent[parameter] },
	}, meta)
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
