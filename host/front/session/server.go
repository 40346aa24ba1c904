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

// Server serves the sessions of a socket.
type Server struct {
	Doer   Doer
	Limits Limits
	Intake *admission.Intake // Limits the frames that are read; nil means no limit besides Limits.
	Log    *slog.Logger
	// Identify returns the caller for the uid that the kernel names. If it fails, the client gets the error's
	// public message and the connection is closed.
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
			// Most likely the process has no free descriptor; closing connections will free some.
			s.Log.Error("can't accept a connection", "error", err.Error())
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return nil
			}
			continue
		}
		// This runs before the next connection is accepted, so that rejected connections do not use up
		// descriptors.
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

// admit returns the session of a connection, or tells the client why it is rejected and returns nil.
func (s *Server) admit(conn *net.UnixConn, limits Limits) *session {
	caller, err := s.identify(conn)
	if errors.Is(err, errTooOften) {
		if s.told.Allow() { // The answer costs more than the connection, and others wait meanwhile.
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

// errTooOften is returned for a user that connects more often than calls could need.
var errTooOften = errors.New("session: too many connections of the user in a short time")

// identify asks the kernel for the connecting user. The credentials are those of the moment of connect;
// the client can't change them later.
func (s *Server) identify(conn *net.UnixConn) (protocol.Caller, error) {
	cred, err := unixsock.Of(conn)
	if err != nil {
		return protocol.Caller{}, err
	}
	if !s.Intake.Connect(int(cred.Uid)) {
		return protocol.Caller{From: strconv.Itoa(int(cred.Uid))}, errTooOften
	}
	caller, err := s.Identify(int(cred.Uid))
	// The pid is for the log only: it may belong to another program by now.
	caller.From = fmt.Sprintf("uid %d pid %d", cred.Uid, cred.Pid)
	return caller, err
}

// refuse tells the client why it is rejected and closes the connection. It does not wait for a slow client.
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

// end returns a function that ends the session at once: it closes the connection and cancels waits.
func (s *session) end(conn net.Conn) func() {
	return func() {
		s.endReading()
		_ = conn.Close()
	}
}

// placeGrace is how long a session must be idle before an account with equally many sessions takes its place.
const placeGrace = time.Minute

// enter gives a session its place, or returns the limit that is reached. If the host has no free place, the
// account with the most sessions loses the one that was idle for longest.
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

// Sessions returns the number of sessions.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// EndAccount closes the sessions of an account that was removed or belongs to another user now.
func (s *Server) EndAccount(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sess := range s.sessions {
		if sess.caller.Account.Name == name {
			sess.cut()
		}
	}
}

// Shutdown drains: sessions without a request end at once, the others after their answer. If ctx ends first,
// the remaining sessions are closed. The caller closes the listener before.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	s.draining = true
	for sess := range s.sessions {
		sess.drain()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
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
