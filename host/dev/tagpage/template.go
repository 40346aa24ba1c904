package tagpage

import (
	"html"
	"net/url"
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// fill returns template filled with the fields of record. Each % in template is replaced by the value of the
// next element of returns; [ and ] are replaced by < and >; the character after a backslash is copied as it is.
// index is the position of record in its list, from 0. An element of returns has one of these forms:
//
//	name    the field, HTML-escaped unless the name ends in _html or _htmlsafe
//	^name   the field, URI-encoded
//	+name   "checked" if the field is set and not 0, otherwise nothing
//	*num    "odd" or "even": odd for the first record
//	name::T if the field is a list of texts: the template T, once for each text
//	name::T::a::b if the field is a list of records: the template T, once for each record, filled with its
//		fields a and b
func fill(template string, returns []string, record map[string]any, index int) string {
	var b strings.Builder
	next := 0
	for i := 0; i < len(template); i++ {
		switch c := template[i]; c {
		case '\\':
			if i++; i < len(template) {
				b.WriteByte(template[i])
			}
		case '[':
			b.WriteByte('<')
		case ']':
			b.WriteByte('>')
		case '%':
			if next < len(returns) {
				b.WriteString(field(returns[next], record, index))
			}
			next++
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func field(spec string, record map[string]any, index int) string {
	name, inner, nested := strings.Cut(spec, "::")
	switch {
	case strings.HasPrefix(name, "*"):
		if index%2 == 0 {
			return "odd" // The first record has index 0 and is odd.
		}
		return "even"
	case strings.HasPrefix(name, "^"):
		return strings.ReplaceAll(url.QueryEscape(scalar(record[name[1:]])), "+", "%20")
	case strings.HasPrefix(name, "+"):
		if v := scalar(record[name[1:]]); v != "" && v != "0" {
			return "checked"
		}
		return ""
	}
	value := record[name]
	if list, ok := value.([]any); ok && nested {
		var b strings.Builder
		template, fields, _ := strings.Cut(inner, "::")
		for i, item := range list {
			if record, ok := item.(map[string]any); ok {
				b.WriteString(fill(template, strings.Split(fields, "::"), record, i))
				continue
			}
			b.WriteString(fill(template, []string{"item"}, map[string]any{"item": item}, i))
		}
		return b.String()
	}
	if strings.HasSuffix(name, "_html") || strings.HasSuffix(name, "_htmlsafe") {
		return scalar(value)
	}
	return html.EscapeString(scalar(value))
}

// scalar returns value as text. It returns "" for lists and records.
func scalar(value any) string {
	text, _ := protocol.ScalarText(value)
	return text
}
