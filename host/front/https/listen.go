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
	readTime      = 30 * time.Second // Of header and body; bodyTime applies to a body.
	idleTime      = 2 * time.Minute
	maxHeader     = 16 << 10
	maxStreams    = 32       // Streams of an HTTP/2 connection.
	streamBuffer  = 64 << 10 // Unread bytes of an HTTP/2 connection.

	// DefaultConnections is the number of connections of all services at once.
	DefaultConnections = 640
	// connectionSlack is the number of further connections that may be about to close.
	connectionSlack = 64
	// connectionGrace is how long a connection must be idle before a client with equally many connections
	// takes its place.
	connectionGrace = 3 * time.Second
)

// Server returns the HTTP server of a service. Its connections must come from a Listener.
func (f *Front) Server(s Service) *http.Server {
	server := &http.Server{
		Handler: f.Handler(s), ReadHeaderTimeout: headerTime, ReadTimeout: readTime,
		// The deadline of a call, and some time for its answer.
		WriteTimeout: protocol.CallTimeout + 30*time.Second, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		// OPTIONS * is authenticated like every request.
		DisableGeneralOptionsHandler: true,
		// Strangers can cause any number of failed handshakes.
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
		server.TLSConfig = &tls.Config{NextProtos: []string{"h2"}} // net/http decides by this. The Listener makes the handshake.
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

// conn is a connection with its lease.
type conn struct {
	net.Conn
	place  *admission.Lease
	client string // The name under which its client is counted; see clientOf.
	secure bool   // It uses TLS.
}

// connKey is the context key of a request's *conn.
type connKey struct{}

// connOf returns the conn below a connection of net/http.
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

// CloseWrite is for net/http, which uses it to send an answer before the request's end.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// listener gives each connection a lease before it is served, makes the TLS handshake, and checks the heads
// of requests.
type listener struct {
	net.Listener
	front *Front
	tls   *tls.Config // Nil without TLS.

	ready  chan net.Conn
	failed chan error
	closed chan struct{}
	once   sync.Once
	all    sync.WaitGroup // The handshakes.
}

// Listener returns a listener for a service's server, with TLS if certificate is not nil. All listeners of a
// front share its connections. If there is no room for a client, the client with the most connections loses
// the one that was idle for longest; connections without a signed-in user go first.
func (f *Front) Listener(l net.Listener, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) net.Listener {
	out := &listener{Listener: l, front: f, ready: make(chan net.Conn), failed: make(chan error, 1), closed: make(chan struct{})}
	if certificate != nil {
		// curl and PHP offer HTTP/1.0 if they are told to speak it.
		out.tls = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate, NextProtos: []string{"http/1.1", "http/1.0"}}
		if f.o.HTTP2 {
			out.tls.NextProtos = append([]string{"h2"}, out.tls.NextProtos...)
		}
	}
	go out.accept()
	return out
}

// loopback is the name of all programs of this machine without a known user. Together they have 16
// million addresses.
const loopback = "this machine"

// localUser precedes the uid in the name of a user of this machine.
const localUser = "local user "

// localOthers is the name of all users of this machine that have no account and are not system users: an
// account may have many such uids.
const localOthers = "local users without an account"

// clientOf returns the name under which the client at an address is counted. An IPv6 network of a customer
// counts as a single client.
func clientOf(address netip.Addr) string {
	if address = address.Unmap().WithZone(""); address.IsLoopback() {
		return loopback
	}
	return "net " + login.Source(address) // Names of accounts have no space.
}

// clientAt returns the name of the client at the other end of a connection. On this machine each user is a
// client that the kernel names.
func (f *Front) clientAt(c net.Conn) string {
	remote, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return ""
	}
	client := clientOf(remote.Addr())
	local, err := netip.ParseAddrPort(c.LocalAddr().String())
	// A program of this machine that connects to another address of the machine has that address.
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

// accept accepts connections until the listener is closed.
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
			// Most likely the process has no free descriptor; closing connections will free some.
			l.front.o.Log.Error("can't accept a connection", "error", err.Error())
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
			// The request ends by itself when it next waits. Its place must be free before that.
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

// prepare makes the handshake and passes the connection on.
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

// handshake makes a TLS handshake. Its computing time is shared among clients, so that a client that opens
// connections without end only slows itself down. No turn is held while the client is waited for.
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

// turns is a connection during its handshake. It takes a turn when it has read something, and gives the turn
// back before it waits for more.
type turns struct {
	*conn
	enter func() (leave func(), err error)
	leave func()
	paced bool
	over  bool // The handshake has ended.
}

// Read implements net.Conn. Only the goroutine of the handshake calls it before the handshake ends.
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

// secureConn hides from net/http that a connection uses TLS, so that head can check the bytes that net/http reads.
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
