package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/host/front/unixsock"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/wire"
)

// Server accepts the connections of a UNIX socket and serves a session on each.
type Server struct {
	Doer   Doer
	Limits Limits
	Intake *admission.Intake // Limits bytes and processor time; nil means no such limit.
	Log    *slog.Logger
	// Identify returns the caller for the uid that the kernel reports for a connection. If Identify fails,
	// the client receives the public message of the error, and the connection is closed.
	Identify func(uid int) (protocol.Caller, error)

	once     sync.Once
	told     rate.Limiter
	places   *admission.Pool
	mu       sync.Mutex
	sessions map[*session]bool
	draining bool
	wg       sync.WaitGroup
}

// Serve accepts connections until the listener is closed or Shutdown is called.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) error {
	limits := s.Limits.withDefaults()
	s.told.SetLimit(10)
	s.told.SetBurst(10)
	for {
		conn, err := l.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			// The most likely cause is that the process has no free file descriptor. Wait until other
			// connections have been closed.
			s.Log.Error("can't accept a connection", "error", err.Error())
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return nil
			}
			continue
		}
		// admit runs in this loop, before the next connection is accepted. So connections that will be
		// rejected can't use up the file descriptors.
		sess := s.admit(conn, limits)
		if sess == nil {
			_ = conn.Close()
			continue
		}
		s.wg.Go(func() {
			defer func() {
				sess.cut()
				s.leave(sess)
			}()
			if err := sess.serve(ctx); err != nil {
				s.Log.Debug("session ended", "account", sess.caller.Account.Name, "error", err.Error())
			}
		})
	}
}

// admit returns a new session for conn. If the connection is rejected, admit tells the client why and returns
// nil; the caller closes the connection.
func (s *Server) admit(conn *net.UnixConn, limits Limits) *session {
	caller, err := s.identify(conn)
	if errors.Is(err, errTooOften) {
		if s.told.Allow() { // Limited, because refuse blocks the accepting of connections.
			s.Log.Warn("connections rejected", "from", caller.From, "error", err.Error())
			refuse(conn, protocol.NewError(protocol.KindUnavailable, "Your user connects too often. Use one session for many calls, or try again in a second."))
		}
		return nil
	}
	if err != nil {
		s.Log.Warn("connection rejected", "error", err.Error())
		refuse(conn, err)
		return nil
	}
	sess := newSession(s.Doer, caller, limits, s.Log, conn, conn)
	sess.intake, sess.cut = s.Intake, sess.end(conn)
	sess.frames.Reserve = sess.reserve
	if err := s.enter(sess, limits); err != nil {
		s.Log.Warn("connection rejected", "account", caller.Account.Name, "error", err.Error())
		refuse(conn, err)
		return nil
	}
	return sess
}

// errTooOften is returned if a user connects more often than any normal use requires.
var errTooOften = errors.New("session: too many connections of the user in a short time")

// identify asks the kernel which user connected, and returns the caller for that user. The kernel records the
// credentials at the time of connect, so the client can't change them later.
func (s *Server) identify(conn *net.UnixConn) (protocol.Caller, error) {
	cred, err := unixsock.Of(conn)
	if err != nil {
		return protocol.Caller{}, err
	}
	if !s.Intake.Connect(int(cred.Uid)) {
		return protocol.Caller{From: strconv.Itoa(int(cred.Uid))}, errTooOften
	}
	caller, err := s.Identify(int(cred.Uid))
	// The pid is only for the log: the process may have ended, and another process may have its pid.
	caller.From = fmt.Sprintf("uid %d pid %d", cred.Uid, cred.Pid)
	return caller, err
}

// refuse tells the client why its connection is rejected. It waits at most a second for a slow client. The
// caller closes the connection.
func refuse(conn net.Conn, err error) {
	message := "This host does not serve you."
	if e := protocol.AsError(err); e != nil {
		message = e.Message
	}
	answer, err := wire.AppendAnswer(nil, wire.AppendFailure(nil, message))
	if err != nil {
		return
	}
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = conn.Write(answer)
}

// end returns a function that ends the session at once: the function cancels all waits of the session and
// closes conn.
func (s *session) end(conn net.Conn) func() {
	return func() {
		s.endReading()
		_ = conn.Close()
	}
}

// placeGrace is how long a session must be idle before it may be closed to make room for a session of another
// account that has equally many sessions.
const placeGrace = time.Minute

// enter reserves a place for sess and registers the session. If no place is free, enter closes the longest
// idle session of the account with the most sessions. The error says which limit is reached, or that the host
// is shutting down.
func (s *Server) enter(sess *session, limits Limits) error {
	s.once.Do(func() {
		s.places = admission.NewPool(admission.PoolOptions{Total: int64(limits.Sessions), Each: int64(limits.AccountSessions), Grace: placeGrace})
	})
	name := sess.caller.Account.Name
	place, err := s.places.Acquire(name, 1, func() {
		s.Log.Info("closed an idle session to make room for another account", "account", name)
		sess.cut()
	})
	switch {
	case errors.Is(err, admission.ErrShare) && limits.AccountSessions < limits.Sessions:
		return protocol.NewError(protocol.KindUnavailable, fmt.Sprintf("The account has %d sessions, which is its limit. Close some, or try again later.", limits.AccountSessions))
	case err != nil:
		return protocol.NewError(protocol.KindUnavailable, fmt.Sprintf("The host has %d sessions, which is its limit. Try again later.", limits.Sessions))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		place.Release()
		return protocol.NewError(protocol.KindUnavailable, "The host is shutting down. Try again later.")
	}
	if s.sessions == nil {
		s.sessions = make(map[*session]bool)
	}
	sess.place = place
	s.sessions[sess] = true
	return nil
}

func (s *Server) leave(sess *session) {
	s.mu.Lock()
	delete(s.sessions, sess)
	s.mu.Unlock()
	sess.place.Release()
}

// Sessions returns the number of open sessions.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// EndAccount closes all sessions of the account called name. It is called when the account was removed, was
// suspended, became unreadable or changed its user.
func (s *Server) EndAccount(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sess := range s.sessions {
		if sess.caller.Account.Name == name {
			sess.cut()
		}
	}
}

// lastCalls is how long sessions are served after the server began to drain. A program that connected a moment before
// makes its calls in this time; the connections of other programs wait in the socket for the next host.
const lastCalls = time.Second

// Shutdown drains the server: it serves the sessions for lastCalls, or until all of them have ended. Then it closes idle
// sessions at once, and busy sessions after their current request has been answered. If ctx ends first, Shutdown closes
// the remaining sessions. The caller must close the listener first.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	last := time.NewTimer(lastCalls)
	defer last.Stop()
	select {
	case <-done:
		return
	case <-last.C:
	case <-ctx.Done():
	}
	s.mu.Lock()
	for sess := range s.sessions {
		sess.drain()
	}
	s.mu.Unlock()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	s.mu.Lock()
	for sess := range s.sessions {
		sess.cut()
	}
	s.mu.Unlock()
}
