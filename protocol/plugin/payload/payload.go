// Package payload is the MessagePack codec of the plugin boundary: it encodes and decodes values, calls,
// results and descriptions. Both sides walk every document before they decode it. It knows no gRPC and no
// process.
package payload

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/liveapid/liveapid/protocol"
)

// Encode returns the document of value. In addition to the values of protocol.Result, it accepts
// protocol.Number (as text), protocol.Secret (as bin), int, []string and []map[string]any.
func Encode(value any) ([]byte, error) {
	var buf bytes.Buffer
	if err := encode(msgpack.NewEncoder(&buf), value); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func encode(enc *msgpack.Encoder, value any) error {
	switch v := value.(type) {
	case nil:
		return enc.EncodeNil()
	case string:
		return encodeText(enc, v)
	case protocol.Number:
		return encodeText(enc, string(v))
	case protocol.Secret:
		return enc.EncodeBytes([]byte(v.Reveal()))
	case []byte:
		return enc.EncodeBytes(v)
	case bool:
		return enc.EncodeBool(v)
	case int:
		return enc.EncodeInt(int64(v))
	case int64:
		return enc.EncodeInt(v)
	case uint64:
		return enc.EncodeUint(v)
	case float64:
		return enc.EncodeFloat64(v)
	case []any:
		return encodeList(enc, v)
	case []string:
		return encodeList(enc, v)
	case []map[string]any:
		return encodeList(enc, v)
	case map[string]any:
		if err := enc.EncodeMapLen(len(v)); err != nil {
			return err
		}
		for _, key := range slices.Sorted(maps.Keys(v)) { // Sorted, so that equal values have equal documents.
			if err := encodeText(enc, key); err != nil {
				return err
			}
			if err := encode(enc, v[key]); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("payload: a value of type %T can't be sent", value)
}

func encodeList[T any](enc *msgpack.Encoder, list []T) error {
	if err := enc.EncodeArrayLen(len(list)); err != nil {
		return err
	}
	for _, item := range list {
		if err := encode(enc, item); err != nil {
			return err
		}
	}
	return nil
}

// encodeText writes str only if every language can read it as such.
func encodeText(enc *msgpack.Encoder, s string) error {
	if utf8.ValidString(s) {
		return enc.EncodeString(s)
	}
	return enc.EncodeBytes([]byte(s))
}

// Decode walks doc and returns its value: nil, bool, int64, uint64, float64, string (for str and bin), []any
// or map[string]any.
func Decode(doc []byte) (any, error) { return DecodeNodes(doc, protocol.MaxNodes) }

// DecodeNodes is Decode with another limit for the number of values.
func DecodeNodes(doc []byte, most int) (any, error) {
	if err := WalkNodes(doc, most); err != nil {
		return nil, err
	}
	dec := msgpack.NewDecoder(bytes.NewReader(doc))
	dec.UseLooseInterfaceDecoding(true)
	dec.SetMapDecoder(func(d *msgpack.Decoder) (any, error) { return decodeMap(d) })
	value, err := dec.DecodeInterfaceLoose()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPayload, err)
	}
	return texts(value), nil
}

// decodeMap accepts bin for keys as well as str.
func decodeMap(dec *msgpack.Decoder) (map[string]any, error) {
	n, err := dec.DecodeMapLen()
	if err != nil {
		return nil, err
	}
	object := make(map[string]any, min(max(n, 0), 64))
	for range n {
		key, err := dec.DecodeInterfaceLoose()
		if err != nil {
			return nil, err
		}
		name, ok := texts(key).(string)
		if !ok {
			return nil, fmt.Errorf("a key of type %T is not a text", key)
		}
		if _, twice := object[name]; twice {
			// Different readers could use the first and the last value.
			return nil, fmt.Errorf("the key %.40q is repeated", name)
		}
		if object[name], err = dec.DecodeInterfaceLoose(); err != nil {
			return nil, err
		}
	}
	return object, nil
}

// texts turns []byte into string at all levels.
func texts(value any) any {
	switch v := value.(type) {
	case []byte:
		return string(v)
	case []any:
		for i := range v {
			v[i] = texts(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = texts(v[k])
		}
	}
	return value
}
