package head

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
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
	headTime time.Duration
	watch    Watcher    // Finds where the next head begins.
	raw      []byte     // Bytes that were read and not yet passed or repaired.
	parse    headParser // Parses the head in raw.
	ready    []byte     // Bytes to pass.
	err      error      // An error of the connection, which Read returns once, after ready.

	through   bool  // Pass everything unchanged from now on.
	last      bool  // A head was repaired, so this is the connection's last request.
	left      int64 // Bytes of the last request's body that are still to pass; -1 means that the body is chunked.
	discarded int   // Bytes after the last request.

	mu sync.Mutex
	// The times at which reading ends, or zero: by the user of the connection, for the head in raw, and for
	// the bytes after a line that ends in "\n\r\n".
	asked, headEnd, blankEnd time.Time
}

// NewRepairer returns a Repairer that reads from c. A head must arrive within headTime after its first byte.
func NewRepairer(c net.Conn, headTime time.Duration) *Repairer {
	return &Repairer{Conn: c, headTime: headTime}
}

const (
	// maxRepaired is the maximum size in bytes of a head that is repaired. A longer head passes unchanged, and
	// net/http rejects it.
	maxRepaired = 20 << 10
	// maxDiscarded is the maximum number of bytes after the last request that are read.
	maxDiscarded = 1 << 20
	// blankWait is how long Read waits for the rest of a head after a line that ends in "\n\r\n": the head may
	// go on, or it has ended there.
	blankWait = 250 * time.Millisecond
)

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
		switch {
		case c.last && c.left == 0 && len(p) > 0:
			return 0, c.discard()
		case c.parse.pending > 0:
			c.awaitRest()
		default:
			n, err := c.Conn.Read(p)
			c.err = err
			c.take(p[:n])
		}
	}
}

// discard reads and discards the bytes after the last request, until the connection ends. net/http reads from
// the connection while it serves a request, to notice its end.
func (c *Repairer) discard() error {
	scratch := make([]byte, 4<<10)
	for c.discarded < maxDiscarded {
		n, err := c.Conn.Read(scratch)
		if c.discarded += n; err != nil {
			return err
		}
	}
	return io.EOF
}

// take processes bytes that were read.
func (c *Repairer) take(b []byte) {
	for len(b) > 0 && !c.through {
		switch {
		case c.last && c.left >= 0:
			n := min(c.left, int64(len(b)))
			c.ready = append(c.ready, b[:n]...)
			c.left -= n
			return // The rest is discarded.
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
			b = c.head(c.parse.feed(c.raw))
			// Blank lines before a head do not begin it.
			if c.headEnd.IsZero() && len(bytes.TrimLeft(c.raw, "\r\n")) > 0 {
				c.limit(&c.headEnd, time.Now().Add(c.headTime))
			}
		}
	}
	c.ready = append(c.ready, b...)
}

// head passes or repairs the head with which raw begins, if it is complete, and returns the bytes that follow
// it. Otherwise it waits for more bytes and returns nothing.
func (c *Repairer) head(complete bool) (rest []byte) {
	switch {
	case complete:
		head := c.raw[:c.parse.at]
		rest = c.raw[c.parse.at:]
		repaired, length := c.parse.repair()
		if repaired != nil {
			c.ready = append(c.ready, repaired...)
			c.last, c.left = true, length
			break
		}
		c.ready = append(c.ready, head...)
		if c.watch.Feed(head) != nil {
			c.through = true
		}
	case c.parse.foreign, len(c.raw) > maxRepaired:
		rest, c.through = c.raw, true
	default:
		return nil
	}
	c.raw, c.parse = nil, headParser{}
	if !c.headEnd.IsZero() {
		c.limit(&c.headEnd, time.Time{})
	}
	return rest
}

// awaitRest reads on after a line that ends in "\n\r\n". If nothing follows within blankWait that continues
// the head, that was the end of the head.
func (c *Repairer) awaitRest() {
	more := make([]byte, 4<<10)
	c.limit(&c.blankEnd, time.Now().Add(blankWait))
	n, err := c.Conn.Read(more)
	ours := c.oursEnded()
	c.limit(&c.blankEnd, time.Time{})
	c.raw = append(c.raw, more[:n]...)
	complete := false
	switch {
	case n > 0:
		c.err = err
		complete = c.parse.feed(c.raw)
	case errors.Is(err, os.ErrDeadlineExceeded) && ours, errors.Is(err, io.EOF):
		complete = true
		c.parse.end()
	default: // The user's deadline, or that of the head. A later Read goes on.
		c.err = err
		return
	}
	if rest := c.head(complete); len(rest) > 0 {
		c.take(rest)
	}
}

