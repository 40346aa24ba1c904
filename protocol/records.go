package protocol

// Records is a long list of records with the same fields, in a form that needs much less memory than a list of maps.
// A list of 100,000 records with twenty fields takes about 15 MB, as the worker sent it, instead of 200 MB.
type Records interface {
	Len() int
	// Reader returns a function that returns the record with the given number, which counts from 0.
	Reader() func(number int) map[string]any
	// AppendJSON appends the list to out, as JSON on a single line with sorted keys. value appends every value that is
	// not text, a number, a boolean or nil; booleans become 1 and 0. If out becomes longer than MaxAnswer, AppendJSON
	// stops, and the JSON is not complete.
	AppendJSON(out []byte, value func(out []byte, value any) []byte) []byte
}

// Lazy is a list of records that are made only when they are sent, so that not all of them are in memory.
type Lazy interface {
	Len() int
	// Record returns the record with the given number, which counts from 0.
	Record(number int) map[string]any
}

// Plain returns data, the data of a Result, in the types that Result documents: a list of type Records becomes a list
// of maps.
func Plain(data any) any {
	records, ok := data.(Records)
	if !ok {
		return data
	}
	list, read := make([]any, records.Len()), records.Reader()
	for i := range list {
		list[i] = read(i)
	}
	return list
}
