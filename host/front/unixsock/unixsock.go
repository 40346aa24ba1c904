// Package unixsock listens on and connects to UNIX sockets, asks the kernel for the user at the other end,
// and serves sockets that only some users may use. It knows no protocol and no account.
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

// Of returns the user at the other end: the connecting user of an accepted connection, or the listening user
// of a made connection. The pid is for the log only: it may belong to another program by now.
func Of(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("peer credentials: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || credErr != nil {
		return nil, fmt.Errorf("peer credentials: %w", errors.Join(err, credErr))
	}
	return cred, nil
}

// Server serves the connections of a socket to certain users.
type Server struct {
	Allowed func(uid int) bool
	Most    int                                        // Connections at once; further ones wait.
	Handle  func(ctx context.Context, c *net.UnixConn) // It need not close the connection.
	Log     *slog.Logger
}

// Serve serves l until ctx ends, which closes l and all connections.
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
		if err != nil { // Most likely the process has no free descriptor; closing connections will free some.
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
