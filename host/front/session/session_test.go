package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/front/session"
	"github.com/liveapid/liveapid/host/front/unixsock"
	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/protocol"
)

// doer runs calls in the test's process: these tests are about the session.
type doer func(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result

func (d doer) Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result {
	return d(ctx, caller, call)
}

func echo(_ context.Context, _ protocol.Caller, call protocol.Call) *protocol.Result {
	return &protocol.Result{Data: call.Args.Named["text"]}
}

type rig struct {
	t      *testing.T
	server *session.Server
	socket string
	log    *hosttest.Buffer
	ended  chan error
	l      *net.UnixListener
}

func serve(t *testing.T, d doer, limits session.Limits, identify func(int) (protocol.Caller, error)) *rig {
	t.Helper()
	if identify == nil {
		identify = func(int) (protocol.Caller, error) {
			return protocol.Caller{Account: protocol.Account{Name: "alice"}, Role: protocol.RoleAccount}, nil
		}
	}
	dir, err := os.MkdirTemp("", "lw")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := &rig{t: t, socket: filepath.Join(dir, "s"), log: &hosttest.Buffer{}, ended: make(chan error, 1)}
	r.l, err = unixsock.Listen(r.socket, 0o600)
	require.NoError(t, err)
	r.server = &session.Server{Doer: d, Limits: limits, Identify: identify, Log: slog.New(slog.NewTextHandler(r.log, nil))}
	go func() { r.ended <- r.server.Serve(context.Background(), r.l) }()
	t.Cleanup(func() {
		_ = r.l.Close()
		require.NoError(t, <-r.ended)
		ctx, cancel := context.WithTimeout(context.Background(), hosttest.Patience)
		defer cancel()
		r.server.Shutdown(ctx)
		require.NoError(t, ctx.Err(), "every session ended")
	})
	return r
}

func (r *rig) dial() *hosttest.Conn {
	r.t.Helper()
	conn, err := net.Dial("unix", r.socket)
	require.NoError(r.t, err)
	return hosttest.NewConn(r.t, conn)
}

func echoOf(text string) string {
	return fmt.Sprintf(`{"apiversion":3,"module":"Try","func":"echo","result":{"data":%q,"errors":null,"messages":null,"metadata":{},"status":1,"warnings":null}}`, text)
}

func try(text string) string {
	return hosttest.Action("uapi", "Try", "echo", fmt.Sprintf(`{"text":%q}`, text))
}

func TestSession(t *testing.T) {
	r := serve(t, echo, session.Limits{}, nil)
	c := r.dial()
	require.Equal(t, `{"data":{"result":"json"}}`, c.Ask(`<cpaneljson enable="1">`))
	require.Equal(t, echoOf("a"), c.Ask(try("a")))
	require.Equal(t, `{"data":{"result":"shutdown"}}`, c.Ask(`<cpanelxml shutdown="1" />`))
	c.Ended()
}

// Deviations that real clients have, each accepted.
func TestClientsOfTheField(t *testing.T) {
	frame := func(payload string) string { return fmt.Sprintf("%d\n%s", len(payload), payload) }
	enable := frame(`<cpaneljson enable="1">`)
	text := "päß…😀"
	action := strings.Replace(try("x"), `"x"`, `"`+text+`"`, 1)
	for _, c := range []struct {
		name, bytes string
		answers     []string
	}{
		{"no newlines in the action", frame(strings.ReplaceAll(try("a"), "\n", "")), []string{echoOf("a")}},
		{"the length in characters", fmt.Sprintf("%d\n%s", len([]rune(action)), action), []string{echoOf(text)}},
		{"the length in UTF-16 units, then a frame", fmt.Sprintf("%d\n%s", len([]rune(action))+1, action) + frame(try("b")), []string{echoOf(text), echoOf("b")}},
		{"a newline behind each payload", enable + "\n" + frame(try("a")) + "\n" + frame(try("b")) + "\n", []string{`{"data":{"result":"json"}}`, echoOf("a"), echoOf("b")}},
		{"CR LF", strings.Replace(frame(try("a")), "\n", "\r\n", 1), []string{echoOf("a")}},
		{"shutdown without a length", enable + `<cpanelxml shutdown="1" />`, []string{`{"data":{"result":"json"}}`, `{"data":{"result":"shutdown"}}`}},
		{"shutdown alone, without a length", `<cpanelxml shutdown="1" />`, []string{`{"data":{"result":"shutdown"}}`}},
		{"no enable at all", frame(try("a")), []string{echoOf("a")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, slowly := range []bool{false, true} {
				r := serve(t, echo, session.Limits{}, nil)
				conn := r.dial()
				if slowly {
					for i := range len(c.bytes) {
						conn.Raw(c.bytes[i : i+1])
					}
				} else {
					conn.Raw(c.bytes)
				}
				require.NoError(t, conn.Conn.(*net.UnixConn).CloseWrite()) // After a half-close, answers still arrive.
				for _, want := range c.answers {
					require.Equal(t, want, conn.Answer())
				}
				conn.Ended()
			}
		})
	}
}

func TestTenThousandFrames(t *testing.T) {
	r := serve(t, echo, session.Limits{}, nil)
	c := r.dial()
	go func() {
		var all bytes.Buffer
		for i := range 10_000 {
			payload := try(fmt.Sprint(i))
			fmt.Fprintf(&all, "%d\n%s", len(payload), payload)
		}
		_, _ = c.Write(all.Bytes())
	}()
	for i := range 10_000 {
		require.Equal(t, echoOf(fmt.Sprint(i)), c.Answer())
	}
}

// A frame with an invalid length is answered and ends its session. A frame with an invalid request is only
// answered.
func TestBadFrames(t *testing.T) {
	for _, c := range []struct{ name, bytes, says string }{
		{"no number", "abc\n", "must start with its length in bytes"},
		{"negative", "-1\n", "must start with its length in bytes"},
		{"a leading zero", "01\nx", "must start with its length in bytes"},
		{"too large", "1025\n", "at most 1024 bytes are accepted"},
		{"ten digits", "9999999999\n", "at most 1024 bytes are accepted"},
		{"eleven digits", "00000000001\n", "must start with its length in bytes"},
		{"an action without an end", "14\n<cpanelaction>" + strings.Repeat(" ", 2000), "at most 1024 bytes are accepted"},
		{"a tag without a length", `<cpaneljson enable="1">`, "must start with its length in bytes"},
		{"longer than what comes", "99\nabc", "the stream ended inside a frame"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := serve(t, echo, session.Limits{Frame: 1024}, nil).dial()
			conn.Raw(c.bytes)
			require.NoError(t, conn.Conn.(*net.UnixConn).CloseWrite())
			answer := conn.Answer()
			require.True(t, strings.HasPrefix(answer, `{"data":{"result":0},"error":"`), answer)
			require.Contains(t, strings.ToLower(answer), strings.ToLower(c.says))
		})
	}
	conn := serve(t, echo, session.Limits{}, nil).dial()
	for _, c := range []struct{ payload, want string }{
		{"", `{"data":{"result":0},"error":"Unknown API request: the frame contains neither \u003ccpanelaction\u003e nor a tag"}`},
		{"hello </cpanelresult>", `{"data":{"result":0},"error":"Unknown API request: the frame contains neither \u003ccpanelaction\u003e nor a tag"}`},
		{hosttest.Action("2", "Email", "passwdpop", "{"), `{"cpanelresult":{"apiversion":2,"module":"Email","func":"passwdpop","error":"Unknown API request: the action can't be read: broken JSON: it ends too early","data":[],"event":{"reason":"Unknown API request: the action can't be read: broken JSON: it ends too early","result":0}}}`},
		{`<cpanel print="$homedir">`, `{"apiversion":"1","type":"internal","command":"print","source":"internal","data":{"result":""},"event":{"result":1}}`},
		{`<?cp Email::f( %, a ?>`, `{"apiversion":"1","type":"internal","command":"tag","source":"internal","data":{"result":""},"event":{"reason":"The tag can't be read: a closing parenthesis is missing.","result":0},"error":"The tag can't be read: a closing parenthesis is missing."}`},
	} {
		require.Equal(t, c.want, conn.Ask(c.payload))
	}
	require.Equal(t, echoOf("a"), conn.Ask(try("a")), "the session goes on")
}

