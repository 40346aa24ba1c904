package payload

import "fmt"

// part is where a value is in a document: from its first byte to the byte after its last one.
type part struct{ from, to int }

// partsOf returns where the values of the map at the given part of a checked document are, without decoding them.
func partsOf(doc []byte, of part) (map[string]part, error) {
	if of.to <= of.from {
		return nil, fmt.Errorf("%w: a map is missing", ErrPayload)
	}
	if c := doc[of.from]; c&0xf0 != 0x80 && c != 0xde && c != 0xdf {
		return nil, fmt.Errorf("%w: the document is not a map", ErrPayload)
	}
	size, children, err := header(doc[of.from:])
	if err != nil {
		return nil, err
	}
	at := of.from + int(size)
	parts := make(map[string]part, children/2)
	for range children / 2 {
		value := after(doc, at)
		key, err := decodeChecked(doc[at:value])
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("%w: a map key has the type %T, which is not a string", ErrPayload, key)
		}
		if _, twice := parts[name]; twice {
			return nil, fmt.Errorf("%w: the key %.40q is repeated in a map", ErrPayload, name)
		}
		at = after(doc, value)
		parts[name] = part{value, at}
	}
	return parts, nil
}

// after returns where the value at the given place of a checked document ends.
func after(doc []byte, at int) int {
	for left := 1; left > 0; left-- {
		size, children, _ := header(doc[at:])
		at += int(size)
		left += int(children)
	}
	return at
}
