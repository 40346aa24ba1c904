package payload

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/liveapid/liveapid/protocol"
)

// AppendJSON implements protocol.Records.
func (r *records) AppendJSON(out []byte, value func([]byte, any) []byte) []byte {
	order, keys := r.keys()
	most := len(r.doc) // About the size of the values.
	for _, key := range keys {
		most += len(r.rows) * (len(key) + 3)
	}
	out = append(growBy(out, min(most, protocol.MaxAnswer)), '[')
	places := make([]int, len(r.columns))
	for i, at := range r.rows {
		if len(out) > protocol.MaxAnswer {
			return out
		}
		if i > 0 {
			out = append(out, ',')
		}
		for column := range r.columns {
			places[column] = at
			at = after(r.doc, at)
		}
		out = append(out, '{')
		for n, column := range order {
			if n > 0 {
				out = append(out, ',')
			}
			out = append(out, keys[n]...)
			out = appendJSON(out, r.doc, places[column], value)
		}
		out = append(out, '}')
	}
	return append(out, ']')
}

// keys returns the columns in the order of their names, and the name of each of them as a key in JSON.
func (r *records) keys() (order []int, keys [][]byte) {
	for column := range r.columns {
		order = append(order, column)
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(r.columns[a], r.columns[b]) })
	for _, column := range order {
		keys = append(keys, append(appendText(nil, []byte(r.columns[column])), ':'))
	}
	return order, keys
}

// growBy returns out with room for n more bytes.
func growBy(out []byte, n int) []byte {
	if cap(out)-len(out) >= n {
		return out
	}
	grown := make([]byte, len(out), len(out)+n)
	copy(grown, out)
	return grown
}

// appendJSON appends the value at the given place of a checked document as JSON.
func appendJSON(out, doc []byte, at int, other func([]byte, any) []byte) []byte {
	switch c := doc[at]; {
	case c <= 0x7f:
		return strconv.AppendInt(out, int64(c), 10)
	case c >= 0xe0:
		return strconv.AppendInt(out, int64(int8(c)), 10)
	case c >= 0xcc && c <= 0xd3: // Integers of 1, 2, 4 or 8 bytes.
		return appendInteger(out, c, doc[at+1:])
	case c == nilByte:
		return append(out, "null"...)
	case c == 0xc2:
		return append(out, '0')
	case c == 0xc3:
		return append(out, '1')
	case c == 0xcb:
		if f := math.Float64frombits(binary.BigEndian.Uint64(doc[at+1:])); f == 0 || math.Abs(f) >= 1e-6 && math.Abs(f) < 1e21 {
			return strconv.AppendFloat(out, f, 'f', -1, 64)
		}
	case c >= 0xa0 && c <= 0xbf || c >= 0xd9 && c <= 0xdb || c >= 0xc4 && c <= 0xc6:
		size, _, _ := header(doc[at:])
		head := 1
		switch {
		case c >= 0xd9:
			head += 1 << (c - 0xd9)
		case c >= 0xc4 && c <= 0xc6:
			head += 1 << (c - 0xc4)
		}
		return appendText(out, doc[at+head:at+int(size)])
	}
	value, err := decodeChecked(doc[at:after(doc, at)])
	if err != nil {
		value = nil // Unreachable: the document is checked.
	}
	return other(out, value)
}

// appendInteger appends the integer of the given type whose bytes begin b.
func appendInteger(out []byte, kind byte, b []byte) []byte {
	switch kind {
	case 0xcc:
		return strconv.AppendUint(out, uint64(b[0]), 10)
	case 0xcd:
		return strconv.AppendUint(out, uint64(binary.BigEndian.Uint16(b)), 10)
	case 0xce:
		return strconv.AppendUint(out, uint64(binary.BigEndian.Uint32(b)), 10)
	case 0xcf:
		return strconv.AppendUint(out, binary.BigEndian.Uint64(b), 10)
	case 0xd0:
		return strconv.AppendInt(out, int64(int8(b[0])), 10)
	case 0xd1:
		return strconv.AppendInt(out, int64(int16(binary.BigEndian.Uint16(b))), 10)
	case 0xd2:
		return strconv.AppendInt(out, int64(int32(binary.BigEndian.Uint32(b))), 10)
	}
	return strconv.AppendInt(out, int64(binary.BigEndian.Uint64(b)), 10)
}

// appendText appends a text as JSON, as encoding/json does.
func appendText(out, text []byte) []byte {
	for _, c := range text {
		if c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(string(text))
			if err != nil {
				return append(out, `""`...) // Unreachable: each string can be encoded.
			}
			return append(out, quoted...)
		}
	}
	out = append(out, '"')
	out = append(out, text...)
	return append(out, '"')
}
