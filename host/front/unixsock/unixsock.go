// Package unixsock listens on UNIX sockets and connects to them, asks the kernel which user is at the other
// end of a connection, and serves sockets that only certain users may use. It does not depend on any protocol
// or on accounts.
package unixsock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Of returns the credentials of the user at the other end of conn: the user that connected if conn was
// accepted, or the user that listens if conn was dialed. Use the pid only for the log: the process may have
// ended, and another process may have its pid.
func Of(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("get the peer credentials: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || credErr != nil {
		return nil, fmt.Errorf("get the peer credentials: %w", errors.Join(err, credErr))
	}
	return cred, nil
}

// Server serves the connections of a UNIX socket that only certain users may use. Allowed reports whether the
// user with the given uid may connect. Handle is called for each connection, in a goroutine of its own.
type Server struct {
	Allowed func(uid int) bool
	Most    int                                        // Maximum number of connections at once; others wait.
	Handle  func(ctx context.Context, c *net.UnixConn) // The server closes the connection after Handle returns.
	Log     *slog.Logger
}

// Serve accepts connections on l until ctx ends. Then it closes l and all connections, and waits until all
// calls of Handle have returned.
func (s Server) Serve(ctx context.Context, l *net.UnixListener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	places := make(chan struct{}, s.Most)
	var all sync.WaitGroup
	defer all.Wait()
	for {
		conn, err := l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil { // Most likely no descriptor is free: wait for one.
			s.Log.Error("can't accept a connection", "error", err.Error())
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		if cred, err := Of(conn); err != nil || !s.Allowed(int(cred.Uid)) {
			s.Log.Warn("rejected a connection from a user that is not allowed", "socket", l.Addr().String())
			_ = conn.Close()
			continue
		}
		places <- struct{}{}
		all.Go(func() {
			cut := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer func() {
				cut()
				_ = conn.Close()
				<-places
			}()
			s.Handle(ctx, conn)
		})
	}
}
