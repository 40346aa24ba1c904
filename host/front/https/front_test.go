package https

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
)

// people is a backend with the single account alice, and with passwords that a test can delay.
type people struct {
	trying, most atomic.Int64
	hold         chan struct{} // If it is nil, nothing is delayed.
}

// Do implements Backend.
func (*people) Do(context.Context, protocol.Caller, protocol.Call) *protocol.Result {
	return &protocol.Result{}
}

// Account implements Backend.
func (*people) Account(name string) (protocol.Account, error) {
	return protocol.Account{Name: name, UID: 20001}, nil
}

// Accounts implements Backend.
func (*people) Accounts() []protocol.Account { return nil }

// Modules implements Backend.
func (*people) Modules(context.Context, protocol.Account) ([]protocol.Module, []string) {
	return nil, nil
}

// VerifyMailbox implements Backend.
func (*people) VerifyMailbox(context.Context, string, protocol.Secret) (protocol.Account, Verdict, error) {
	return protocol.Account{}, NoSuchMailbox, nil
}

// Owned implements Backend.
func (*people) Owned(string) bool { return false }

// Tenant implements Backend.
func (*people) Tenant(int) bool { return false }

// Verify implements Passwords.
func (p *people) Verify(ctx context.Context, _ string, _ protocol.Secret) (bool, error) {
	for now := p.trying.Add(1); ; {
		if most := p.most.Load(); now <= most || p.most.CompareAndSwap(most, now) {
			break
		}
	}
	defer p.trying.Add(-1)
	if p.hold == nil {
		return false, nil
	}
	select {
	case <-p.hold:
	case <-ctx.Done():
	}
	return false, nil
}

// Stamp implements Passwords.
func (*people) Stamp(string) (string, error) { return "", nil }

// Longest implements Passwords.
func (*people) Longest() time.Duration { return 0 }

// start serves a front whose only time limits are its own, and returns a function that connects to it.
func start(t *testing.T, p *people, prepare func(*Front)) (dial func() net.Conn) {
	t.Helper()
	f := New(Options{Backend: p, Passwords: p, Certified: func() []string { return nil }, Connections: 2000, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	prepare(f)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	own := f.Server(CPanel)
	server := &http.Server{Handler: own.Handler, ConnContext: own.ConnContext}
	go func() { _ = server.Serve(f.Listener(inner, nil)) }()
	t.Cleanup(func() { _ = server.Close() })
	return func() net.Conn {
		conn, err := net.Dial("tcp", inner.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
		return conn
	}
}

// R15: the body of a stranger's sign-in has its own time limit.
func TestR15_TheBodyOfASignIn(t *testing.T) {
	dial := start(t, &people{}, func(f *Front) { f.loginTime = 50 * time.Millisecond })
	conn := dial()
	_, err := io.WriteString(conn, "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nuser=a")
	require.NoError(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err, "it never ends")
	require.Equal(t, http.StatusBadRequest, answer.StatusCode)
}

// T50: the number of concurrent verifications is limited, whatever names clients use. The others wait, and
// all are answered.
func TestT50_Proofs(t *testing.T) {
	p := &people{hold: make(chan struct{})}
	dial := start(t, p, func(*Front) {})
	const names, each = 100, 5 // A name may have five failed attempts at once.
	answers := make(chan int, names*each)
	for name := range names {
		for range each {
			conn := dial()
			r, err := http.NewRequest(http.MethodGet, "http://localhost/execute/Email/list_pops", nil)
			require.NoError(t, err)
			r.SetBasicAuth(fmt.Sprint("name", name), "x")
			require.NoError(t, r.Write(conn))
			go func() {
				answer, err := http.ReadResponse(bufio.NewReader(conn), r)
				if err != nil {
					answers <- 0
					return
				}
				answers <- answer.StatusCode
			}()
		}
	}
	require.Eventually(t, func() bool { return p.trying.Load() >= maxProofs }, time.Minute, time.Millisecond)
	close(p.hold)
	for range names * each {
		require.Contains(t, []int{http.StatusUnauthorized, http.StatusServiceUnavailable}, <-answers)
	}
	// Attempts that were replaced count until they end, up to an eighth more.
	require.LessOrEqual(t, p.most.Load(), int64(maxProofs+maxProofs/8+1))
}
