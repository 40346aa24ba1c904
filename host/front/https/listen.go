package https

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/host/front/https/head"
	"github.com/liveapid/liveapid/host/front/https/login"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/protocol"
)

// The limits of a connection.
const (
	handshakeTime = 10 * time.Second
	headerTime    = 10 * time.Second
	readTime      = 30 * time.Second // Of header and body; a body has bodyTime.
	idleTime      = 2 * time.Minute
	maxHeader     = 16 << 10
	maxStreams    = 32       // Of one HTTP/2 connection,
	streamBuffer  = 64 << 10 // and what it may send before it is read, in bytes.

	// DefaultConnections is how many connections all services hold at once.
	DefaultConnections = 640
	// connectionSlack is how many connections may be about to close, beyond those.
	connectionSlack = 64
	// connectionGrace is how long a connection must have been idle before a client that has no fewer takes
	// its place.
	connectionGrace = 3 * time.Second
)

// Server returns what serves one service's connections, which must come from a Listener.
func (f *Front) Server(s Service) *http.Server {
	server := &http.Server{
		Handler: f.Handler(s), ReadHeaderTimeout: headerTime, ReadTimeout: readTime,
		// A call has its time, and its answer some more.
		WriteTimeout: protocol.CallTimeout + 30*time.Second, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		// OPTIONS * passes the gate as every request does.
		DisableGeneralOptionsHandler: true,
		// Broken handshakes are as many as strangers like.
		ErrorLog: slog.NewLogLogger(f.o.Log.With("service", string(s)).Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, connOf(c))
		},
		Protocols: new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	if f.o.HTTP2 {
		server.Protocols.SetHTTP2(true)
		server.HTTP2 = &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerConnection: streamBuffer, MaxReceiveBufferPerStream: streamBuffer,
		}
		server.TLSConfig = &tls.Config{NextProtos: []string{"h2"}} // By which net/http knows; the handshake is the Listener's.
	}
	return server
}

// Serve serves l until ctx ends, then drains for at most grace.
func Serve(ctx context.Context, server *http.Server, l net.Listener, grace time.Duration) error {
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		_ = server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// conn is a connection with its place among all.
type conn struct {
	net.Conn
	place  *admission.Lease
	client string // Under which its client is counted: see clientOf.
	secure bool   // TLS is on it.
}

// connKey is the context's key of a request's *conn.
type connKey struct{}

// connOf returns the connection below what net/http was given.
func connOf(c net.Conn) *conn {
	switch c := c.(type) {
	case *conn:
		return c
	case *head.Conn:
		return connOf(c.Conn)
	case *secureConn:
		return c.below
	case *turns:
		return c.conn
	case *tls.Conn:
		return connOf(c.NetConn())
	}
	return &conn{Conn: c}
}

// Close implements net.Conn.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.place.Release()
	return err
}

// CloseWrite is for net/http, which has a client read an answer that comes before the request's end.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// listener gives each connection a place before it is served, does the handshake of TLS, and watches the
// requests' heads.
type listener struct {
	net.Listener
	front *Front
	tls   *tls.Config // Nil without TLS.

	ready  chan net.Conn
	failed chan error
	closed chan struct{}
	once   sync.Once
	all    sync.WaitGroup // Handshakes.
}

// Listener returns a listener for a service's server: certificate makes it one of TLS. All listeners of
// a front share its places for connections: a client that has no room gets the place of the one with
// most, of its connection that has been idle for longest; those that have not signed in go first.
func (f *Front) Listener(l net.Listener, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) net.Listener {
	out := &listener{Listener: l, front: f, ready: make(chan net.Conn), failed: make(chan error, 1), closed: make(chan struct{})}
	if certificate != nil {
		// HTTP/1.0 is what curl and PHP offer if they are told to speak it.
		out.tls = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate, NextProtos: []string{"http/1.1", "http/1.0"}}
		if f.o.HTTP2 {
			out.tls.NextProtos = append([]string{"h2"}, out.tls.NextProtos...)
		}
	}
	go out.accept()
	return out
}

// loopback is how all programs of this machine are counted that can't be told apart: together they have
// 16 million addresses.
const loopback = "this machine"

// localUser stands before the uid of a user of this machine, as whose client its programs are counted.
const localUser = "local user "

// localOthers are the users of this machine that are neither the system's nor an account's: an account may
// have many such uids below its own.
const localOthers = "local users without an account"

