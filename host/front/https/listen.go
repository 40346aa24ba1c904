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

// Limits of a connection. maxHeader and streamBuffer are in bytes.
const (
	handshakeTime = 10 * time.Second
	headerTime    = 10 * time.Second
	readTime      = 30 * time.Second // For header and body together; see also bodyTime.
	idleTime      = 2 * time.Minute
	maxHeader     = 16 << 10
	maxStreams    = 32       // Maximum number of streams of an HTTP/2 connection.
	streamBuffer  = 64 << 10 // Maximum number of unread bytes of an HTTP/2 connection.

	// DefaultConnections is the default maximum number of connections of all services together.
	DefaultConnections = 640
	// connectionSlack is how many revoked connections may still be open in addition to the maximum number of
	// connections, because closing a connection takes time.
	connectionSlack = 64
	// connectionGrace is how long a connection must be idle before it may be closed to make room for another
	// client that has equally many connections.
	connectionGrace = 3 * time.Second
)

// Server returns the HTTP server for the given service. It must be used with a Listener of the same Front,
// because the Listener makes the TLS handshake and limits the connections.
func (f *Front) Server(s Service) *http.Server {
	server := &http.Server{
		Handler: f.Handler(s), ReadHeaderTimeout: headerTime, ReadTimeout: readTime,
		// The maximum time of a call, plus some time for writing its answer.
		WriteTimeout: protocol.CallTimeout + 30*time.Second, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		// net/http must not answer OPTIONS * itself, before authentication.
		DisableGeneralOptionsHandler: true,
		// Errors are logged only at level debug, because strangers can cause any number of failed handshakes.
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
		server.TLSConfig = &tls.Config{NextProtos: []string{"h2"}} // Makes net/http accept h2; the Listener does the handshake.
	}
	return server
}

// Serve serves l until ctx ends. Then it stops accepting requests and waits at most grace for running
// requests before it closes their connections.
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

// conn is a connection together with its lease in the pool of connections. Close releases the lease.
type conn struct {
	net.Conn
	place  *admission.Lease
	client string // The name under which the client is counted; see clientOf.
	secure bool   // Whether the connection uses TLS.
}

// connKey is the context key under which a request's context stores its *conn.
type connKey struct{}

// connOf unwraps a connection of net/http and returns the *conn inside. If there is no *conn inside, connOf
// wraps c in a new conn.
func connOf(c net.Conn) *conn {
	switch c := c.(type) {
	case *conn:
		return c
	case *head.Conn:
		return connOf(c.Conn)
	case *head.Repairer:
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

// Close implements net.Conn. It also releases the connection's place.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.place.Release()
	return err
}

// CloseWrite closes the writing side of the connection. net/http calls it when it closes a connection before
// it has read the whole request, so that the client can still read the answer.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// listener acquires a place for each new connection, makes the TLS handshake, and makes package head check
// the requests. Handshakes run concurrently, so that a slow client delays only itself.
type listener struct {
	net.Listener
	front *Front
	tls   *tls.Config // Nil if the service does not use TLS.

	ready  chan net.Conn
	failed chan error
	closed chan struct{}
	once   sync.Once
	all    sync.WaitGroup // The goroutines that prepare connections.
}

// Listener returns a listener for the server of a service. It uses TLS if certificate is not nil. All
// listeners of a Front share the same limit of connections. If a new connection exceeds the limit, the client
// with the most connections loses the connection that has been idle for the longest time. Connections without
// a signed-in user are closed first.
func (f *Front) Listener(l net.Listener, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) net.Listener {
	out := &listener{Listener: l, front: f, ready: make(chan net.Conn), failed: make(chan error, 1), closed: make(chan struct{})}
	if certificate != nil {
		// http/1.0 is in the list because curl and PHP offer only http/1.0 if they are configured for
		// HTTP/1.0.
		out.tls = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate, NextProtos: []string{"http/1.1", "http/1.0"}}
		if f.o.HTTP2 {
			out.tls.NextProtos = append([]string{"h2"}, out.tls.NextProtos...)
		}
	}
	go out.accept()
	return out
}

