package payload

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/liveapid/liveapid/protocol"
)

// A long list of records with the same fields is sent as a table, in which the names of the fields appear
// only once: {"columns": ["email", ...], "rows": [["a@example.com", ...], ...]}. Such a document has about a
// third of the size that the list of records would have.

// tableFrom is the minimum number of records for which a table is used.
const tableFrom = 64

// maxColumn is the maximum length of the name of a column, in bytes.
const maxColumn = 256

// tableOf returns data as a table. It returns false if data is not a list of at least tableFrom records with
// the same fields.
func tableOf(data any) (map[string]any, bool) {
	list, ok := listOf(data)
	if !ok || list.Len() < tableFrom {
		return nil, false
	}
	columns := slices.Sorted(maps.Keys(list.Record(0)))
	if len(columns) == 0 {
		return nil, false
	}
	if _, lazy := data.(protocol.Lazy); !lazy {
		// The records of a Lazy have the same fields: encode returns an error if not.
		for i := range list.Len() {
			if !has(list.Record(i), columns) {
				return nil, false
			}
		}
	}
	return map[string]any{"columns": columns, "rows": &rows{columns: columns, list: list}}, true
}

func has(record map[string]any, columns []string) bool {
	if len(record) != len(columns) {
		return false
	}
	for _, name := range columns {
		if _, ok := record[name]; !ok {
			return false
		}
	}
	return true
}

// rows are the rows of a table that are encoded record by record.
type rows struct {
	columns []string
	list    protocol.Lazy
}

func (r *rows) encode(enc *msgpack.Encoder) error {
	if err := enc.EncodeArrayLen(r.list.Len()); err != nil {
		return err
	}
	for i := range r.list.Len() {
		record := r.list.Record(i)
		if !has(record, r.columns) {
			return fmt.Errorf("payload: record %d of a list does not have the same fields as the first one", i)
		}
		if err := enc.EncodeArrayLen(len(r.columns)); err != nil {
			return err
		}
		for _, name := range r.columns {
			if err := encode(enc, record[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

// made is a list of records that exist already.
type made []any

func (m made) Len() int { return len(m) }

// Record implements protocol.Lazy. It returns nil if the value is not a record.
func (m made) Record(number int) map[string]any {
	record, _ := m[number].(map[string]any)
	return record
}

func listOf(data any) (protocol.Lazy, bool) {
	switch list := data.(type) {
	case protocol.Lazy:
		return list, true
	case []any:
		return made(list), true
	}
	return nil, false
}

// whole returns data with the records of a Lazy.
func whole(data any) any {
	lazy, ok := data.(protocol.Lazy)
	if !ok {
		return data
	}
	list := make([]any, lazy.Len())
	for i := range list {
		list[i] = lazy.Record(i)
	}
	return list
}

// records is a table as it was received. It implements protocol.Records.
type records struct {
	columns []string
	doc     []byte // The document that contains the rows.
	rows    []int  // Where the values of each row begin in doc.
}

var _ protocol.Records = (*records)(nil)

// recordsOf returns the table that is at table in a checked document.
func recordsOf(doc []byte, table part) (*records, error) {
	parts, err := partsOf(doc, table, "columns", "rows")
	if err != nil {
		return nil, err
	}
	if _, ok := parts["columns"]; !ok || parts["rows"].to == 0 {
		return nil, fmt.Errorf("%w: the table has no columns, or no rows", ErrPayload)
	}
	value, err := decodeChecked(doc[parts["columns"].from:parts["columns"].to])
	if err != nil {
		return nil, err
	}
	columns := fields{"columns": value}.texts("columns")
	if list, ok := value.([]any); !ok || len(list) != len(columns) {
		return nil, fmt.Errorf("%w: the columns of a table are not a list of texts", ErrPayload)
	}
	r := &records{columns: columns, doc: doc}
	at, count, err := r.list(parts["rows"].from)
	if err != nil {
		return nil, err
	}
	// A column's name is sent once but applies to every row, and each record repeats it when the list is
	// encoded again. Without this limit, a short document could grow to more memory than the machine has.
	quoted := 0 // As they are in JSON.
	for _, name := range columns {
		if len(name) > maxColumn {
			return nil, fmt.Errorf("%w: the name of a column has %d bytes, but at most %d are accepted", ErrPayload, len(name), maxColumn)
		}
		quoted += len(appendText(nil, []byte(name)))
	}
	if quoted*count > protocol.MaxAnswer {
		return nil, fmt.Errorf("%w: the names of the columns, repeated for %d rows, need more than %d bytes", ErrPayload, count, protocol.MaxAnswer)
	}
	if len(columns) == 0 || len(slices.Compact(slices.Sorted(slices.Values(columns)))) != len(columns) {
		return nil, fmt.Errorf("%w: the table has no columns, or two columns with the same name", ErrPayload)
	}
	r.rows = make([]int, count)
	for i := range count {
		values, n, err := r.list(at)
		if err != nil || n != len(columns) {
			return nil, fmt.Errorf("%w: row %d of a table does not have a value for each column", ErrPayload, i)
		}
		r.rows[i] = values
		for at = values; n > 0; n-- {
			value := at
			_, children, _ := header(doc[at:])
			if at = after(doc, at); children == 0 {
				continue
			}
			// Only lists and maps can have errors that WalkNodes does not see, such as a repeated key.
			if _, err := decodeChecked(doc[value:at]); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// list returns the number of values of the list at the given place, and where the first of them is.
func (r *records) list(at int) (first, count int, _ error) {
	if at >= len(r.doc) || r.doc[at]&0xf0 != 0x90 && r.doc[at] != 0xdc && r.doc[at] != 0xdd {
		return 0, 0, fmt.Errorf("%w: the rows of a table are not lists", ErrPayload)
	}
	size, children, err := header(r.doc[at:])
	return at + int(size), int(children), err
}

// Len implements protocol.Records.
func (r *records) Len() int { return len(r.rows) }

// Reader implements protocol.Records.
func (r *records) Reader() func(number int) map[string]any {
	var in bytes.Reader
	dec := newDecoder(&in)
	return func(number int) map[string]any {
		record := make(map[string]any, len(r.columns))
		in.Reset(r.doc[r.rows[number]:])
		dec.Reset(&in)
		configure(dec)
		for _, name := range r.columns {
			value, err := dec.DecodeInterfaceLoose()
			if err != nil {
				value = nil // Unreachable: the document is checked.
			}
			record[name] = texts(value)
		}
		return record
	}
}
