package head

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	get     = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	post    = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab\n\nc"
	chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\na\n\n\r\nA\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n"
	both    = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
)

// T54: a request with two lengths is rejected at any position of a connection, in pieces of any size.
func TestT54_TwoLengths(t *testing.T) {
	for name, c := range map[string]struct {
		stream string
		bad    bool
	}{
		"first": {both, true}, "the other way round": {"POST / HTTP/1.1\r\nTransfer-Encoding: x\r\nContent-Length: 0\r\n\r\n", true},
		"after a GET": {get + both, true}, "after a body": {post + both, true}, "after chunks": {chunked + "\r\n" + both, true},
		"odd spelling": {"POST / HTTP/1.1\ncontent-LENGTH : 5\nTRANSFER-encoding\t: chunked\n\n", true},
		"of HTTP/1.0":  {"POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", true},
		"in a body":    {"POST / HTTP/1.1\r\nContent-Length: 77\r\n\r\n" + both[:77], false},
		"in a chunk":   {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nContent-Length: \r\n0\r\n\r\n" + get, false},
		"none":         {strings.Repeat(get+post+chunked, 3), false},
		"long line":    {"GET /" + strings.Repeat("x", 5000) + " HTTP/1.1\r\nX: " + strings.Repeat("Content-Length: 5, Transfer-Encoding", 50) + "\r\n\r\n", false},
	} {
		for _, size := range []int{1, 2, 7, 1 << 20} {
			var w Watcher
			var err error
			for at := 0; at < len(c.stream) && err == nil; at += size {
				err = w.Feed([]byte(c.stream[at:min(at+size, len(c.stream))]))
			}
			if c.bad {
				require.ErrorIs(t, err, ErrTwoLengths, "%s in pieces of %d", name, size)
			} else {
				require.NoError(t, err, "%s in pieces of %d", name, size)
			}
		}
	}
}

// T54: a request that readers could delimit differently is rejected too.
func TestT54_LengthsThatCantBeTold(t *testing.T) {
	for name, stream := range map[string]string{
		"a folded header":         "POST / HTTP/1.1\r\nX: a\r\n Transfer-Encoding: chunked\r\n\r\n",
		"a folded length":         "POST / HTTP/1.1\r\nContent-Length:\r\n 2\r\n\r\nab",
		"a folded length, by tab": "POST / HTTP/1.1\r\nContent-Length:\r\n\t2\r\n\r\nab",
		"chunks of HTTP/1.0":      "GET / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
		"chunks of a long line":   "GET /" + strings.Repeat("x", 3000) + " HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
		"a number of 241 digits":  "POST / HTTP/1.1\r\nContent-Length: " + strings.Repeat("0", 240) + "5\r\n\r\nabcde",
		"a number after blanks":   "POST / HTTP/1.1\r\nContent-Length:" + strings.Repeat(" ", 239) + "55\r\n\r\nabcde",
		"a number and a mark":     "POST / HTTP/1.1\r\nContent-Length: 5\u00a0\r\n\r\nabcde",
		"a sign":                  "POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\nabcde",
		"no number":               "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
		"below zero":              "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
		"two that differ":         "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		"a chunk without a size":  "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
	} {
		for _, size := range []int{1, 3, 1 << 20} {
			var w Watcher
			var err error
			for at := 0; at < len(stream) && err == nil; at += size {
				err = w.Feed([]byte(stream[at:min(at+size, len(stream))]))
			}
			require.ErrorIs(t, err, ErrLength, name)
		}
	}
	var w Watcher
	require.NoError(t, w.Feed([]byte("POST /"+strings.Repeat("x", 3000)+" HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na"+chunked+get)))
}

// The client of a rejected request gets the reason. net/http serves other requests as usual.
func TestConn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := 0
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		served++
		_, _ = w.Write(append([]byte(r.Method+" "), body...))
	})}
	go func() { _ = server.Serve(listener{l}) }()
	t.Cleanup(func() { _ = server.Close() })
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for _, c := range []struct{ request, says string }{{get, "GET "}, {post, "POST ab\n\nc"}, {chunked, "POST a\n\n0123456789"}} {
		_, err = io.WriteString(conn, c.request)
		require.NoError(t, err)
		answer, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.Equal(t, c.says, string(body))
	}
	_, err = io.WriteString(conn, both+get)
	require.NoError(t, err)
	answer, err := io.ReadAll(in)
	require.NoError(t, err)
	require.Contains(t, string(answer), "400 Bad Request")
	require.Contains(t, string(answer), "send one of them")
	require.Equal(t, 3, served)
}

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return New(c), nil
}

// The result does not depend on the sizes of the pieces.
func FuzzWatcher(f *testing.F) {
	for _, seed := range []string{get, post, chunked, both, get + both, chunked + both} {
		f.Add(seed, 3)
	}
	f.Fuzz(func(t *testing.T, stream string, size int) {
		var whole, pieces Watcher
		want := whole.Feed([]byte(stream))
		size = max(1, min(size, 1000))
		var got error
		for at := 0; at < len(stream) && got == nil; at += size {
			got = pieces.Feed([]byte(stream[at:min(at+size, len(stream))]))
		}
		require.Equal(t, want, got)
	})
}
