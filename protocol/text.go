package protocol

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clip truncates a text to at most limit bytes, before the text is logged or shown. It does not cut inside a
// character, adds "…" after a cut, and replaces bytes that are not UTF-8 by "?".
func Clip(text string, limit int) string {
	if len(text) <= limit {
		return strings.ToValidUTF8(text, "?")
	}
	for limit > 0 && text[limit]&0xc0 == 0x80 { // Moves back to the start of a character.
		limit--
	}
	return strings.ToValidUTF8(text[:limit], "?") + "…"
}

// ScalarText returns a string, number or boolean as text, in the form that cPanel's answers use: booleans are
// 1 and 0, and numbers are written without an exponent. For nil, lists, maps and other types, it returns
// false.
func ScalarText(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case Number:
		return string(v), true
	case []byte:
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

// WholeNumber converts a value from a worker's answer to int64. It returns false if the type of the value is
// not an integer type. An unsigned integer larger than 2^62 becomes 2^62, so that it can't overflow.
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

const hexDigits = "0123456789abcdef"

// Visible returns text with every character that is not printable replaced by its number, such as \x1b: a terminal
// could obey it. Printable characters, spaces and tabs stay as they are.
func Visible(text string) string {
	shown := func(r rune) bool { return r == '\t' || unicode.IsPrint(r) }
	if utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return !shown(r) }) < 0 {
		return text
	}
	var out strings.Builder
	for i, r := range text {
		_, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1, r < utf8.RuneSelf && !shown(r):
			out.WriteString(`\x`)
			out.WriteByte(hexDigits[text[i]>>4])
			out.WriteByte(hexDigits[text[i]&15])
		case shown(r):
			out.WriteRune(r)
		default:
			_, _ = fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.String()
}
