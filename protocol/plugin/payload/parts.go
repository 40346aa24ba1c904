package payload

import (
	"fmt"
	"slices"
)

// part is where a value is in a document: from its first byte to the byte after its last one.
type part struct{ from, to int }

// maxKeys is the maximum number of keys of a map that partsOf reads. Newer plugins may send keys that are not known yet.
const maxKeys = 32

// partsOf returns where the values of the given keys are, in the map at the given part of a checked document, without
// decoding them.
func partsOf(doc []byte, of part, keys ...string) (map[string]part, error) {
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
	if children/2 > maxKeys {
		return nil, fmt.Errorf("%w: the map has %d keys, but at most %d are accepted", ErrPayload, children/2, maxKeys)
	}
	at := of.from + int(size)
	parts := make(map[string]part, len(keys))
	seen := make(map[string]bool, children/2)
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
		if seen[name] {
			return nil, fmt.Errorf("%w: the key %.40q is repeated in a map", ErrPayload, name)
		}
		seen[name] = true
		at = after(doc, value)
		if slices.Contains(keys, name) {
			parts[name] = part{value, at}
		}
	}
	return parts, nil
}

const nilByte = 0xc0

// after returns where the value at the given place of a checked document ends.
func after(doc []byte, at int) int {
	for left := 1; left > 0; left-- {
		size, children, _ := header(doc[at:])
		at += int(size)
		left += int(children)
	}
	return at
}
