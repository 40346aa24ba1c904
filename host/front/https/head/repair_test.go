package head

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pieces is a connection that delivers a stream in pieces of a size, and then ends.
type pieces struct {
	net.Conn
	stream []byte
	size   int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.stream) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.size)], p.stream)
	p.stream = p.stream[n:]
	return n, nil
}

func (*pieces) SetReadDeadline(time.Time) error { return nil }

// repaired returns what a Repairer passes of a stream.
func repaired(t testing.TB, stream string, size int) string {
	t.Helper()
	var out bytes.Buffer
	c := NewRepairer(&pieces{stream: []byte(stream), size: size}, time.Minute)
	buffer := make([]byte, 4096)
	for {
		n, err := c.Read(buffer)
		out.Write(buffer[:n])
		if errors.Is(err, io.EOF) {
			return out.String()
		}
		require.NoError(t, err)
	}
}

// Clean requests pass byte for byte, in pieces of any size, and so do requests that are malformed in any
// other way: the Watcher rejects them.
func TestRepairerPassesEverythingElse(t *testing.T) {
	for _, stream := range []string{
		get, get + get + post + get, chunked + get, post + chunked + get, "\r\n" + get,
		"GET / HTTP/1.1\nHost: x\n\n" + get,
		"GET / HTTP/1.1\r\nHost: x\nAccept: y\r\n\r\n" + get,
		"POST / HTTP/1.1\r\nContent-Length: 40\r\n\r\n" + both[:40] + get,
		"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: -1\r\na=b\r\n\r\n",
		"POST / HTTP/1.0\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\n folded: a\r\n\r\n" + get,
		"GET / HTTP/1.1\r\nHost: x\r\nno colon here\r\n\r\n",
		"GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 2*maxRepaired) + "\r\n\r\n" + get,
		strings.Repeat("x", 2*maxRepaired),
		"GET /\r\n", "GET / HTTP/1.1 \r\na=b\r\n\r\n",
		// A bare "\n" before the end of a head, and a body that looks like a header line or a form.
		"GET / HTTP/1.1\r\nHost: x\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: 7\n\r\na=b&c=d", "POST / HTTP/1.1\r\nContent-Length: 9\n\r\na=b&c=d\r\n",
		// What is removed or accepted must be plain ASCII.
		"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\x0b\r\n\r\na",
		"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\u00a0\r\n\r\na",
		"POST / HTTP/1.1\r\nContent-Length: 1\r\nTran\u017ffer-Encoding: chun\u212aed\r\n\r\na",
		"GET / HTTP/1.1\r\nConnection: close\x00evil\r\na=b\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\na=\x00\x01:\xff\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x",
	} {
		for _, size := range []int{1, 2, 3, 50, 1 << 20} {
			got := repaired(t, stream, size)
			if strings.HasSuffix(stream, "Host: x") {
				require.Empty(t, got, "an unfinished head does not pass")
				continue
			}
			require.Equal(t, stream, got, "in pieces of %d", size)
		}
	}
}

// The shapes that PHP programs send become a clean head, the body of the right length, and nothing more.
func TestRepairer(t *testing.T) {
	const smuggled = "GET /evil HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, c := range []struct{ name, stream, want string }{
		{"a header line that ends in \\n\\r", "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eA==\n\r\r\nAccept: */*\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eA==\r\nAccept: */*\r\nConnection: close\r\n\r\n"},
		{"as the last line", "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eA==\n\r\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eA==\r\nConnection: close\r\n\r\n"},
		{"a header line that ends in \\n", "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eA==\n\r\nContent-Length: 3\r\n\r\na=b" + smuggled,
			"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eA==\r\nContent-Length: 3\r\nConnection: close\r\n\r\na=b"},
		{"as the last line before the end", "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eA==\n\r\n\r\n" + smuggled,
			"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eA==\r\nConnection: close\r\n\r\n"},
		{"a form as a header line", "POST / HTTP/1.1\r\nHost: x\r\na=b&c=http://d/%20\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc" + smuggled,
			"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"},
		{"two lengths", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 7\r\n\r\na=b&c=d\r\n0\r\n\r\n" + smuggled,
			"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\nConnection: close\r\n\r\na=b&c=d"},
		{"two lengths, the second of no body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: Chunked\r\n\r\n" + smuggled,
			"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		{"chunks after a repaired line", "POST / HTTP/1.1\r\nA: b\n\r\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
			"POST / HTTP/1.1\r\nA: b\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		{"after a clean request", get + "POST / HTTP/1.1\r\na=b\r\n\r\n" + smuggled, get + "POST / HTTP/1.1\r\nConnection: close\r\n\r\n"},
	} {
		for _, size := range []int{1, 2, 3, 50, 1 << 20} {
			require.Equal(t, c.want, repaired(t, c.stream, size), "%s, in pieces of %d", c.name, size)
		}
	}
}

