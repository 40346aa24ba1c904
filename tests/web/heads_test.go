package web

import (
	"crypto/tls"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// raw sends bytes over TLS and returns everything that the server answers until it closes the connection.
func raw(t *testing.T, address, request string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // The server signs itself.
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(hosttest.Patience)))
	_, err = io.WriteString(conn, request)
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	var closed net.Error
	require.False(t, err != nil && !strings.Contains(err.Error(), "closed") && (!asNetError(err, &closed) || closed.Timeout()), "%v", err)
	return string(answer)
}

func asNetError(err error, to *net.Error) bool {
	n, ok := err.(net.Error)
	*to = n
	return ok
}

// malformed are the requests that PHP programs send because cPanel's samples did, by what is malformed. Each
// must be answered once, whatever follows it.
func malformed(credentials string) map[string]string {
	const path = "/execute/Email/count_pops"
	const follows = "GET /execute/Email/list_pops HTTP/1.1\r\nHost: localhost\r\n\r\n"
	return map[string]string{
		"line ends in LF CR":  "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + credentials + "\n\r\r\nAccept: */*\r\n\r\n" + follows,
		"line ends in LF":     "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nAuthorization: " + credentials + "\n\r\n\r\n" + follows,
		"form as a header":    "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + credentials + "\r\na=b&c=d\r\nContent-Length: 3\r\n\r\nx=y" + follows,
		"two lengths":         "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + credentials + "\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nx=y\r\n0\r\n\r\n" + follows,
		"length 0 and chunks": "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + credentials + "\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + follows,
	}
}

func TestMalformedHeadsOfPHPPrograms(t *testing.T) {
	t.Parallel()
	w, web := open(t)
	credentials := "cpanel demo:" + w.Token(t, "demo")
	for name, request := range malformed(credentials) {
		answer := raw(t, web.CPanel, request)
		require.Equal(t, 1, strings.Count(answer, "HTTP/1.1 "), "%s: %s", name, answer)
		require.Contains(t, answer, "HTTP/1.1 200 OK", name)
		require.Contains(t, answer, `"data":1`, name)
		require.Contains(t, answer, "Connection: close", name)
	}
	// Every other malformed head is rejected.
	for name, request := range map[string]string{
		"a folded line":       "GET / HTTP/1.1\r\nHost: localhost\r\n folded: x\r\n\r\n",
		"words":               "GET / HTTP/1.1\r\nHost: localhost\r\nno colon here\r\n\r\n",
		"two Content-Lengths": "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"another coding":      "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: gzip\r\n\r\na",
	} {
		require.Contains(t, raw(t, web.CPanel, request), "HTTP/1.1 400 Bad Request", name)
	}
}

// The repair can be turned off, and is off behind a proxy: a proxy could interpret these requests differently.
func TestT54_MalformedHeadsAreRejected(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"strict_heads = true", `proxies = ["127.0.0.9"]`} {
		w, web := openWith(t, line)
		for name, request := range malformed("cpanel demo:" + w.Token(t, "demo")) {
			if name != "line ends in LF" { // Without the repair, this is a complete head, and the rest is another request.
				require.Contains(t, raw(t, web.CPanel, request), "HTTP/1.1 400 Bad Request", "%s: %s", line, name)
			}
		}
	}
}

// The same shapes, as PHP's curl sends them.
func TestPHPCurlSendsMalformedHeads(t *testing.T) {
	t.Parallel()
	w, web := open(t)
	password := w.SetPassword(t, "demo")
	for name, options := range map[string]string{
		"LF CR": `CURLOPT_HTTPHEADER => ["Authorization: Basic " . base64_encode("demo:" . getenv("PASS")) . "\n\r"]`,
		"LF":    `CURLOPT_HTTPHEADER => ["Authorization: Basic " . base64_encode("demo:" . getenv("PASS")) . "\n"]`,
		"form":  `CURLOPT_HTTPHEADER => ["Authorization: Basic " . base64_encode("demo:" . getenv("PASS")) . "\r\ndomain=example.com&email=user"]`,
		"body in the header": `CURLOPT_HTTPHEADER => ["Authorization: Basic " . base64_encode("demo:" . getenv("PASS")) . "\r\n" .
			"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\na=b&c=d"]`,
		"chunks": `CURLOPT_POST => true, CURLOPT_HTTPHEADER => ["Authorization: Basic " . base64_encode("demo:" . getenv("PASS")), "Transfer-Encoding: chunked", "Content-Length: 0"]`,
	} {
		cmd := exec.Command("php", "-r", `$c = curl_init("https://`+web.CPanel+`/execute/Email/count_pops");
			curl_setopt_array($c, [CURLOPT_RETURNTRANSFER => true, CURLOPT_SSL_VERIFYPEER => false, CURLOPT_SSL_VERIFYHOST => 0, CURLOPT_TIMEOUT => 60, `+options+`]);
			echo curl_exec($c), curl_error($c);`)
		cmd.Env = append(cmd.Environ(), "PASS="+password)
		require.Contains(t, hosttest.Output(t, cmd), `"data":1`, name)
	}
}
