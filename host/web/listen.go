package web

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/liveapid/liveapid/host/web/login"
	"github.com/liveapid/liveapid/protocol"
)

// The limits of a connection.
const (
	headerTime  = 10 * time.Second
	readTime    = 20 * time.Second // Of header and body.
	idleTime    = 2 * time.Minute
	maxHeader   = 16 << 10
	maxStreams  = 100 // Of one HTTP/2 connection.
	maxConns    = 10_000
	maxConnsOne = 6_000 // Of one address; loopback is where proxies are.
)

// Server returns what serves one service's connections.
func (f *Front) Server(s Service, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *http.Server {
	server := &http.Server{
		Handler: f.Handler(s), ReadHeaderTimeout: headerTime, ReadTimeout: readTime,
		// A call has its time, and its answer some more.
		WriteTimeout: protocol.CallTimeout + 30*time.Second, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		// Broken handshakes are as many as strangers like.
		ErrorLog: slog.NewLogLogger(f.o.Log.With("service", string(s)).Handler(), slog.LevelDebug),
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
	}
	if certificate != nil {
		server.TLSConfig = &tls.Config{
			MinVersion: tls.VersionTLS12, GetCertificate: certificate,
			NextProtos: []string{"h2", "http/1.1", "http/1.0"}, // The last is what curl and PHP offer where they are told to speak it.
		}
	}
	return server
}

// Serve serves l until ctx ends, then drains for at most grace.
func Serve(ctx context.Context, server *http.Server, l net.Listener, grace time.Duration) error {
	l = &bounded{Listener: l, slots: make(chan struct{}, maxConns), each: make(map[string]int)}
	served := make(chan error, 1)
	go func() {
		if server.TLSConfig != nil {
			served <- server.ServeTLS(l, "", "")
		} else {
			served <- server.Serve(l)
		}
	}()
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

// bounded accepts so many connections at once, and of one address fewer.
type bounded struct {
	net.Listener
	slots chan struct{}

	mu   sync.Mutex
	each map[string]int
}

// Accept implements net.Listener. One connection too many is closed at once: waiting would keep
// those of others out.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host := ""
		if peer, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
			host = login.Source(peer.Addr().WithZone(""))
		}
		if b.enter(host) {
			return &boundedConn{Conn: conn, leave: sync.OnceFunc(func() { b.leave(host) })}, nil
		}
		_ = conn.Close()
	}
}

func (b *bounded) enter(host string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.each[host] >= maxConnsOne {
		return false
	}
	select {
	case b.slots <- struct{}{}:
	default:
		return false
	}
	b.each[host]++
	return true
}

func (b *bounded) leave(host string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	<-b.slots
	if b.each[host]--; b.each[host] == 0 {
		delete(b.each, host)
	}
}

type boundedConn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}

// CloseWrite is for net/http, which has a client read an answer that comes before the request's end.
func (c *boundedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
