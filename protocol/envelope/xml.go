package envelope

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"slices"
	"strings"
	"unicode/utf8"
)

// XML returns a JSON envelope as the XML twin that cPanel's clients read: what stands
// inside <cpanelresult>. Keys become elements in their order by name, a list is its
// element repeated, null an empty element. The result is one line without the closing
// marker, whatever the values hold.
func XML(envelope []byte) []byte {
	dec := json.NewDecoder(bytes.NewReader(envelope))
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		return nil // Envelopes are made here, and always decode.
	}
	if object, ok := value.(map[string]any); ok && len(object) == 1 && object["cpanelresult"] != nil {
		value = object["cpanelresult"] // API 2's own level is the marker itself.
	}
	var b bytes.Buffer
	if object, ok := value.(map[string]any); ok {
		writeObject(&b, object)
	} else {
		writeElement(&b, "data", value)
	}
	return b.Bytes()
}

func writeObject(b *bytes.Buffer, object map[string]any) {
	keys := make([]string, 0, len(object))
	for key := range object {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		writeElement(b, key, object[key])
	}
}

func writeElement(b *bytes.Buffer, key string, value any) {
	name := elementName(key)
	if list, ok := value.([]any); ok {
		for _, item := range list {
			if nested, ok := item.([]any); ok { // A list in a list gets a level of its own.
				item = map[string]any{"item": nested}
			}
			writeElement(b, key, item)
		}
		return
	}
	b.WriteString("<" + name + ">")
	switch v := value.(type) {
	case map[string]any:
		writeObject(b, v)
	case string:
		_ = xml.EscapeText(b, []byte(legalText(v))) // A buffer takes everything.
	case json.Number:
		b.WriteString(v.String())
	case bool:
		if v {
			b.WriteByte('1')
		} else {
			b.WriteByte('0')
		}
	}
	b.WriteString("</" + name + ">")
}

// elementName makes a key an element's name: what XML does not allow there becomes '_'.
// The name of the marker is not taken twice.
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

// legalText replaces what XML 1.0 can't carry, in whatever spelling.
func legalText(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r != 0xFFFE && r != 0xFFFF {
			return r
		}
		return utf8.RuneError
	}, s)
}
