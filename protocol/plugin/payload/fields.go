package payload

import (
	"fmt"

	"github.com/liveapid/liveapid/protocol"
)

// fields is a decoded map. Its methods return the zero value if a field is absent or has the wrong type: the
// other side may be newer, older or hostile, and its message must never cause a panic.
type fields map[string]any

func decodeFields(doc []byte) (fields, error) {
	return decodeFieldsOf(doc, protocol.MaxNodes)
}

func decodeFieldsOf(doc []byte, most int) (fields, error) {
	value, err := DecodeNodes(doc, most)
	if err != nil {
		return nil, err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: the document is not a map", ErrPayload)
	}
	return object, nil
}

func (f fields) text(key string) string {
	s, _ := f[key].(string)
	return s
}

func (f fields) flag(key string) bool {
	b, _ := f[key].(bool)
	return b
}

func (f fields) number(key string) int {
	switch n := f[key].(type) {
	case int64:
		return int(n)
	case uint64:
		return int(n)
	}
	return 0
}

func (f fields) object(key string) fields {
	object, _ := f[key].(map[string]any)
	return object
}

// allTexts returns the texts in the map, or nil if there are none.
func (f fields) allTexts() map[string]string {
	var out map[string]string
	for key, value := range f {
		if text, ok := value.(string); ok {
			if out == nil {
				out = make(map[string]string)
			}
			out[key] = text
		}
	}
	return out
}

func (f fields) objects(key string) []fields {
	list, _ := f[key].([]any)
	var out []fields
	for _, item := range list {
		if object, ok := item.(map[string]any); ok {
			out = append(out, object)
		}
	}
	return out
}

func (f fields) texts(key string) []string {
	list, _ := f[key].([]any)
	var out []string
	for _, item := range list {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