// T26 and R15: a frame has a deadline as a whole. A client that sends single bytes slowly does not extend it.
func TestT26_SlowClients(t *testing.T) {
	r := serve(t, echo, session.Limits{FrameTime: time.Second, Idle: time.Hour}, nil)
	c := r.dial()
	stop := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() {
		_, _ = c.Write([]byte("1000\n"))
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				if _, err := c.Write([]byte("a")); err != nil {
					return
				}
			}
		}
	})
	require.Contains(t, c.Answer(), "no complete frame arrived in time")
	close(stop)
	sender.Wait()

	idle := serve(t, echo, session.Limits{Idle: 2 * time.Second}, nil).dial()
	require.Equal(t, echoOf("a"), idle.Ask(try("a")))
	require.Contains(t, idle.Answer(), "2s between frames")
	idle.Ended()
}

// T1: the kernel identifies the client. If it does not, no call is dispatched.
func TestT01_Identity(t *testing.T) {
	never := func(context.Context, protocol.Caller, protocol.Call) *protocol.Result {
		t.Error("a call was dispatched")
		return nil
	}
	for name, err := range map[string]error{
		"an internal error": errors.New("look-up broke in /etc/somewhere"),
		"a refusal":         protocol.NewError(protocol.KindDenied, "Your user has no account on this host."),
	} {
		r := serve(t, never, session.Limits{}, func(uid int) (protocol.Caller, error) {
			require.Equal(t, os.Geteuid(), uid)
			return protocol.Caller{}, err
		})
		c := r.dial()
		answer := c.Answer()
		require.NotContains(t, answer, "/etc", name)
		if protocol.AsError(err) != nil {
			require.Equal(t, `{"data":{"result":0},"error":"Your user has no account on this host."}`, answer)
		}
		c.Ended()
	}
	var got []protocol.Caller
	r := serve(t, func(_ context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result {
		got = append(got, caller)
		return &protocol.Result{}
	}, session.Limits{}, nil)
	c := r.dial()
	c.Ask(`<cpanelaction>{"module":"Try","func":"echo","apiversion":"uapi","user":"root","account":"root","uid":0,"args":{"user":"root","REMOTE_USER":"root"}}</cpanelaction>`)
	require.Len(t, got, 1)
	require.Equal(t, "alice", got[0].Account.Name)
}

func TestSessionLimits(t *testing.T) {
	r := serve(t, echo, session.Limits{AccountSessions: 2}, nil)
	one, two := r.dial(), r.dial()
	require.Equal(t, echoOf("a"), one.Ask(try("a")))
	require.Equal(t, echoOf("a"), two.Ask(try("a")))
	require.Contains(t, r.dial().Answer(), "The account has 2 sessions, which is its limit")
	require.Equal(t, echoOf("b"), one.Ask(try("b")))
	require.NoError(t, two.Close())
	require.Eventually(t, func() bool {
		conn, err := net.Dial("unix", r.socket)
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		payload := try("c")
		_, _ = fmt.Fprintf(conn, "%d\n%s", len(payload), payload)
		answer := make([]byte, 512)
		n, _ := conn.Read(answer)
		return strings.Contains(string(answer[:n]), `"status":1`)
	}, hosttest.Patience, time.Millisecond, "a place is free again")

	all := serve(t, echo, session.Limits{Sessions: 1}, nil)
	first := all.dial()
	require.Equal(t, echoOf("a"), first.Ask(try("a")))
	require.Contains(t, all.dial().Answer(), "The host has 1 sessions, which is its limit")
}

// R16: running calls finish and are answered, idle sessions are closed, and new connections get the reason.
func TestR16_Drain(t *testing.T) {
	running, finish := make(chan struct{}, 10), make(chan struct{})
	r := serve(t, func(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result {
		if call.Args.Named["text"] == "slow" {
			running <- struct{}{}
			<-finish
		}
		return echo(ctx, caller, call)
	}, session.Limits{}, nil)
	idle := r.dial()
	require.Equal(t, echoOf("a"), idle.Ask(try("a")))
	var busy []*hosttest.Conn
	for range 10 {
		c := r.dial()
		c.Send(try("slow"))
		<-running
		busy = append(busy, c)
	}
	drained := make(chan struct{})
	go func() {
		r.server.Shutdown(context.Background())
		close(drained)
	}()
	idle.Ended()
	require.Contains(t, r.dial().Answer(), "shutting down")
	close(finish)
	for _, c := range busy {
		require.Equal(t, echoOf("slow"), c.Answer())
		c.Ended()
	}
	<-drained
}

// R18: programs that connected a moment before the host began to drain make their calls; then their sessions are closed.
func TestR18_LastCalls(t *testing.T) {
	r := serve(t, echo, session.Limits{}, nil)
	var early []*hosttest.Conn
	for range 20 {
		early = append(early, r.dial())
	}
	require.Eventually(t, func() bool { return r.server.Sessions() == len(early) }, hosttest.Patience, hosttest.Tick)
	require.NoError(t, r.l.Close())
	drained := make(chan struct{})
	go func() {
		r.server.Shutdown(context.Background())
		close(drained)
	}()
	for _, c := range early {
		require.Equal(t, echoOf("late"), c.Ask(try("late")))
	}
	for _, c := range early {
		c.Ended()
	}
	<-drained
}

func TestShutdownCutsWhatDoesNotEnd(t *testing.T) {
	running, finish := make(chan struct{}), make(chan struct{})
	r := serve(t, func(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result {
		close(running)
		<-finish
		return echo(ctx, caller, call)
	}, session.Limits{}, nil)
	c := r.dial()
	c.Send(try("slow"))
	<-running
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.server.Shutdown(ctx)
	c.Ended()
	close(finish)
}

func TestPanicEndsTheCallAlone(t *testing.T) {
	r := serve(t, func(_ context.Context, _ protocol.Caller, call protocol.Call) *protocol.Result {
		panic("c4n4ry " + call.Args.Named["text"].(string))
	}, session.Limits{}, nil)
	c := r.dial()
	for range 2 {
		require.Contains(t, c.Ask(try("secret")), `"errors":["The request failed."]`)
	}
	require.Contains(t, r.log.String(), "panic in a call")
	require.NotContains(t, r.log.String(), "secret")
	require.NotContains(t, r.log.String(), "c4n4ry")
}

func TestAnswerTooLarge(t *testing.T) {
	r := serve(t, func(context.Context, protocol.Caller, protocol.Call) *protocol.Result {
		return &protocol.Result{Data: strings.Repeat("<", protocol.MaxAnswer/6)}
	}, session.Limits{}, nil)
	c := r.dial()
	require.Contains(t, c.Ask(try("a")), `"errors":["The call was run, but its answer is too large: at most 67108864 bytes`)
}

// If two hosts find the socket of a dead host, only one of them listens.
func TestListenAtOnce(t *testing.T) {
	dir, err := os.MkdirTemp("", "lw")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for i := range 50 {
		path := filepath.Join(dir, fmt.Sprint(i))
		dead, err := unixsock.Listen(path, 0o600)
		require.NoError(t, err)
		dead.SetUnlinkOnClose(false)
		require.NoError(t, dead.Close())
		listeners := make([]*net.UnixListener, 4)
		var all sync.WaitGroup
		for j := range listeners {
			all.Go(func() { listeners[j], _ = unixsock.Listen(path, 0o600) })
		}
		all.Wait()
		n := 0
		for _, l := range listeners {
			if l != nil {
				n++
				require.NoError(t, l.Close())
			}
		}
		require.Equal(t, 1, n)
	}
}

func TestListen(t *testing.T) {
	dir, err := os.MkdirTemp("", "lw")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := unixsock.Listen(path, 0o600)
	require.NoError(t, err)
	st, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode().Perm())
	_, err = unixsock.Listen(path, 0o600)
	require.ErrorContains(t, err, "another host already listens")

	l.SetUnlinkOnClose(false) // As if a host had been killed.
	require.NoError(t, l.Close())
	l, err = unixsock.Listen(path, 0o666)
	require.NoError(t, err)
	require.NoError(t, l.Close())

	require.NoError(t, os.WriteFile(path, nil, 0o600))
	_, err = unixsock.Listen(path, 0o600)
	require.ErrorContains(t, err, "the path exists, but is not a socket")
	require.FileExists(t, path)
	_, err = unixsock.Listen(filepath.Join(dir, strings.Repeat("a", 120)), 0o600)
	require.ErrorContains(t, err, "choose a shorter path")
}

// Sessions over a pair of streams, as liveapid stdio serves them.
func TestServeStreams(t *testing.T) {
	payload := try("a")
	frame := fmt.Sprintf("%d\n%s", len(payload), payload)
	var out bytes.Buffer
	log := slog.New(slog.DiscardHandler)
	require.NoError(t, session.Serve(t.Context(), doer(echo), protocol.Caller{}, session.Limits{}, log, strings.NewReader(frame+frame), &out))
	require.Equal(t, strings.Repeat("<?xml version=\"1.0\" ?>\n<cpanelresult>"+echoOf("a")+"</cpanelresult>\n", 2), out.String())

	// A signal ends an idle session at once, and a busy session after its answer.
	for _, busy := range []bool{false, true} {
		in, feed := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		running, finish := make(chan struct{}), make(chan struct{})
		out.Reset()
		done := make(chan error, 1)
		go func() {
			done <- session.Serve(ctx, doer(func(ctx context.Context, c protocol.Caller, call protocol.Call) *protocol.Result {
				close(running)
				<-finish
				return echo(ctx, c, call)
			}), protocol.Caller{}, session.Limits{}, log, in, &out)
		}()
		if busy {
			_, err := io.WriteString(feed, frame)
			require.NoError(t, err)
			<-running
		}
		cancel()
		close(finish)
		require.NoError(t, <-done)
		require.Equal(t, busy, out.Len() > 0)
		require.NoError(t, feed.Close())
	}
}
