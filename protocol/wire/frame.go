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
	// maxUnframed is the maximum size of a payload without a length line, in bytes. Only the shutdown may be
	// sent without a length line; the longest known form of the shutdown has 28 bytes.
	maxUnframed = 64
)

// Errors of invalid frames. They end the session, because after an invalid frame the start of the next frame
// is unknown.
var (
	ErrFrameTooLarge = errors.New("wire: frame too large")
	ErrLength        = errors.New("wire: invalid length line")
	ErrTruncated     = errors.New("wire: the stream ended inside a frame")
)

// FrameReader reads frames from a stream. It must not be used by several goroutines at once.
type FrameReader struct {
	r   *bufio.Reader
	max int
	// Started is called when the first byte of a frame arrives. The session uses this call to set the
	// deadline for the rest of the frame. Started may be nil.
	Started func()
	// Reserve is called before memory for a payload is allocated; bytes is the size of that memory. Reserve
	// may wait until enough memory is free, or return an error, which Next then returns. Reserve may be nil.
	Reserve func(bytes int) error
}

// NewFrameReader returns a FrameReader that rejects payloads of more than maxFrame bytes. If maxFrame is 0,
// the limit is protocol.MaxFrame.
func NewFrameReader(r io.Reader, maxFrame int) *FrameReader {
	if maxFrame <= 0 {
		maxFrame = protocol.MaxFrame
	}
	return &FrameReader{r: bufio.NewReaderSize(r, readBuffer), max: maxFrame}
}

// Next returns the payload of the next frame. It returns io.EOF if the stream ends between two frames. Any
// other error wraps ErrLength, ErrFrameTooLarge, ErrTruncated, or the error of the stream or of Reserve.
func (f *FrameReader) Next() ([]byte, error) {
	first, err := f.skipBlankLines()
	if err != nil {
		return nil, err
	}
	if f.Started != nil {
		f.Started()
	}
	if first == '<' {
		// A widely used Python plugin sends the shutdown without a length line.
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
		return nil, fmt.Errorf("%w: only %d of %d bytes arrived", truncated(err), len(payload), length)
	}
	return f.finishAction(payload)
}

// readBuffer is the size of the read buffer of a session, in bytes. The buffer is small, because every
// session has a buffer even while it is idle; a length line and most calls fit into the buffer. Longer
// payloads are read directly into memory of their own.
const readBuffer = 1 << 10

// firstChunk is the maximum memory that is allocated for a payload before its first byte arrives, in bytes.
const firstChunk = 16 << 10

// read reads a payload of length bytes. The buffer grows as the bytes arrive, up to length. A client that
// only claims a large length therefore occupies little memory.
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

// reserve calls Reserve, if it is set, before n more bytes of a payload are read.
func (f *FrameReader) reserve(n int) error {
	if f.Reserve == nil {
		return nil
	}
	return f.Reserve(n)
}

// extension is the number of bytes that finishAction reserves at a time while it reads an action beyond the
// length in the length line.
const extension = 16 << 10

// skipBlankLines skips newlines before a frame and returns the first byte of the frame without consuming it.
// PHP and Perl clients send a newline after a payload and do not count it in the length.
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

// length reads a length line and returns the length. The line contains digits without sign, space or leading
// zero, and ends with LF, or with CR LF from clients that write the stream in text mode.
func (f *FrameReader) length() (int, error) {
	digits := make([]byte, 0, protocol.MaxLengthDigits)
	for {
		c, err := f.r.ReadByte()
		if err != nil {
			return 0, fmt.Errorf("%w: the length line is not complete", truncated(err))
		}
		switch {
		case c == '\r':
			if c, err = f.r.ReadByte(); err != nil {
				return 0, fmt.Errorf("%w: the length line is not complete", truncated(err))
			}
			if c != '\n' {
				return 0, fmt.Errorf("%w: a CR is not followed by an LF", ErrLength)
			}
			fallthrough
		case c == '\n':
			return f.parseLength(digits)
		case c < '0' || c > '9':
			return 0, fmt.Errorf("%w: %q is not a digit", ErrLength, c)
		case len(digits) == protocol.MaxLengthDigits:
			return 0, fmt.Errorf("%w: the length has more than %d digits", ErrLength, protocol.MaxLengthDigits)
		}
		digits = append(digits, c)
	}
}

func (f *FrameReader) parseLength(digits []byte) (int, error) {
	if len(digits) == 0 {
		return 0, fmt.Errorf("%w: the line is empty", ErrLength)
	}
	if digits[0] == '0' && len(digits) > 1 {
		return 0, fmt.Errorf("%w: the length has a leading zero", ErrLength)
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrLength, err)
	}
	if n > int64(f.max) {
		return 0, fmt.Errorf("%w: the length is %d bytes, but the limit is %d", ErrFrameTooLarge, n, f.max)
	}
	return int(n), nil
}

// unframed reads a payload without a length line, up to the first '>'. Only a shutdown is accepted.
func (f *FrameReader) unframed() ([]byte, error) {
	var text []byte
	for len(text) < maxUnframed {
		c, err := f.r.ReadByte()
		if err != nil {
			return nil, fmt.Errorf("%w: the frame begins with '<' instead of a length line, and has no '>'", truncated(err))
		}
		text = append(text, c)
		if c == '>' {
			if isShutdown(text) {
				return text, nil
			}
			break
		}
	}
	return nil, fmt.Errorf("%w: the frame begins with '<' instead of a length line, and is not the shutdown", ErrLength)
}

// finishAction checks whether an action ends with its closing tag. If not, it reads more bytes up to the
// closing tag. This is necessary because Node clients count UTF-16 units and Perl clients count characters,
// so that their length is too small if the text is not ASCII.
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
			return nil, fmt.Errorf("%w: the frame has no %s within %d bytes", ErrFrameTooLarge, actionClose, f.max)
		}
		c, err := f.r.ReadByte()
		if err != nil {
			return nil, fmt.Errorf("%w: the frame has no %s after %d bytes", truncated(err), actionClose, len(payload))
		}
		payload = append(payload, c)
	}
	return payload, nil
}

// truncated returns ErrTruncated if err means that the stream has ended. It returns any other error
// unchanged.
func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return err
}

// AppendFrame appends a frame with the given payload to dst.
func AppendFrame(dst, payload []byte) []byte {
	dst = strconv.AppendInt(dst, int64(len(payload)), 10)
	dst = append(dst, '\n')
	return append(dst, payload...)
}
