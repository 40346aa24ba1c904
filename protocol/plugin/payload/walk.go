package payload

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/liveapid/liveapid/protocol"
)

// ErrPayload is wrapped by the errors for a document that Walk rejects or that can't be decoded.
var ErrPayload = errors.New("payload: invalid MessagePack")

// Walk checks a document before it is decoded: each claimed size must fit into the remaining bytes, and the
// depth and the number of values must be within the limits. Without this check, 20 bytes that claim 2^31
// elements would crash the process that decodes them (seen with msgpack 5.4.1). Walk allocates no memory and
// does not recurse.
func Walk(doc []byte) error { return WalkNodes(doc, protocol.MaxNodes) }

// WalkNodes does the same as Walk; the parameter most is the maximum number of values.
func WalkNodes(doc []byte, most int) error {
	_, err := Count(doc, most)
	return err
}

// Count checks a document like WalkNodes, and also returns the number of values in the document.
func Count(doc []byte, most int) (nodes int, err error) {
	var (
		left  [protocol.MaxDepth + 1]int64 // Values that are still expected, for each depth.
		depth int
		at    int64
		end   = int64(len(doc))
	)
	left[0] = 1
	for {
		for left[depth] == 0 {
			if depth == 0 {
				if at != end {
					return nodes, fmt.Errorf("%w: %d bytes follow the document", ErrPayload, end-at)
				}
				return nodes, nil
			}
			depth--
		}
		left[depth]--
		if nodes++; nodes > most {
			return nodes, fmt.Errorf("%w: the document has more than %d values", ErrPayload, most)
		}
		size, children, err := header(doc[at:])
		if err != nil {
			return nodes, err
		}
		if size > end-at {
			return nodes, fmt.Errorf("%w: the document ends too early", ErrPayload)
		}
		at += size
		if children == 0 {
			continue
		}
		if children > end-at {
			return nodes, fmt.Errorf("%w: an array or map announces %d values, but only %d bytes follow", ErrPayload, children, end-at)
		}
		if depth == protocol.MaxDepth {
			return nodes, fmt.Errorf("%w: the document is nested deeper than %d levels", ErrPayload, protocol.MaxDepth)
		}
		depth++
		left[depth] = children
	}
}

// header parses the start of a value. size is the number of bytes of the value without its children: type,
// count, and text or bytes. children is the number of values directly inside a list or map; for a map, keys
// and values both count.
func header(b []byte) (size, children int64, err error) {
	if len(b) == 0 {
		return 0, 0, fmt.Errorf("%w: the document ends too early", ErrPayload)
	}
	switch c := b[0]; {
	case c <= 0x7f || c >= 0xe0: // Small integers.
		return 1, 0, nil
	case c <= 0x8f:
		return 1, 2 * int64(c&0x0f), nil // Map with up to 15 pairs.
	case c <= 0x9f:
		return 1, int64(c & 0x0f), nil // Array with up to 15 elements.
	case c <= 0xbf:
		return 1 + int64(c&0x1f), 0, nil // Text with up to 31 bytes.
	case c == 0xc0 || c == 0xc2 || c == 0xc3:
		return 1, 0, nil // Nil, false, true.
	case c == 0xca:
		return 5, 0, nil
	case c == 0xcb:
		return 9, 0, nil
	case c >= 0xcc && c <= 0xcf: // Unsigned integers of 1, 2, 4 or 8 bytes.
		return 1 + 1<<(c-0xcc), 0, nil
	case c >= 0xd0 && c <= 0xd3: // Signed integers of 1, 2, 4 or 8 bytes.
		return 1 + 1<<(c-0xd0), 0, nil
	case c >= 0xc4 && c <= 0xc6: // Bytes, with a length field of 1, 2 or 4 bytes.
		return sized(b, 1<<(c-0xc4), 1)
	case c >= 0xd9 && c <= 0xdb: // Text, with a length field of 1, 2 or 4 bytes.
		return sized(b, 1<<(c-0xd9), 1)
	case c == 0xdc || c == 0xdd: // Arrays, with a count field of 2 or 4 bytes.
		return counted(b, 2<<(c-0xdc), 1)
	case c == 0xde || c == 0xdf: // Maps, with a count field of 2 or 4 bytes.
		return counted(b, 2<<(c-0xde), 2)
	default: // 0xc1, which is unused, and extension types.
		return 0, 0, fmt.Errorf("%w: type 0x%02x is not allowed", ErrPayload, c)
	}
}

func sized(b []byte, width, head int64) (int64, int64, error) {
	n, err := number(b, width)
	return head + width + n, 0, err
}

func counted(b []byte, width, each int64) (int64, int64, error) {
	n, err := number(b, width)
	return 1 + width, n * each, err
}

// number reads a length or count in big-endian order. The number follows the type byte and consists of width
// bytes.
func number(b []byte, width int64) (int64, error) {
	if int64(len(b)) < 1+width {
		return 0, fmt.Errorf("%w: the document ends too early", ErrPayload)
	}
	switch width {
	case 1:
		return int64(b[1]), nil
	case 2:
		return int64(binary.BigEndian.Uint16(b[1:])), nil
	default:
		return int64(binary.BigEndian.Uint32(b[1:])), nil
	}
}
