package head

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// PHP programs send three malformed shapes of heads, because cPanel's own samples did and PHP's curl sends
// the text of a header as it is:
//
//   - a header line that ends in "\n\r" or "\n" before curl's own "\r\n": Authorization: Basic ...\n\r\r\n
//   - a form that stands as a header line: a=b&c=d\r\n
//   - both Transfer-Encoding: chunked and Content-Length; the body is the Content-Length's bytes
//
// Repairer rewrites heads of exactly these shapes. It must not be used behind a proxy: a proxy could
// interpret such a request differently.

// Repairer is a net.Conn that repairs the heads that are read from it. A head without these shapes passes
// unchanged. After a repaired head, Repairer passes only the body of that request and then nothing more, and
// the head asks the server to close the connection after its answer. So nothing that follows can become a
// request.
type Repairer struct {
	net.Conn
	watch Watcher    // Finds where the next head begins.
	raw   []byte     // Bytes that were read and not yet passed or repaired.
	parse headParser // Parses the head in raw.
	ready []byte     // Bytes to pass.
	err   error      // An error of the connection, which Read returns once, after ready.

	through bool  // Pass everything unchanged from now on.
	last    bool  // A head was repaired, so this is the connection's last request.
	left    int64 // Bytes of the last request's body that are still to pass; -1 means that the body is chunked.
}

// NewRepairer returns a Repairer that reads from c.
func NewRepairer(c net.Conn) *Repairer { return &Repairer{Conn: c} }

// maxRepaired is the maximum size in bytes of a head that is repaired. A longer head passes unchanged, and
// net/http rejects it.
const maxRepaired = 32 << 10

// blankWait is how long Read waits for the rest of a head after a line that ends in "\n\r\n": the head may go
// on, or it has ended there.
const blankWait = 250 * time.Millisecond

// Read implements net.Conn.
func (c *Repairer) Read(p []byte) (int, error) {
	for {
		if len(c.ready) > 0 {
			n := copy(p, c.ready)
			c.ready = c.ready[n:]
			return n, nil
		}
		if err := c.err; err != nil {
			c.err = nil
			return 0, err
		}
		if c.last && c.left == 0 && len(p) > 0 {
			return c.discard(p)
		}
		n, err := c.Conn.Read(p)
		c.err = err
		if n == 0 {
			continue
		}
		c.take(p[:n])
	}
}

// discard reads and discards what follows the last request, until the connection ends. net/http reads from
// the connection while it serves a request, to notice its end.
func (c *Repairer) discard(p []byte) (int, error) {
	for {
		if _, err := c.Conn.Read(p); err != nil {
			return 0, err
		}
	}
}

// take processes bytes that were read.
func (c *Repairer) take(b []byte) {
	for len(b) > 0 && !c.through {
		switch {
		case c.last && c.left >= 0:
			n := min(c.left, int64(len(b)))
			c.ready = append(c.ready, b[:n]...)
			c.left -= n
			return // What follows is discarded.
		case c.last:
			c.ready = append(c.ready, b...)
			return
		case len(c.raw) == 0 && !c.watch.betweenRequests():
			n, err := c.watch.step(b)
			if err != nil { // The other Watcher rejects the request.
				c.through = true
				break
			}
			c.ready = append(c.ready, b[:n]...)
			b = b[n:]
		default:
			c.raw = append(c.raw, b...)
			b = c.head()
		}
	}
	c.ready = append(c.ready, b...)
}

// head examines raw, which begins with a head. If the head is complete, head passes or repairs it and returns
// the bytes that follow it. Otherwise it waits for more bytes and returns nothing.
func (c *Repairer) head() (rest []byte) {
	complete := c.parse.feed(c.raw)
	if !complete && c.parse.pending {
		complete = c.awaitRest()
	}
	switch {
	case complete:
		size := min(c.parse.at, len(c.raw)) // awaitRest may have added a blank line.
		head := c.raw[:size]
		rest = c.raw[size:]
		repaired, length := c.parse.repair()
		c.raw, c.parse = nil, headParser{}
		if repaired != nil {
			c.ready = append(c.ready, repaired...)
			c.last, c.left = true, length
			return rest
		}
		c.ready = append(c.ready, head...)
		if c.watch.Feed(head) != nil {
			c.through = true
		}
	case len(c.raw) > maxRepaired:
		rest, c.raw, c.through = c.raw, nil, true
	}
	return rest
}

