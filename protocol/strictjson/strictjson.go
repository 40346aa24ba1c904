// Package strictjson decodes JSON from clients and rejects what encoding/json would silently change. If a key
// is repeated, encoding/json uses the last value; it replaces bytes that are not UTF-8 and lone surrogates by
// U+FFFD, so that the stored password would differ from the typed one; and it rounds large numbers. Here
// repeated keys and invalid text are errors, and numbers are kept as text. Every transport that accepts JSON
// uses this package.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/liveapid/liveapid/protocol"
)

// ErrNotUTF8 is returned for a document that contains bytes which are not UTF-8, or a \u escape of half a
// surrogate pair.
var ErrNotUTF8 = errors.New("not valid UTF-8")

// Decode decodes a JSON document. The types of the values are nil, string, protocol.Number, bool, []any and
// map[string]any. The depth is limited to protocol.MaxDepth, and the number of keys and values to
// protocol.MaxFrameNodes. Any text after the document is an error.
func Decode(raw []byte) (any, error) { return DecodeNodes(raw, protocol.MaxFrameNodes) }

// DecodeNodes does the same as Decode; the parameter nodes is the maximum number of keys and values.
func DecodeNodes(raw []byte, nodes int) (any, error) {
	if !utf8.Valid(raw) {
		return nil, ErrNotUTF8
	}
	if err := checkSurrogates(raw); err != nil {
		return nil, err
	}
	dec := &decoder{Decoder: json.NewDecoder(bytes.NewReader(raw)), most: nodes}
	dec.UseNumber()
	value, err := dec.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("text follows the JSON value at byte %d", dec.InputOffset())
	}
	return value, nil
}

// decoder counts the keys and values that it reads. It returns an error when the count exceeds the field
// most.
type decoder struct {
	*json.Decoder
	nodes, most int
}

// token reads and counts a key or the start of a value. Closing brackets and braces are read with dec.Token
// instead, so they are not counted.
func (dec *decoder) token() (json.Token, error) {
	if dec.nodes++; dec.nodes > dec.most {
		return nil, fmt.Errorf("too many names and values: more than %d", dec.most)
	}
	token, err := dec.Token()
	return token, plain(err)
}

func (dec *decoder) value(depth int) (any, error) {
	token, err := dec.token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		if depth == protocol.MaxDepth {
			return nil, fmt.Errorf("the JSON is nested deeper than %d levels", protocol.MaxDepth)
		}
		if t == '[' {
			return dec.array(depth + 1)
		}
		return dec.object(depth + 1)
	case json.Number:
		return protocol.Number(t), nil
	default: // string, bool, nil
		return t, nil
	}
}

func (dec *decoder) array(depth int) (any, error) {
	list := []any{}
	for dec.More() {
		value, err := dec.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	_, err := dec.Token() // The closing bracket.
	return list, plain(err)
}

func (dec *decoder) object(depth int) (any, error) {
	object := make(map[string]any)
	for dec.More() {
		token, err := dec.token()
		if err != nil {
			return nil, err
		}
		key, ok := token.(string)
		if !ok {
			return nil, fmt.Errorf("an object's key is not a string at byte %d", dec.InputOffset())
		}
		if _, twice := object[key]; twice {
			return nil, fmt.Errorf("key %.40q is repeated in an object", key)
		}
		if object[key], err = dec.value(depth); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token() // The closing brace.
	return object, plain(err)
}

// plain replaces a decoding error by an error that does not quote the document, because the document may
// contain a password.
func plain(err error) error {
	if err == nil {
		return nil
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("broken JSON at byte %d", syntax.Offset)
	}
	return errors.New("broken JSON: it ends too early")
}

// checkSurrogates returns an error if a \u escape is half of a surrogate pair and the other half is missing.
// It looks only at escapes, so the rest of raw need not be valid JSON.
func checkSurrogates(raw []byte) error {
	pending := false // Set after a high half: the low half must follow directly.
	for i := 0; i < len(raw); {
		unit, size := uint64(0), 1
		if raw[i] == '\\' && i+1 < len(raw) {
			size = 2
			if raw[i+1] == 'u' && i+6 <= len(raw) {
				if n, err := strconv.ParseUint(string(raw[i+2:i+6]), 16, 16); err == nil {
					unit, size = n, 6
				}
			}
		}
		low := unit >= 0xDC00 && unit <= 0xDFFF
		if low != pending {
			return ErrNotUTF8
		}
		pending = unit >= 0xD800 && unit <= 0xDBFF
		i += size
	}
	if pending {
		return ErrNotUTF8
	}
	return nil
}
