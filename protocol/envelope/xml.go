package envelope

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/liveapid/liveapid/protocol"
)

// XML converts a JSON envelope to the content of <cpanelresult>, in the XML form that cPanel's clients
// expect. Each key becomes an element, and the elements of an object are sorted by name. A list becomes an
// element for each item, all with the same name, and null becomes an empty element. The output is a single
// line and never contains </cpanelresult>, whatever the values are. The output can be much larger than the
// JSON, because a list repeats its name for each item. The parameter most is the maximum size of the output
// in bytes; if the output is larger, ok is false.
func XML(envelope []byte, most int) (out []byte, ok bool) {
	dec := json.NewDecoder(bytes.NewReader(envelope))
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		return nil, false // Unreachable: this program wrote the envelope.
	}
	if object, ok := value.(map[string]any); ok && len(object) == 1 && object["cpanelresult"] != nil {
		value = object["cpanelresult"] // Unwrapped: the host writes the element <cpanelresult>.
	}
	w := &xmlWriter{most: most}
	if object, ok := value.(map[string]any); ok {
		w.object(object)
	} else {
		w.element("data", value)
	}
	return w.Bytes(), w.Len() <= most
}

// xmlWriter writes elements into a buffer. It stops when the buffer's length in bytes exceeds the field most.
type xmlWriter struct {
	bytes.Buffer
	most int
}

func (w *xmlWriter) object(object map[string]any) {
	keys := make([]string, 0, len(object))
	for key := range object {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		w.element(key, object[key])
	}
}

func (w *xmlWriter) element(key string, value any) {
	if w.Len() > w.most {
		return
	}
	name := elementName(key)
	if list, ok := value.([]any); ok {
		for _, item := range list {
			if nested, ok := item.([]any); ok { // A list in a list: its items become <item> elements.
				item = map[string]any{"item": nested}
			}
			w.element(key, item)
		}
		return
	}
	w.WriteString("<" + name + ">")
	switch v := value.(type) {
	case map[string]any:
		w.object(v)
	default:
		if text, ok := protocol.ScalarText(v); ok {
			_ = xml.EscapeText(w, []byte(legalText(text))) // A bytes.Buffer returns no error.
		}
	}
	w.WriteString("</" + name + ">")
}

// elementName returns the name of the element for a key. Characters that are not allowed in a name become
// '_'. A name that would be invalid, reserved by XML or equal to the marker "cpanelresult" gets the prefix
// '_'.
func elementName(key string) string {
	name := strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, key)
	first := byte('0')
	if name != "" {
		first = name[0]
	}
	if first == '-' || first == '.' || first >= '0' && first <= '9' || strings.EqualFold(name, "cpanelresult") || len(name) >= 3 && strings.EqualFold(name[:3], "xml") {
		return "_" + name
	}
	return name
}

// legalText replaces the characters that XML 1.0 forbids, even as escapes, by U+FFFD.
func legalText(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r != 0xFFFE && r != 0xFFFF {
			return r
		}
		return utf8.RuneError
	}, s)
}
