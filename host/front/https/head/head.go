// Package head checks the headers of requests on an HTTP/1 connection before net/http reads them. If two
// programs could disagree about where a request ends, the package rejects the request and closes the
// connection. Such requests have two lengths, an invalid length, folded header lines, or chunks in HTTP/1.0.
// net/http accepts some of them: if a request has both Content-Length and Transfer-Encoding, net/http uses
// only Transfer-Encoding and removes Content-Length. A proxy in front of the server that uses Content-Length
// would then treat a part of the body as the next client's request (request smuggling). The package does not
// depend on any API.
package head

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Errors of Watcher.Feed.
var (
	// ErrTwoLengths is returned for a request with both Content-Length and Transfer-Encoding.
	ErrTwoLengths = errors.New("head: the request has both a Content-Length and a Transfer-Encoding header")
	// ErrLength is returned for a request if the end of the request is not clear, or if different programs
	// could disagree about where the request ends.
	ErrLength = errors.New("head: the end of the request is ambiguous")
)

// refusals are the texts of the answers to rejected requests.
var refusals = map[error]string{
	ErrTwoLengths: "The request has both a Content-Length and a Transfer-Encoding header; send one of them.\n",
	ErrLength:     "The end of the request is ambiguous. Do not fold headers. If the request has a body, send Content-Length with a number, or, with HTTP/1.1, Transfer-Encoding with the value chunked.\n",
}

const refusalHead = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"

// refusalTime is the maximum time for writing the answer to a rejected request.
const refusalTime = time.Second

// Conn is a net.Conn that checks everything that is read from it with a Watcher.
type Conn struct {
	net.Conn
	watch Watcher
	err   error
}

// New returns a Conn that reads from c and checks what it reads.
func New(c net.Conn) *Conn { return &Conn{Conn: c} }

// Read implements net.Conn. If a request is rejected, Read itself writes the answer and returns an error. So
// net/http never receives the end of the request's head, and does not serve the request.
func (c *Conn) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Conn.Read(p)
	if c.err = c.watch.Feed(p[:n]); c.err != nil {
		_ = c.SetWriteDeadline(time.Now().Add(refusalTime))
		_, _ = io.WriteString(c.Conn, refusalHead+refusals[c.err])
		_ = c.CloseWrite()
		return 0, c.err
	}
	return n, err
}

// CloseWrite closes the writing side of the connection. net/http calls it when it closes a connection before
// it has read the whole request, so that the client can still read the answer.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// maxLine is the maximum number of bytes of a line that Watcher stores. It is enough for the HTTP version and
// for the names of the headers that determine the end of a body. The Watcher needs no limit for the whole
// head, because net/http limits it.
const maxLine = 256

// Watcher parses the requests on a connection far enough to find where each head and each body ends. The zero
// value expects a head.
type Watcher struct {
	state   state
	line    []byte // At most maxLine bytes of the current line; see keep.
	started bool   // The request line has been read.
	left    int64  // Bytes of the body or chunk that are still missing.
	length  int64  // Value of Content-Length; valid if two[contentLength] is set.
	old     bool   // The request line does not end with HTTP/1.1.
	two     [2]bool
}

type state int

const (
	inHead state = iota
	inBody
	inChunkSize
	inChunk
	inChunkEnd
	inTrailer
)

// The headers that determine the end of a body. The values are indexes of Watcher.two, which stores whether
// the request has the header.
const (
	contentLength    = 0
	transferEncoding = 1
)

