package tagpage

import (
	"html"
	"net/url"
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// fill returns a template filled with the fields of a record. Each % stands for the next return, [ and ] for
// < and >, and a backslash keeps the following character as it is.
//
//	name    the field, HTML-escaped unless its name says that it is HTML already
//	^name   URI-encoded
//	+name   checked, if the field is set and not 0
//	*num    odd or even, by the record's place
//	name::T of a list of texts: T once for each item
//	name::T::a::b of a list of records: T once for each, its % being their fields a and b
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
			return "odd" // The first record is odd.
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

// scalar returns a value as text. Lists and records have no text.
func scalar(value any) string {
	text, _ := protocol.ScalarText(value)
	return text
}