// SetReadDeadline implements net.Conn.
func (c *Repairer) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = t
	return c.Conn.SetReadDeadline(c.earliest())
}

// SetDeadline implements net.Conn.
func (c *Repairer) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// limit sets headEnd or blankEnd.
func (c *Repairer) limit(which *time.Time, t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*which = t
	_ = c.Conn.SetReadDeadline(c.earliest())
}

// oursEnded reports whether blankEnd is over, and no other time at which reading ends.
func (c *Repairer) oursEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.earliest().Equal(c.blankEnd) && !time.Now().Before(c.blankEnd)
}

// earliest returns the earliest time at which reading ends, or zero. The caller holds mu.
func (c *Repairer) earliest() time.Time {
	var first time.Time
	for _, t := range []time.Time{c.asked, c.headEnd, c.blankEnd} {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

var (
	// formLine matches a form that stands as a header line; its values are visible ASCII characters.
	formLine = regexp.MustCompile(`^[A-Za-z0-9_.%+\-\[\]]+=[!-%'-~]*(&[A-Za-z0-9_.%+\-\[\]]+=[!-%'-~]*)*&?$`)
	// headerLine matches the beginning of a header line.
	headerLine = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+:")
	// plainValue matches the value of a header line that may be removed.
	plainValue = regexp.MustCompile(`^[\t -~]*$`)
)

// headParser parses the head of a request while it arrives.
type headParser struct {
	at      int      // Bytes that were parsed.
	lines   []string // The request line and the header lines, without line breaks.
	crlf    bool     // The request line ends in "\r\n".
	bare    bool     // The last line ends in "\n" alone.
	dirty   bool     // The head has one of the shapes, apart from two lengths.
	foreign bool     // The first line is not that of HTTP/1.
	// pending is the length of the head if it ends with the "\n\r\n" that was found, and 0 if none was found
	// or if it is known that the head goes on.
	pending int
}

// feed parses raw, which begins with all bytes of earlier calls. It reports whether the head is complete; at
// is then its length.
func (h *headParser) feed(raw []byte) (complete bool) {
	h.pending = 0
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
			if h.foreign = !strings.HasSuffix(text, " HTTP/1.1") && !strings.HasSuffix(text, " HTTP/1.0"); h.foreign {
				return false
			}
		case mixed && text == "\r": // "\n\r" and curl's "\r\n".
			h.dirty, h.bare = true, false
		case mixed && text == "": // "\n" and curl's "\r\n", or the end.
			switch on, known := h.goesOn(raw[next:]); {
			case !known:
				h.pending = next
				return false
			case !on:
				h.at = next
				return true
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

// goesOn reports whether the head goes on with the first line of rest, and whether that is known already. The
// bytes may also be a body, if there is a Content-Length.
func (h *headParser) goesOn(rest []byte) (on, known bool) {
	line, _, whole := bytes.Cut(rest, []byte("\n"))
	text := strings.TrimSuffix(string(line), "\r")
	switch {
	case !whole:
		return false, false
	case text == "", headerLine.MatchString(text):
		return true, true
	}
	body := slices.ContainsFunc(h.lines, func(line string) bool { name, _, _ := strings.Cut(line, ":"); return same(name, "Content-Length") })
	return !body && formLine.MatchString(text), true
}

// end ends a head that is pending.
func (h *headParser) end() { h.at, h.pending = h.pending, 0 }

// same reports whether two texts in ASCII are equal apart from case.
func same(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }

// repair returns the repaired head and the length of the body that follows, or -1 if the body is chunked. It
// returns nil if the head does not have one of the shapes, or if it is malformed in another way.
func (h *headParser) repair() (repaired []byte, length int64) {
	lengths, codings, chunked := 0, 0, false
	for _, line := range h.lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		switch {
		case same(name, "Content-Length"):
			n, err := parseLength(value)
			if lengths++; err != nil {
				return nil, 0
			}
			length = n
		case same(name, "Transfer-Encoding"):
			codings++
			chunked = same(value, "chunked")
		case same(name, "Connection") && !plainValue.MatchString(value):
			return nil, 0
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
		if i > 0 && (same(name, "Connection") || both && same(name, "Transfer-Encoding")) {
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