// slow returns a Repairer, the client's end of its connection, and a function that writes to the latter.
func slow(t *testing.T, headTime time.Duration) (*Repairer, net.Conn, func(string)) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	client, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	server, err := listener.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Close() })
	return NewRepairer(server, headTime), client, func(text string) {
		_, err := io.WriteString(client, text)
		require.NoError(t, err)
	}
}

// A head has a single time limit, however its lines end, and whatever limit the user of the connection set.
func TestRepairerLimitsTheTimeOfAHead(t *testing.T) {
	c, client, _ := slow(t, 300*time.Millisecond)
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\n")
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				if _, err := io.WriteString(client, "A: b\n\r\n"); err != nil {
					return
				}
			}
		}
	}()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Hour)))
	n, err := c.Read(make([]byte, 100))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Zero(t, n)
	close(stop)
	<-ended

	// A clean head is not delayed after a line that ends in a bare line feed.
	c, _, write := slow(t, time.Minute)
	write("GET / HTTP/1.1\r\nHost: x\n\r\n")
	buffer := make([]byte, 100)
	n, err = c.Read(buffer)
	require.NoError(t, err)
	require.Equal(t, "GET / HTTP/1.1\r\nHost: x\n\r\n", string(buffer[:n]))
}

// A blank line after a body does not begin the next head: only the user's limit applies to it.
func TestRepairerLimitsNoBlankLine(t *testing.T) {
	c, _, write := slow(t, time.Nanosecond)
	c.take([]byte("\r\n"))
	require.Zero(t, c.headEnd)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
	write(get)
	buffer := make([]byte, 200)
	n, err := c.Read(buffer)
	require.NoError(t, err)
	require.Equal(t, "\r\n"+get, string(buffer[:n]))
}

// If the user of the connection interrupts the reading, the head does not end there: it goes on later.
func TestRepairerIsInterrupted(t *testing.T) {
	c, _, write := slow(t, time.Minute)
	c.take([]byte("POST / HTTP/1.1\r\nHost: x\r\nAuthorization: y\n\r\n"))
	require.NoError(t, c.SetReadDeadline(time.Unix(1, 0)))
	buffer := make([]byte, 200)
	_, err := c.Read(buffer)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, c.SetReadDeadline(time.Time{}))
	write("X-Later: here\r\nContent-Length: 7\r\n\r\na=b&c=d")
	var got string
	for !strings.HasSuffix(got, "a=b&c=d") {
		n, err := c.Read(buffer)
		require.NoError(t, err)
		got += string(buffer[:n])
	}
	require.Equal(t, "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: y\r\nX-Later: here\r\nContent-Length: 7\r\nConnection: close\r\n\r\na=b&c=d", got)
}

// What follows the last request is not read without end.
func TestRepairerStopsReading(t *testing.T) {
	stream := "GET / HTTP/1.1\r\na=b\r\n\r\n" + strings.Repeat("x", 3*maxDiscarded)
	conn := &pieces{stream: []byte(stream), size: 1 << 20}
	c := NewRepairer(conn, time.Minute)
	text, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", string(text))
	require.NotEmpty(t, conn.stream)
}

// Whatever arrives, what a Repairer passes is either the same, or a single request with a clear end.
func FuzzRepairer(f *testing.F) {
	for _, seed := range []string{get, post, chunked, both, "GET / HTTP/1.1\r\nA: b\n\r\r\n\r\n", "GET / HTTP/1.1\r\na=b&c=d\r\n\r\n", "GET / HTTP/1.1\r\nA: b\n\r\nC: d\r\n\r\n"} {
		f.Add(seed, 3)
	}
	f.Fuzz(func(t *testing.T, stream string, size int) {
		if size < 1 || len(stream) > 1<<16 {
			return
		}
		whole := repaired(t, stream, 1<<20)
		if strings.HasPrefix(stream, whole) {
			return // Unchanged, or a head whose end has not arrived.
		}
		at := strings.LastIndex(whole, "Connection: close\r\n\r\n")
		require.GreaterOrEqual(t, at, 0, "a repaired head closes the connection: %q", whole)
		require.LessOrEqual(t, len(whole), len(stream)+len("Connection: close\r\n\r\n")+2*strings.Count(stream, "\n"))
	})
}
