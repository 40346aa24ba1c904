// Package head watches the requests that come over an HTTP/1 connection, before net/http reads them: a
// request that says in two ways where it ends is refused, and the connection closed. net/http takes such
// a request by its Transfer-Encoding and hides the other header; a proxy in front that goes by the
// Content-Length would take a part of the body for another client's request. The package knows no API.
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

// ErrTwoLengths is a request with a Content-Length and a Transfer-Encoding.
var ErrTwoLengths = errors.New("head: a request has Content-Length and Transfer-Encoding")

// refusal answers such a request.
const refusal = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" +
	"The request has both a Content-Length and a Transfer-Encoding header; send one of them.\n"

// refusalTime is how long writing the refusal may take.
const refusalTime = time.Second

// Conn is a connection whose requests are watched.
type Conn struct {
	net.Conn
	watch Watcher
	err   error
}

// New watches what is read from c.
func New(c net.Conn) *Conn { return &Conn{Conn: c} }

// Read implements net.Conn. A request that is refused is answered here, and the stream ends before
// net/http has seen the end of its head.
func (c *Conn) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Conn.Read(p)
	if c.err = c.watch.Feed(p[:n]); c.err != nil {
		_ = c.SetWriteDeadline(time.Now().Add(refusalTime))
		_, _ = io.WriteString(c.Conn, refusal)
		_ = c.CloseWrite()
		return 0, c.err
	}
	return n, err
}

// CloseWrite is for net/http, which has a client read an answer that comes before the request's end.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// maxLine bounds what is kept of a line, in bytes: names of headers are shorter, and net/http refuses
// heads that are longer.
const maxLine = 256

// Watcher follows the requests of a connection: heads, and bodies by their lengths. Its zero value
// expects a head.
type Watcher struct {
	state   state
	line    []byte // What was read of the present line, at most maxLine bytes of it.
	started bool   // The head has a line.
	left    int64  // Bytes of the body or the chunk that are still to come.
	length  int64  // The head's Content-Length; -1 if it is not a number.
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

// The headers that say where a body ends, by their place in Watcher.two.
const (
	contentLength    = 0
	transferEncoding = 1
)

// Feed takes the next bytes of the connection. After an error, nothing that follows can be told apart.
func (w *Watcher) Feed(b []byte) error {
	for len(b) > 0 {
		if w.state == inBody || w.state == inChunk {
			n := min(w.left, int64(len(b)))
			w.left -= n
			b = b[n:]
			if w.left == 0 {
				w.next()
			}
			continue
		}
		end := bytes.IndexByte(b, '\n')
		part := b
		if end >= 0 {
			part = b[:end]
		}
		w.line = append(w.line, part[:min(len(part), maxLine-len(w.line))]...)
		if end < 0 {
			return nil
		}
		b = b[end+1:]
		line := strings.TrimSuffix(string(w.line), "\r")
		w.line = w.line[:0]
		if err := w.take(line); err != nil {
			return err
		}
	}
	return nil
}

// next leaves a body or a chunk that has been read.
func (w *Watcher) next() {
	if w.state == inChunk {
		w.state = inChunkEnd
		return
	}
	*w = Watcher{line: w.line}
}

// take takes a line without its end.
func (w *Watcher) take(line string) error {
	switch w.state {
	case inHead:
		return w.header(line)
	case inChunkSize:
		digits, _, _ := strings.Cut(line, ";")
		size, err := strconv.ParseInt(strings.TrimSpace(digits), 16, 64)
		switch {
		case err != nil || size < 0: // net/http ends the connection.
			w.left, w.state = 1<<62, inBody
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

// header takes a line of a head.
func (w *Watcher) header(line string) error {
	if line == "" {
		if !w.started {
			return nil // Blank lines may stand before a request.
		}
		return w.endOfHead()
	}
	if !w.started {
		w.started = true // The request line.
		return nil
	}
	name, value, _ := strings.Cut(line, ":")
	switch name = strings.TrimSpace(name); {
	case strings.EqualFold(name, "Content-Length"):
		w.two[contentLength] = true
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		if err != nil || n < 0 {
			n = 1 << 62 // net/http refuses the request and ends the connection.
		}
		w.length = n
	case strings.EqualFold(name, "Transfer-Encoding"):
		w.two[transferEncoding] = true
	}
	return nil
}

func (w *Watcher) endOfHead() error {
	switch {
	case w.two[contentLength] && w.two[transferEncoding]:
		return ErrTwoLengths
	case w.two[transferEncoding]:
		w.state = inChunkSize
	case w.length > 0:
		w.left, w.state = w.length, inBody
	default:
		*w = Watcher{line: w.line}
	}
	return nil
}
