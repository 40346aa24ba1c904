package attack

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// site is a world in server mode with the HTTPS API, two accounts and a token for each.
type site struct {
	*hosttest.World
	web    *hosttest.Web
	host   *hosttest.Host
	tokens map[int]string
}

func newSite(t *testing.T, prepare func(*hosttest.World)) *site {
	t.Helper()
	raiseFiles(t)
	s := &site{World: hosttest.Server(t, mallory, alice), tokens: map[int]string{}}
	s.web = s.OpenHTTPS(t)
	if prepare != nil {
		prepare(s.World)
	}
	s.host = s.ServeCommand(t, s.Command(t, "liveapid", "serve"))

	s.web.Wait(t)
	for _, uid := range []int{mallory, alice} {
		s.tokens[uid] = s.Token(t, hosttest.Name(uid))
	}
	return s
}

// dial connects with TLS from an address of this machine.
func (s *site) dial(t testing.TB, from string) (net.Conn, error) {
	raw, err := s.connect(from)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // It signs itself.
	if err := conn.HandshakeContext(t.Context()); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// connect connects as the attacker.
func (s *site) connect(from string) (net.Conn, error) {
	return hosttest.DialTCP(s.web.CPanel, from, mallory)
}

// victim makes calls with a token, each over a new connection, and returns their durations. Every call must
// succeed. curl makes the calls: a client in a process of its own does not wait for the test's own attackers,
// which use up the test's processor time on a busy machine.
func (s *site) victim(t testing.TB, calls int) []time.Duration {
	t.Helper()
	request := fmt.Sprintf("url = https://%s/execute/Email/list_pops\ndata = regex=user\nheader = \"Authorization: cpanel %s:%s\"\nheader = \"Connection: close\"\n"+
		"insecure\nsilent\nshow-error\nno-progress-meter\nmax-time = %d\nwrite-out = \"\\n%%{num_connects} %%{time_total}\\n\"\n",
		s.web.CPanel, hosttest.Name(alice), s.tokens[alice], int(hosttest.Patience.Seconds()))
	curl := s.Command(t, "curl", "--fail-early", "--config", "-")
	curl.Stdin = strings.NewReader(strings.Repeat(request+"next\n", calls-1) + request) // The token is in no command line.
	curl.Stderr = &strings.Builder{}
	out, err := curl.Output()
	require.NoError(t, err, "%s\n%s", curl.Stderr, out)
	require.Equal(t, calls, strings.Count(string(out), `"status":1`), string(out))
	var took []time.Duration
	for line := range strings.Lines(string(out)) {
		if seconds, found := strings.CutPrefix(strings.TrimSpace(line), "1 "); found { // One new connection.
			took = append(took, duration(t, seconds))
		}
	}
	require.Len(t, took, calls)
	return took
}

// duration returns a number of seconds, for example 0.25, as a duration.
func duration(t testing.TB, seconds string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(seconds + "s")
	require.NoError(t, err)
	return d
}

// attacker repeats something until done is closed, and calls begun each time after it has started.
type attacker func(done <-chan struct{}, begun func())

// many runs attackers until the test ends. It returns when each has started.
func many(t testing.TB, n int, do attacker) {
	t.Helper()
	done := make(chan struct{})
	var all, waiting sync.WaitGroup
	t.Cleanup(func() {
		close(done)
		all.Wait()
	})
	for range n {
		waiting.Add(1)
		all.Go(func() { do(done, sync.OnceFunc(waiting.Done)) })
	}
	begun := make(chan struct{})
	go func() {
		waiting.Wait()
		close(begun)
	}()
	select {
	case <-begun:
	case <-time.After(hosttest.Patience):
		t.Fatal("the attack does not begin")
	}
}

// hold keeps a connection open, and opens another when it is closed.
func (s *site) hold(from, send string, plain bool) attacker {
	// The attackers use the cheapest key exchange and resume their sessions, because they share one process.
	config := &tls.Config{
		InsecureSkipVerify: true, ServerName: "localhost", CurvePreferences: []tls.CurveID{tls.X25519}, //nolint:gosec // It signs itself.
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}
	return func(done <-chan struct{}, begun func()) {
		for {
			conn, err := s.connect(from)
			if err == nil && !plain {
				conn = tls.Client(conn, config)
			}
			if err == nil {
				ended := make(chan struct{})
				go func() {
					select {
					case <-done:
					case <-ended:
					}
					_ = conn.Close()
				}()
				_, _ = io.WriteString(conn, send)
				begun()
				_, _ = io.Copy(io.Discard, conn)
				close(ended)
			}
			select {
			case <-done:
				return
			case <-time.After(time.Second):
			}
		}
	}
}

// report is report for calls over HTTPS.
func (s *site) report(t testing.TB, before []time.Duration) {
	t.Helper()
	report(t, s.host, before, s.victim(t, 60))
}

// T50: slow bodies keep no other client out, whether they come from a tenant with a token at several
// addresses of this machine or from strangers who sign in.
func TestT50_SlowBodies(t *testing.T) {
	s := newSite(t, nil)
	before := s.victim(t, 20)
	s.slowBodies(t, scale(520, 340))
	s.report(t, before)
}

// slowBodies keeps the given number of requests with a token open, from each of two addresses.
func (s *site) slowBodies(t testing.TB, each int) {
	head := "POST /execute/Email/list_pops HTTP/1.1\r\nHost: x\r\nAuthorization: cpanel " + hosttest.Name(mallory) + ":" + s.tokens[mallory] +
		"\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000000\r\n\r\nregex="
	many(t, each, s.hold("127.0.0.2", head, false))
	many(t, each, s.hold("127.0.0.3", head, false))
}

// T50: all attacks together.
func TestT50_AllTogether(t *testing.T) {
	tenants := uids(20200, 20)
	s := newSite(t, func(w *hosttest.World) {
		for _, uid := range tenants {
			w.AddAccount(t, uid)
		}
	})
	fill(t, s.World, tenants[18], 3000)
	fill(t, s.World, tenants[19], 2000)
	overSocket, overHTTPS := victim(t, s.World, alice, 30), s.victim(t, 30)
	for _, uid := range tenants[:14] {
		idleSessions(t, s.World, uid, scale(256, 100))
	}
	for _, uid := range tenants[14:17] {
		halfFrames(t, s.World, uid, scale(256, 60))
	}
	largeTags(t, s.World, tenants[17], scale(200, 40))
	patterns(t, s.World, tenants[18], 16)
	pipelining(t, s.World, tenants[19], scale(100, 30))
	s.slowBodies(t, scale(520, 150))
	many(t, scale(260, 80), s.hold("127.0.0.4", "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nuser=", false))
	many(t, scale(2000, 300), s.hold("127.0.0.7", "", true))
	t.Logf("socket: median %s before, %s in the attacks", median(overSocket), median(victim(t, s.World, alice, 60)))
	s.report(t, overHTTPS)
}

// T50: slow bodies of the sign-in form.
func TestT50_SlowSignIns(t *testing.T) {
	s := newSite(t, nil)
	before := s.victim(t, 20)
	for _, from := range []string{"127.0.0.4", "127.0.0.5"} {
		many(t, 130, s.hold(from, "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nuser=", false))
	}
	s.report(t, before)
	// Another client signs in.
	answer := s.web.Request(t, "POST", s.web.CPanel+"/login?login_only=1", "user=nobody-here&pass=wrong")
	_ = answer.Body.Close()
	require.Equal(t, http.StatusUnauthorized, answer.StatusCode)
}

// T50: connections without a request keep no other client out, whatever their number. The socket and the
// control socket still have descriptors.
func TestT50_IdleConnections(t *testing.T) {
	s := newSite(t, nil)
	before := s.victim(t, 20)
	var held []net.Conn
	t.Cleanup(func() {
		for _, conn := range held {
			_ = conn.Close()
		}
	})
	for i := range scale(11_000, 3_000) {
		conn, err := s.connect(fmt.Sprintf("127.0.%d.%d", i/250, i%250+1))
		require.NoError(t, err)
		held = append(held, conn)
	}
	s.report(t, before)
	victim(t, s.World, alice, 20)
	hosttest.Output(t, s.Command(t, "liveapi", "status"))
}

// T50: the same with few descriptors.
func TestT50_Descriptors(t *testing.T) {
	s := newSite(t, nil)
	s.host.Stop(t)
	s.host = s.ServeCommand(t, s.Command(t, "prlimit", "--nofile=400:400", s.Command(t, "liveapid").Path, "serve"))
	s.web.Wait(t)
	before := s.victim(t, 20)
	many(t, 400, s.hold("127.0.0.5", "", true))
	flood(t, s.World, mallory, 400, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	s.report(t, before)
	victim(t, s.World, alice, 20)
	hosttest.Output(t, s.Command(t, "liveapi", "status"))
}

// T50: pages that cost the host time count as calls of the account.
func TestT50_Descriptions(t *testing.T) {
	s := newSite(t, nil)
	before := s.victim(t, 20)
	refused := make(chan struct{}, 1)
	many(t, 60, func(done <-chan struct{}, begun func()) {
		defer begun()
		conn, err := s.dial(t, "127.0.0.6")
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		in := bufio.NewReader(conn)
		for {
			select {
			case <-done:
				return
			default:
			}
			_, err := io.WriteString(conn, "GET /openapi.json HTTP/1.1\r\nHost: x\r\nAuthorization: cpanel "+hosttest.Name(mallory)+":"+s.tokens[mallory]+"\r\n\r\n")
			if err != nil {
				return
			}
			answer, err := http.ReadResponse(in, nil)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			begun()
			if answer.StatusCode == http.StatusServiceUnavailable {
				select {
				case refused <- struct{}{}:
				default:
				}
			}
		}
	})
	select {
	case <-refused:
	case <-time.After(hosttest.Patience):
		t.Fatal("nobody was refused")
	}
	s.report(t, before)
}

// T54: a request with two contradicting lengths is rejected, and its connection is closed. OPTIONS * is
// accepted. Behind a proxy, no head is repaired.
func TestT54_Framing(t *testing.T) {
	s := newSite(t, func(w *hosttest.World) { w.Set(t, "[web]\n", "[web]\nproxies = [\"127.0.0.9\"]\n") })
	for name, request := range map[string]string{
		"two lengths":    "POST /execute/Email/list_pops HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /login HTTP/1.1\r\nHost: x\r\n\r\n",
		"the other way":  "POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
		"of a stranger":  "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
		"two of lengths": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
	} {
		conn, err := s.dial(t, "127.0.0.1")
		require.NoError(t, err)
		_, err = io.WriteString(conn, request)
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(hosttest.Patience)))
		answer, err := io.ReadAll(conn)
		require.NoError(t, err, name)
		require.Contains(t, string(answer), "400 Bad Request", name)
		require.Equal(t, 1, strings.Count(string(answer), "HTTP/1.1 "), "%s: %s", name, answer)
		_ = conn.Close()
	}
	conn, err := s.dial(t, "127.0.0.1")
	require.NoError(t, err)
	_, err = io.WriteString(conn, "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Contains(t, string(answer), "405 Method Not Allowed")
	require.Contains(t, string(answer), "Content-Security-Policy")
}
