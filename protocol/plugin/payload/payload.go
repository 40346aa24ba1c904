// Package payload is the MessagePack codec for messages between host and plugin: it encodes and decodes
// values, calls, results and descriptions. Every document is checked by Walk before it is decoded, on both
// sides. The package does not depend on gRPC or on processes.
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

// Encode encodes value as a MessagePack document. It accepts the types of a protocol.Result and also
// protocol.Number (sent as text), protocol.Secret (sent as bin, the type for bytes), []byte, int, []string
// and []map[string]any.
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
	case *rows:
		return v.encode(enc)
	case map[string]any:
		if err := enc.EncodeMapLen(len(v)); err != nil {
			return err
		}
		for _, key := range slices.Sorted(maps.Keys(v)) { // Sorted: equal values give equal documents.
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

// encodeText writes s as str, the MessagePack type for text, if s is valid UTF-8, and otherwise as bin, the
// type for bytes. Some languages can't decode a str that is not UTF-8.
func encodeText(enc *msgpack.Encoder, s string) error {
	if utf8.ValidString(s) {
		return enc.EncodeString(s)
	}
	return enc.EncodeBytes([]byte(s))
}

// Decode checks doc with Walk and decodes it. The types of the values are nil, bool, int64, uint64, float64,
// string, []any and map[string]any. Both str and bin become string.
func Decode(doc []byte) (any, error) { return DecodeNodes(doc, protocol.MaxNodes) }

// DecodeNodes does the same as Decode; the parameter most is the maximum number of values.
func DecodeNodes(doc []byte, most int) (any, error) {
	if err := WalkNodes(doc, most); err != nil {
		return nil, err
	}
	return decodeChecked(doc)
}

// decodeChecked decodes a document, or a value of a document, that WalkNodes has accepted.
func decodeChecked(doc []byte) (any, error) {
	value, err := newDecoder(bytes.NewReader(doc)).DecodeInterfaceLoose()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPayload, err)
	}
	return texts(value), nil
}

func newDecoder(in *bytes.Reader) *msgpack.Decoder {
	dec := msgpack.NewDecoder(in)
	configure(dec)
	return dec
}

// configure sets the options of a decoder, which it loses when it is reset.
func configure(dec *msgpack.Decoder) {
	dec.UseLooseInterfaceDecoding(true)
	dec.SetMapDecoder(func(d *msgpack.Decoder) (any, error) { return decodeMap(d) })
}

// decodeMap decodes a map with keys of type str or bin, and rejects repeated keys. Any other key type is an
// error.
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
			return nil, fmt.Errorf("a map key has the type %T, which is not a string", key)
		}
		if _, twice := object[name]; twice {
			// A reader could use the first value and another reader the last, so a repeated key is rejected.
			return nil, fmt.Errorf("the key %.40q is repeated in a map", name)
		}
		if object[name], err = dec.DecodeInterfaceLoose(); err != nil {
			return nil, err
		}
	}
	return object, nil
}

// texts replaces []byte by string, also inside lists and maps.
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
