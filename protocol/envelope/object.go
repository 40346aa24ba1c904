package envelope

import (
	"encoding/json"

	"github.com/liveapid/liveapid/protocol"
)

// member is a key of an object and the value of that key.
type member struct {
	key   string
	value any // A result of clean, an object or a []string; may be nil.
}

// object is an envelope with keys in a fixed order. Each envelope is built once, as an object, and then
// encoded in two ways: as JSON, with its keys in this order, or as a map, for encodings with strings that may
// contain any byte.
type object []member

// addText adds a key with a text. If the text is empty, addText adds nothing, because cPanel omits the key
// then.
func (o object) addText(key, text string) object {
	if text == "" {
		return o
	}
	return append(o, member{key, text})
}

// json returns the object as JSON on a single line. The members keep their order. Inside their values,
// encoding/json sorts the keys of maps, escapes '<', '>' and '&', and replaces bytes that are not UTF-8.
func (o object) json() []byte { return o.appendJSON(nil) }

func (o object) appendJSON(out []byte) []byte {
	out = append(out, '{')
	for i, m := range o {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, '"')
		out = append(out, m.key...) // Keys are this package's own and need no escape.
		out = append(out, '"', ':')
		switch value := m.value.(type) {
		case object:
			out = value.appendJSON(out)
		case protocol.Records:
			out = value.AppendJSON(out, func(out []byte, value any) []byte { return appendValue(out, clean(value)) })
		default:
			out = appendValue(out, value)
		}
	}
	return append(out, '}')
}

func appendValue(out []byte, value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		text = []byte("null") // Unreachable: clean values can always be encoded.
	}
	return append(out, text...)
}

// asMap returns the object as a map. Strings keep their bytes, even if they are not UTF-8.
func (o object) asMap() map[string]any {
	out := make(map[string]any, len(o))
	for _, m := range o {
		switch value := m.value.(type) {
		case object:
			out[m.key] = value.asMap()
		case protocol.Records:
			out[m.key] = clean(protocol.Plain(value))
		case []string:
			if out[m.key] = any(value); value == nil {
				out[m.key] = nil
			}
		default:
			out[m.key] = value
		}
	}
	return out
}

// event returns the object "event" of an envelope, which reports whether the call was run: result is 1 or 0,
// and reason is the message or "".
func event(result int, reason string) object {
	return append(object{}.addText("reason", reason), member{"result", result})
}
