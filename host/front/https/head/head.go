// Package head checks the headers of requests on an HTTP/1 connection before net/http reads them. It rejects
// requests that two readers could delimit differently (two lengths, an invalid length, folded header lines, chunks
// in HTTP/1.0), and closes the connection. net/http accepts some of them: with a Content-Length and a
// Transfer-Encoding it uses the latter and hides the former, and a proxy in front that uses the former would take
// a part of the body for another client's request. The package does not depend on any API.
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

// Errors of a Watcher.
var (
	// ErrTwoLengths is returned for a request with both Content-Length and Transfer-Encoding.
	ErrTwoLengths = errors.New("head: a request has Content-Length and Transfer-Encoding")
	// ErrLength is returned for a request with an unclear end, or that different readers would read in
	// different ways.
	ErrLength = errors.New("head: the end of a request is not clear")
)

// refusals are the answers to such requests.
var refusals = map[error]string{
	ErrTwoLengths: "The request has both a Content-Length and a Transfer-Encoding header; send one of them.\n",
	ErrLength:     "The end of the request is not clear: its headers must not be folded, and it must have a number as its length, or the encoding chunked with HTTP/1.1.\n",
}

const refusalHead = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"

// refusalTime is how long writing such an answer may take.
const refusalTime = time.Second

// Conn is a connection with a Watcher.
type Conn struct {
	net.Conn
	watch Watcher
	err   error
}

// New returns a connection that checks everything that is read from c.
func New(c net.Conn) *Conn { return &Conn{Conn: c} }

// Read implements net.Conn. If a request is rejected, Read answers it and ends the stream before net/http
// sees the end of its head.
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

// CloseWrite is for net/http, which uses it to send an answer before the request's end.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// maxLine limits the part of a line that is kept, in bytes. Header names are shorter, and net/http rejects
// longer heads.
const maxLine = 256

// Watcher follows the requests of a connection: heads, and bodies by their lengths. Its zero value expects a
// head.
type Watcher struct {
	state   state
	line    []byte // The first bytes of the current line, at most maxLine.
	started bool   // The head has a line.
	left    int64  // Bytes of the body or the chunk that are still to come.
	length  int64  // The head's Content-Length.
	old     bool   // The request uses HTTP/1.0.
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

// The headers that specify the end of a body, as indexes of Watcher.two.
const (
	contentLength    = 0
	transferEncoding = 1
)

// Feed takes the next bytes of the connection. After an error, the rest of the stream has no meaning.
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
		w.keep(part)
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

// keep keeps the beginning of a line. Of a request line it also keeps the end, which has the version.
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

// next leaves a body or a chunk that was read completely.
func (w *Watcher) next() {
	if w.state == inChunk {
		w.state = inChunkEnd
		return
	}
	*w = Watcher{line: w.line}
}

// take processes a line without its end.
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

// header processes a line of a head.
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
		return ErrLength // Some readers would treat the line as a continuation of the header before it.
	}
	name, value, _ := strings.Cut(line, ":")
	switch name = strings.TrimSpace(name); {
	case strings.EqualFold(name, "Content-Length"):
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		if err != nil || n < 0 || w.two[contentLength] && n != w.length {
			return ErrLength
		}
		w.two[contentLength], w.length = true, n
	case strings.EqualFold(name, "Transfer-Encoding"):
		w.two[transferEncoding] = true
	}
	return nil
}

func (w *Watcher) endOfHead() error {
	switch {
	case w.two[contentLength] && w.two[transferEncoding]:
		return ErrTwoLengths
	case w.two[transferEncoding] && w.old:
		return ErrLength // Some readers accept this spelling, and some do not.
	case w.two[transferEncoding]:
		w.state = inChunkSize
	case w.length > 0:
		w.left, w.state = w.length, inBody
	default:
		*w = Watcher{line: w.line}
	}
	return nil
}
