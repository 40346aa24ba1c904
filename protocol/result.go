package protocol

// Result is the outcome of a call, independent of the API. Package envelope encodes it in the form of an API.
type Result struct {
	// Data is the data that the function returned: a []any of records for API 2, any value for UAPI, and the
	// printed text for API 1. The types of the values are nil, string, bool, int64, uint64, float64, []any
	// and map[string]any. For a call with Compact, it may also be a Records.
	Data     any
	Messages []string       // Messages for information.
	Warnings []string       // Problems that did not make the call fail.
	Metadata map[string]any // UAPI's metadata; nil means none.
	// Paginate describes the page if the list was paged; otherwise it is nil.
	Paginate map[string]any
	// Shaped means that the list is filtered, sorted and paged already, as the host asked the plugin to do.
	Shaped bool
	// No means that the function ran and answers no: UAPI's status is 0, without an error. The documentation
	// of Features::has_feature describes this form.
	No  bool
	Err *Error // Nil on success. If set, Data has no meaning.
}

// MockedKey is the key of UAPI's metadata that marks an answer that no module gave: its value names the file that the
// answer comes from.
const MockedKey = "liveapid_mocked"

// Failed returns the Result of a call that failed with err.
func Failed(err *Error) *Result { return &Result{Err: err} }
