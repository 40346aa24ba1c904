package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/liveapid/liveapid/protocol"
)

const (
	actionOpen  = "<cpanelaction>"
	actionClose = "</cpanelaction>"
	// maxUnframed limits a payload without a length line, in bytes. Only shutdown may come so; its longest
	// known spelling has 28.
	maxUnframed = 64
)

// Errors that end a session, because the rest of the stream can't be trusted.
var (
	ErrFrameTooLarge = errors.New("wire: frame too large")
	ErrLength        = errors.New("wire: bad length line")
	ErrTruncated     = errors.New("wire: the stream ended inside a frame")
)

// FrameReader reads frames from a stream.
type FrameReader struct {
	r   *bufio.Reader
	max int
	// Started is called when the first byte of a frame was read, so that the owner of the stream can set the
	// frame's deadline. It may be nil.
	Started func()
	// Reserve is called before bytes of a payload are read, with their number. The owner of the stream may
	// wait in it, or end the stream with an error. It may be nil.
	Reserve func(bytes int) error
}

// NewFrameReader returns a reader of frames with at most maxFrame bytes; 0 means protocol.MaxFrame.
func NewFrameReader(r io.Reader, maxFrame int) *FrameReader {
	if maxFrame <= 0 {
		maxFrame = protocol.MaxFrame
	}
	return &FrameReader{r: bufio.NewReaderSize(r, readBuffer), max: maxFrame}
}

// Next returns the next frame's payload. It returns io.EOF if the stream ends between frames, otherwise an
// error that wraps ErrLength, ErrFrameTooLarge, ErrTruncated or the stream's own error.
func (f *FrameReader) Next() ([]byte, error) {
	first, err := f.skipBlankLines()
	if err != nil {
		return nil, err
	}
	if f.Started != nil {
		f.Started()
	}
	if first == '<' {
		// A widely used Python plugin sends its shutdown without a length line.
		return f.unframed()
	}
	length, err := f.length()
	if err != nil {
		return nil, err
	}
	if err := f.reserve(length); err != nil {
		return nil, err
	}
	payload, err := f.read(length)
	if err != nil {
		return nil, fmt.Errorf("%w: %d of %d bytes came", truncated(err), len(payload), length)
	}
	return f.finishAction(payload)
}

// readBuffer is the read buffer of an idle session, in bytes: a length line and most calls fit into it.
// Longer payloads are read past it.
const readBuffer = 1 << 10

// firstChunk is the part of a payload that is allocated before any of it has come, in bytes.
const firstChunk = 16 << 10

// read reads length bytes. The buffer grows as they arrive and never beyond the length, so that a claimed
// length alone needs no memory.
func (f *FrameReader) read(length int) ([]byte, error) {
	payload := make([]byte, 0, min(length, firstChunk))
	for len(payload) < length {
		if len(payload) == cap(payload) {
			payload = append(make([]byte, 0, min(2*cap(payload), length)), payload...)
		}
		n, err := f.r.Read(payload[len(payload):cap(payload)])
		payload = payload[:len(payload)+n]
		if err != nil && len(payload) < length {
			return payload, err
		}
	}
	return payload, nil
}

// reserve asks whether the owner of the stream has room.
func (f *FrameReader) reserve(n int) error {
	if f.Reserve == nil {
		return nil
	}
	return f.Reserve(n)
}

// extension is the number of bytes that are reserved at once for an action that is longer than its length
// says.
const extension = 16 << 10

// skipBlankLines returns the first byte of a frame without consuming it. PHP and Perl clients end a payload
// with a newline that their length does not count.
func (f *FrameReader) skipBlankLines() (byte, error) {
	for {
		c, err := f.r.ReadByte()
		if err != nil {
			return 0, err
		}
		if c != '\n' && c != '\r' {
			return c, f.r.UnreadByte()
		}
	}
}

// length reads the length line: digits without sign, space or leading zero, then LF, or CR LF from clients
// with a text-mode stream.
func (f *FrameReader) length() (int, error) {
	digits := make([]byte, 0, protocol.MaxLengthDigits)
	for {
		c, err := f.r.ReadByte()
		if err != nil {
			return 0, fmt.Errorf("%w: in the length line", truncated(err))
		}
		switch {
		case c == '\r':
			if c, err = f.r.ReadByte(); err != nil {
				return 0, fmt.Errorf("%w: in the length line", truncated(err))
			}
			if c != '\n' {
				return 0, fmt.Errorf("%w: a CR that no LF follows", ErrLength)
			}
			fallthrough
		case c == '\n':
			return f.parseLength(digits)
		case c < '0' || c > '9':
			return 0, fmt.Errorf("%w: %q is not a digit", ErrLength, c)
		case len(digits) == protocol.MaxLengthDigits:
			return 0, fmt.Errorf("%w: more than %d digits", ErrLength, protocol.MaxLengthDigits)
		}
		digits = append(digits, c)
	}
}

func (f *FrameReader) parseLength(digits []byte) (int, error) {
	if len(digits) == 0 {
		return 0, fmt.Errorf("%w: empty", ErrLength)
	}
	if digits[0] == '0' && len(digits) > 1 {
		return 0, fmt.Errorf("%w: a leading zero", ErrLength)
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrLength, err)
	}
	if n > int64(f.max) {
		return 0, fmt.Errorf("%w: %d bytes, the limit is %d", ErrFrameTooLarge, n, f.max)
	}
	return int(n), nil
}

// unframed reads a payload without a length line, up to its '>'.
func (f *FrameReader) unframed() ([]byte, error) {
	var text []byte
	for len(text) < maxUnframed {
		c, err := f.r.ReadByte()
		if err != nil {
			return nil, fmt.Errorf("%w: in a frame without a length line", truncated(err))
		}
		text = append(text, c)
		if c == '>' {
			if isShutdown(text) {
				return text, nil
			}
			break
		}
	}
	return nil, fmt.Errorf("%w: a length line must come before the payload", ErrLength)
}

// finishAction reads on if an action is not closed at its declared end. Node counts UTF-16 units and Perl
// counts characters, so with text beyond ASCII they declare too few bytes.
func (f *FrameReader) finishAction(payload []byte) ([]byte, error) {
	if !bytes.HasPrefix(bytes.TrimLeft(payload, " \t\r\n"), []byte(actionOpen)) {
		return payload, nil
	}
	if bytes.HasSuffix(bytes.TrimRight(payload, " \t\r\n"), []byte(actionClose)) {
		return payload, nil
	}
	reserved := len(payload)
	for !bytes.HasSuffix(payload, []byte(actionClose)) {
		if len(payload) == reserved {
			if err := f.reserve(extension); err != nil {
				return nil, err
			}
			reserved += extension
		}
		if len(payload) == f.max {
			return nil, fmt.Errorf("%w: no %s within %d bytes", ErrFrameTooLarge, actionClose, f.max)
		}
		c, err := f.r.ReadByte()
		if err != nil {
			return nil, fmt.Errorf("%w: no %s after %d bytes", truncated(err), actionClose, len(payload))
		}
		payload = append(payload, c)
	}
	return payload, nil
}

// truncated turns the end of the stream into ErrTruncated and keeps other errors.
func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return err
}

// AppendFrame appends payload as a frame to dst.
func AppendFrame(dst, payload []byte) []byte {
	dst = strconv.AppendInt(dst, int64(len(payload)), 10)
	dst = append(dst, '\n')
	return append(dst, payload...)
}