// loopback is the client name of all programs of this machine with an unknown user. They share one name,
// because a program can use any of the 16 million loopback addresses.
const loopback = "this machine"

// localUser is the prefix of the client name of a user of this machine. The uid follows it.
const localUser = "local user "

// localOthers is the client name of all local users that have no account and are not system users. They share
// one name, because an account may control many uids of this kind.
const localOthers = "local users without an account"

// clientOf returns the name under which the client with the given address is counted. All addresses of an
// IPv6 /64 network count as one client, because a customer usually has a whole network.
func clientOf(address netip.Addr) string {
	if address = address.Unmap().WithZone(""); address.IsLoopback() {
		return loopback
	}
	return "net " + login.Source(address) // The space makes the name differ from all account names.
}

// clientAt returns the client name for the other end of a connection. If the other end is on this machine,
// the kernel reports its uid, and each uid counts as a client of its own, except as described at localOthers.
func (f *Front) clientAt(c net.Conn) string {
	remote, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return ""
	}
	client := clientOf(remote.Addr())
	local, err := netip.ParseAddrPort(c.LocalAddr().String())
	// If a program of this machine connects to one of the machine's other addresses (not to loopback), both ends
	// of the connection have that address. Such a connection is local, too.
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

// accept accepts connections until the listener is closed. Each connection is prepared in its own goroutine.
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
			// The most likely cause is that the process has no free file descriptor. Connections that close
			// will free some.
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
			// A request on the revoked connection notices the end of the connection only at its next read or
			// write. The connection's place is needed earlier, so Close releases the place now.
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

// prepare makes the TLS handshake, if the listener uses TLS, and passes the connection to Accept.
func (l *listener) prepare(ctx context.Context, c *conn) {
	out := l.checked(c)
	if l.tls != nil {
		turn := &turns{conn: c}
		secured := tls.Server(turn, l.tls)
		stop := context.AfterFunc(ctx, func() { _ = c.Conn.Close() })
		defer stop()
		if err := l.handshake(ctx, c, secured, turn); err != nil {
			_ = c.Close()
			return
		}
		if out = net.Conn(secured); secured.ConnectionState().NegotiatedProtocol != "h2" {
			out = l.checked(&secureConn{Conn: secured, below: c})
		}
	}
	select {
	case l.ready <- out:
	case <-l.closed:
		_ = out.Close()
	}
}

// checked returns c with a check of the heads of its requests, and, if the front repairs them, with the repair
// before the check.
func (l *listener) checked(c net.Conn) net.Conn {
	if l.front.o.Repair {
		c = head.NewRepairer(c, headerTime)
	}
	return head.New(c)
}

// handshake makes the TLS handshake of a connection. The computing time of handshakes is shared among
// clients, so a client that keeps opening connections slows down only its own handshakes. The connection
// keeps its slot in the semaphore only while it computes, not while it waits for bytes from the client.
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

// turns is a connection during its TLS handshake. After each read, it acquires a slot of the semaphore of
// handshakes, because the handshake then computes. Before the next read, which may wait for the client, it
// releases the slot.
type turns struct {
	*conn
	enter func() (leave func(), err error)
	leave func()
	paced bool
	over  bool // Whether the handshake has ended.
}

// Read implements net.Conn. The fields of t need no lock: during the handshake, only the goroutine of the
// handshake calls Read, and after the handshake the field over does not change any more.
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

// secureConn hides from net/http that the connection uses TLS. net/http must not see a *tls.Conn, because
// package head wraps the connection to check the decrypted bytes.
type secureConn struct {
	*tls.Conn
	below *conn
}

// Accept implements net.Listener. It returns connections with a completed handshake.
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

// Close implements net.Listener. It stops accept; connections that were not returned by Accept are closed.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