// clientOf is under which name the client at an address is counted: of IPv6 a customer's network is one.
func clientOf(address netip.Addr) string {
	if address = address.Unmap().WithZone(""); address.IsLoopback() {
		return loopback
	}
	return "net " + login.Source(address) // No account has a name with a blank.
}

// clientAt is clientOf the other end of a connection. Of this machine's programs, those of each user are
// a client: the kernel says whose they are.
func (f *Front) clientAt(c net.Conn) string {
	remote, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return ""
	}
	client := clientOf(remote.Addr())
	local, err := netip.ParseAddrPort(c.LocalAddr().String())
	// A program of this machine that connects to another of its addresses comes from there.
	if err != nil || f.local == nil || client != loopback && remote.Addr().Unmap() != local.Addr().Unmap() {
		return client
	}
	uid, err := f.local.Of(local, remote)
	switch {
	case err != nil:
		return client
	case uid >= isolate.MinTenantID && !f.o.Backend.Tenant(uid):
		return localOthers
	}
	return localUser + strconv.Itoa(uid)
}

// accept takes connections in until the listener is closed.
func (l *listener) accept() {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			select {
			case <-l.closed:
				return
			default:
			}
			if errors.Is(err, net.ErrClosed) {
				l.failed <- err
				return
			}
			// Out of descriptors, most likely: those who hang up give some back.
			l.front.o.Log.Error("accept", "error", err.Error())
			select {
			case <-time.After(50 * time.Millisecond):
			case <-l.closed:
				return
			}
			continue
		}
		placed := &conn{Conn: c, secure: l.tls != nil, client: l.front.clientAt(c)}
		ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
		ready := make(chan struct{})
		placed.place, err = l.front.places.Acquire(placed.client, 1, func() {
			<-ready
			cancel()
			// What its request still waits for ends by itself; its place must not wait for that.
			_ = placed.Close()
		})
		close(ready)
		if err != nil {
			cancel()
			_ = c.Close()
			continue
		}
		l.all.Go(func() {
			defer cancel()
			l.prepare(ctx, placed)
		})
	}
}

// prepare does the handshake and hands the connection on.
func (l *listener) prepare(ctx context.Context, c *conn) {
	var out net.Conn = head.New(c)
	if l.tls != nil {
		turn := &turns{conn: c}
		secured := tls.Server(turn, l.tls)
		stop := context.AfterFunc(ctx, func() { _ = c.Conn.Close() })
		defer stop()
		if err := l.handshake(ctx, c, secured, turn); err != nil {
			_ = c.Close()
			return
		}
		if out = secured; secured.ConnectionState().NegotiatedProtocol != "h2" {
			out = head.New(&secureConn{Conn: secured, below: c})
		}
	}
	select {
	case l.ready <- out:
	case <-l.closed:
		_ = out.Close()
	}
}

// handshake does a handshake of TLS. Its computing is shared out among the clients, so that whoever opens
// connections without end waits for itself; while the client is waited for, nobody's turn is held.
func (l *listener) handshake(ctx context.Context, c *conn, secured *tls.Conn, turn *turns) error {
	defer turn.end()
	turn.enter = func() (func(), error) {
		if turn.leave == nil && !turn.paced {
			turn.paced = true
			if _, err := l.front.o.Intake.Admit(ctx, "handshakes of "+c.client, 0, nil); err != nil {
				return nil, err
			}
		}
		return l.front.handshakes.Enter(ctx, c.client)
	}
	return secured.HandshakeContext(ctx)
}

// turns is a connection during its handshake: a turn to compute is taken when something was read, and given
// back before more is waited for.
type turns struct {
	*conn
	enter func() (leave func(), err error)
	leave func()
	paced bool
	over  bool // The handshake is done.
}

// Read implements net.Conn. Only the goroutine of the handshake calls it until that is over.
func (t *turns) Read(p []byte) (int, error) {
	if t.over {
		return t.conn.Read(p)
	}
	t.give()
	n, err := t.conn.Read(p)
	if err == nil {
		t.leave, err = t.enter()
	}
	return n, err
}

func (t *turns) give() {
	if t.leave != nil {
		t.leave()
		t.leave = nil
	}
}

func (t *turns) end() {
	t.give()
	t.over = true
}

// secureConn is a connection of TLS that net/http does not see as one: it reads what head has watched.
type secureConn struct {
	*tls.Conn
	below *conn
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case err := <-l.failed:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
