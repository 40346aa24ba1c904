package protocol

// Result is the outcome of a call, before an envelope gives it an API's form.
type Result struct {
	// Data is the data: for API 2 a []any of records, for UAPI any value, for API 1 the printed text. Values
	// are nil, string, bool, int64, uint64, float64, []any and map[string]any.
	Data     any
	Messages []string       // Informational.
	Warnings []string       // Problems that did not stop the call.
	Metadata map[string]any // UAPI's metadata; nil means none.
	// Paginate describes the page if the list was paged, otherwise it is nil.
	Paginate map[string]any
	Err      *Error // Nil on success; otherwise Data has no meaning.
}

// Failed returns a result with err.
func Failed(err *Error) *Result { return &Result{Err: err} }
