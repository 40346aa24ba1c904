package payload

import (
	"fmt"
	"maps"
	"slices"

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
	list, ok := data.([]any)
	if !ok || len(list) < tableFrom {
		return nil, false
	}
	first, ok := list[0].(map[string]any)
	if !ok || len(first) == 0 {
		return nil, false
	}
	columns := slices.Sorted(maps.Keys(first))
	rows := make([]any, len(list))
	for i, item := range list {
		record, ok := item.(map[string]any)
		if !ok || len(record) != len(columns) {
			return nil, false
		}
		row := make([]any, len(columns))
		for j, name := range columns {
			value, ok := record[name]
			if !ok {
				return nil, false
			}
			row[j] = value
		}
		rows[i] = row
	}
	return map[string]any{"columns": columns, "rows": rows}, true
}

// recordsOf converts a table back to a list of records. The list reuses the table's memory, so the table
// can't be used afterwards.
func recordsOf(table fields) ([]any, error) {
	columns := table.texts("columns")
	rows, _ := table["rows"].([]any)
	// A column's name is sent once but applies to every row, and each record repeats it when the list is
	// encoded again. Without this limit, a short document could grow to more memory than the machine has.
	names := 0
	for _, name := range columns {
		if len(name) > maxColumn {
			return nil, fmt.Errorf("%w: the name of a column has %d bytes, but at most %d are accepted", ErrPayload, len(name), maxColumn)
		}
		names += len(name)
	}
	if names*len(rows) > protocol.MaxAnswer {
		return nil, fmt.Errorf("%w: the names of the columns, repeated for %d rows, need more than %d bytes", ErrPayload, len(rows), protocol.MaxAnswer)
	}
	if len(columns) == 0 || len(slices.Compact(slices.Sorted(slices.Values(columns)))) != len(columns) {
		return nil, fmt.Errorf("%w: the table has no columns, or two columns with the same name", ErrPayload)
	}
	for i, item := range rows {
		row, ok := item.([]any)
		if !ok || len(row) != len(columns) {
			return nil, fmt.Errorf("%w: row %d of a table does not have a value for each column", ErrPayload, i)
		}
		record := make(map[string]any, len(columns))
		for j, name := range columns {
			record[name] = row[j]
		}
		rows[i] = record // The record replaces the row.
	}
	return rows, nil
}