// Feed processes the next bytes of the connection. After Feed has returned an error, the caller must not call
// it again.
func (w *Watcher) Feed(b []byte) error {
	for len(b) > 0 {
		n, err := w.step(b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// step processes the beginning of b, at most to the end of a line, a body or a chunk, and returns the number
// of bytes that it has processed.
func (w *Watcher) step(b []byte) (int, error) {
	if w.state == inBody || w.state == inChunk {
		n := min(w.left, int64(len(b)))
		w.left -= n
		if w.left == 0 {
			w.next()
		}
		return int(n), nil
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		w.keep(b)
		return len(b), nil
	}
	w.keep(b[:end])
	line := strings.TrimSuffix(string(w.line), "\r")
	w.line = w.line[:0]
	return end + 1, w.take(line)
}

// betweenRequests reports whether the next byte belongs to a new head.
func (w *Watcher) betweenRequests() bool { return w.state == inHead && !w.started && len(w.line) == 0 }

// keep appends part to the stored line, up to maxLine bytes in total. If a header line is longer, keep stores
// its beginning, which contains the name. If a request line is longer, keep stores its end, which contains
// the HTTP version.
func (w *Watcher) keep(part []byte) {
	if w.state != inHead || w.started {
		w.line = append(w.line, part[:min(len(part), maxLine-len(w.line))]...)
		return
	}
	w.line = append(w.line, part[max(0, len(part)-maxLine):]...)
	if over := len(w.line) - maxLine; over > 0 {
		w.line = append(w.line[:0], w.line[over:]...)
	}
}

// next sets the state after the last byte of a body or a chunk.
func (w *Watcher) next() {
	if w.state == inChunk {
		w.state = inChunkEnd
		return
	}
	*w = Watcher{line: w.line}
}

// take processes a complete line, without its line break.
func (w *Watcher) take(line string) error {
	switch w.state {
	case inHead:
		return w.header(line)
	case inChunkSize:
		digits, _, _ := strings.Cut(line, ";")
		size, err := strconv.ParseInt(strings.TrimSpace(digits), 16, 64)
		switch {
		case err != nil || size < 0:
			return ErrLength
		case size == 0:
			w.state = inTrailer
		default:
			w.left, w.state = size, inChunk
		}
	case inChunkEnd:
		w.state = inChunkSize
	case inTrailer:
		if line == "" {
			*w = Watcher{line: w.line}
		}
	}
	return nil
}

// header processes one line of a head; "" is the blank line that ends the head.
func (w *Watcher) header(line string) error {
	if line == "" {
		if !w.started {
			return nil // Blank lines may precede a request.
		}
		return w.endOfHead()
	}
	if !w.started {
		w.started, w.old = true, !strings.HasSuffix(line, " HTTP/1.1")
		return nil
	}
	if line[0] == ' ' || line[0] == '\t' {
		return ErrLength // A folded line; some programs join it to the previous one.
	}
	name, value, _ := strings.Cut(line, ":")
	switch name = strings.TrimSpace(name); {
	case strings.EqualFold(name, "Content-Length"):
		// The end of a line that was too long to store is not known.
		n, err := parseLength(strings.Trim(value, " \t"))
		if err != nil || len(line) >= maxLine-1 || w.two[contentLength] && n != w.length {
			return ErrLength
		}
		w.two[contentLength], w.length = true, n
	case strings.EqualFold(name, "Transfer-Encoding"):
		w.two[transferEncoding] = true
	}
	return nil
}

// parseLength parses the value of Content-Length: at most 18 digits, and nothing else. Programs disagree about
// longer numbers.
func parseLength(value string) (int64, error) {
	if len(value) > 18 || strings.Trim(value, "0123456789") != "" {
		return 0, ErrLength
	}
	return strconv.ParseInt(value, 10, 64)
}

func (w *Watcher) endOfHead() error {
	switch {
	case w.two[contentLength] && w.two[transferEncoding]:
		return ErrTwoLengths
	case w.two[transferEncoding] && w.old:
		return ErrLength // HTTP/1.0 has no chunks; some programs accept them.
	case w.two[transferEncoding]:
		w.state = inChunkSize
	case w.length > 0:
		w.left, w.state = w.length, inBody
	default:
		*w = Watcher{line: w.line}
	}
	return nil
}
