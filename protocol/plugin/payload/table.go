package payload

import (
	"fmt"
	"maps"
	"slices"

	"github.com/liveapid/liveapid/protocol"
)

// A long list of records with the same fields is sent as a table, with the names of the fields once:
// {"columns": ["email", ...], "rows": [["a@example.com", ...], ...]}. It is about a third as long.

// tableFrom is the number of records from which a table is used.
const tableFrom = 64

// maxColumn limits a column's name, in bytes.
const maxColumn = 256

// tableOf returns data as a table if it is a list of such records.
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

// recordsOf returns the list in a table.
func recordsOf(table fields) ([]any, error) {
	columns := table.texts("columns")
	rows, _ := table["rows"].([]any)
	// Each name is sent once and repeated for each row, so a short document could need more memory than there
	// is.
	names := 0
	for _, name := range columns {
		if len(name) > maxColumn {
			return nil, fmt.Errorf("%w: a column's name of %d bytes, at most %d are accepted", ErrPayload, len(name), maxColumn)
		}
		names += len(name)
	}
	if names*len(rows) > protocol.MaxAnswer {
		return nil, fmt.Errorf("%w: the names of %d rows need more than %d bytes", ErrPayload, len(rows), protocol.MaxAnswer)
	}
	if len(columns) == 0 || len(slices.Compact(slices.Sorted(slices.Values(columns)))) != len(columns) {
		return nil, fmt.Errorf("%w: a table without columns, or with two columns of the same name", ErrPayload)
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
		rows[i] = record // The record replaces the row in place.
	}
	return rows, nil
}
