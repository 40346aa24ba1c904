package protocol

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Clip shortens a text to at most limit bytes before it is logged or shown. It never cuts inside a rune: an
// ellipsis marks the cut, and a question mark stands for bytes that are not UTF-8.
func Clip(text string, limit int) string {
	if len(text) <= limit {
		return strings.ToValidUTF8(text, "?")
	}
	for limit > 0 && text[limit]&0xc0 == 0x80 { // The middle of a rune, if the text is valid.
		limit--
	}
	return strings.ToValidUTF8(text[:limit], "?") + "…"
}

// ScalarText returns a scalar value as cPanel's answers spell it: booleans are 1 and 0, and numbers have no
// exponent. It returns false for nil, lists and maps.
func ScalarText(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case Number:
		return string(v), true
	case json.Number:
		return v.String(), true
	case bool:
		if v {
			return "1", true
		}
		return "0", true
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return "", false
}

// WholeNumber returns a value of a worker's answer as an integer. A number beyond the range of int64 is
// lowered to 2^62. It returns false if the value is not a whole number.
func WholeNumber(value any) (int64, bool) {
	switch n := value.(type) {
	case int:
		return int64(n), true
	case int64:
		return n, true
	case uint64:
		return int64(min(n, 1<<62)), true
	}
	return 0, false
}