// awaitRest reads on after a line that ends in "\n\r\n" at the end of what has arrived. If nothing follows
// within blankWait, that was the end of the head.
func (c *Repairer) awaitRest() (complete bool) {
	_ = c.SetReadDeadline(time.Now().Add(blankWait))
	more := make([]byte, 4<<10)
	n, err := c.Conn.Read(more)
	_ = c.SetReadDeadline(time.Now().Add(afterBlank))
	c.raw = append(c.raw, more[:n]...)
	if n > 0 {
		return c.parse.feed(c.raw)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, io.EOF) {
		c.err = err
		return false
	}
	return c.parse.feed(append(c.raw[:len(c.raw):len(c.raw)], "\r\n"...))
}

// afterBlank is the maximum time for the rest of the request after awaitRest, which has replaced the read
// deadline of net/http.
const afterBlank = 10 * time.Second

// formLine matches a form that stands as a header line.
var formLine = regexp.MustCompile(`^[A-Za-z0-9_.%+\-\[\]]+=[^\s&]*(&[A-Za-z0-9_.%+\-\[\]]+=[^\s&]*)*&?$`)

// headParser parses the head of a request while it arrives.
type headParser struct {
	at      int      // Bytes that were parsed.
	lines   []string // The request line and the header lines, without line breaks.
	crlf    bool     // The request line ends in "\r\n".
	bare    bool     // The last line ends in "\n" alone.
	dirty   bool     // The head has one of the shapes, apart from two lengths.
	pending bool     // What has arrived ends in "\n\r\n", which may or may not be the end of the head.
}

// feed parses raw, which begins with all bytes of earlier calls. It reports whether the head is complete; at
// is then its length.
func (h *headParser) feed(raw []byte) (complete bool) {
	h.pending = false
	for {
		end := bytes.IndexByte(raw[h.at:], '\n')
		if end < 0 {
			return false
		}
		text, ended := strings.CutSuffix(string(raw[h.at:h.at+end]), "\r")
		next := h.at + end + 1
		mixed := h.bare && h.crlf && ended
		switch {
		case len(h.lines) == 0 && text == "": // Blank lines may precede a request.
		case len(h.lines) == 0:
			h.crlf = ended
			h.lines = append(h.lines, text)
		case mixed && text == "\r": // "\n\r" and curl's "\r\n".
			h.dirty, h.bare = true, false
		case mixed && text == "": // "\n" and curl's "\r\n".
			if next == len(raw) {
				h.pending = true
				return false
			}
			h.dirty, h.bare = true, false
		case text == "":
			h.at = next
			return true
		case formLine.MatchString(text):
			h.dirty, h.bare = true, !ended
		default:
			h.bare = !ended
			h.lines = append(h.lines, text)
		}
		h.at = next
	}
}

// repair returns the repaired head and the length of the body that follows, or -1 if the body is chunked. It
// returns nil if the head does not have one of the shapes, or if it is malformed in another way.
func (h *headParser) repair() (repaired []byte, length int64) {
	lengths, codings, chunked := 0, 0, false
	for _, line := range h.lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		switch {
		case strings.EqualFold(name, "Content-Length"):
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			if lengths++; err != nil || n < 0 {
				return nil, 0
			}
			length = n
		case strings.EqualFold(name, "Transfer-Encoding"):
			codings++
			chunked = strings.EqualFold(strings.TrimSpace(value), "chunked")
		}
	}
	both := lengths == 1 && codings == 1
	switch {
	case lengths > 1, codings > 1, codings == 1 && !chunked: // Malformed in another way.
		return nil, 0
	case codings == 1 && !strings.HasSuffix(h.lines[0], " HTTP/1.1"):
		return nil, 0
	case !h.dirty && !both:
		return nil, 0
	}
	var b bytes.Buffer
	for i, line := range h.lines {
		name, _, _ := strings.Cut(line, ":")
		if i > 0 && (strings.EqualFold(name, "Connection") || both && strings.EqualFold(name, "Transfer-Encoding")) {
			continue
		}
		b.WriteString(line + "\r\n")
	}
	b.WriteString("Connection: close\r\n\r\n")
	if chunked && !both {
		length = -1
	}
	return b.Bytes(), length
}

// CloseWrite closes the writing side of the connection; see Conn.CloseWrite.
func (c *Repairer) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
