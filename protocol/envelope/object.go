package envelope

import "encoding/json"

// member is one key of an object with its value.
type member struct {
	key   string
	value any // A clean value, an object, or a list of texts that may be nil.
}

// object is an envelope with the order of its keys. Each envelope is described once, as an object: JSON has
// its keys in this order, and encodings that carry any byte get it as a map.
type object []member

// addText adds a text unless it is empty: cPanel leaves the key out.
func (o object) addText(key, text string) object {
	if text == "" {
		return o
	}
	return append(o, member{key, text})
}

// json returns the object's JSON on one line. encoding/json escapes '<', '>' and '&', replaces bytes that
// are not UTF-8, and sorts the keys of the maps inside.
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
		if inner, ok := m.value.(object); ok {
			out = inner.appendJSON(out)
			continue
		}
		text, err := json.Marshal(m.value)
		if err != nil {
			text = []byte("null") // Unreachable: clean values always encode.
		}
		out = append(out, text...)
	}
	return append(out, '}')
}

// asMap returns the object as a map, strings byte for byte.
func (o object) asMap() map[string]any {
	out := make(map[string]any, len(o))
	for _, m := range o {
		switch value := m.value.(type) {
		case object:
			out[m.key] = value.asMap()
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

// event is the object that tells whether a call was run.
func event(result int, reason string) object {
	return append(object{}.addText("reason", reason), member{"result", result})
}
