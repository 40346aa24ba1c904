package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/envelope"
	"github.com/liveapid/liveapid/protocol/wire"
)

// Doer runs calls. host.Host implements it.
type Doer interface {
	Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result
}

// Limits are the limits of a session. Zero values mean the defaults in package protocol.
type Limits struct {
	Frame           int           // Bytes of a payload.
	FrameTime       time.Duration // From a frame's first byte to its last; also for writing an answer.
	Idle            time.Duration // Between frames.
	Sessions        int           // At once, in total.
	AccountSessions int           // At once, of an account.
}

func (l Limits) withDefaults() Limits {
	if l.Frame <= 0 {
		l.Frame = protocol.MaxFrame
	}
	if l.FrameTime <= 0 {
		l.FrameTime = protocol.FrameTimeout
	}
	if l.Idle <= 0 {
		l.Idle = protocol.IdleTimeout
	}
	if l.Sessions <= 0 {
		l.Sessions = protocol.MaxSessions
	}
	if l.AccountSessions <= 0 {
		l.AccountSessions = protocol.MaxAccountSessions
	}
	return l
}

// deadliner is a stream with deadlines. Sockets have them. The standard streams of a child of the client have
// none; there, a slow client only harms itself.
type deadliner interface {
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// session is a connection from accept to close.
type session struct {
	doer   Doer
	caller protocol.Caller
	limits Limits
	log    *slog.Logger
	out    io.Writer
	timer  deadliner // Nil if the stream has no deadlines.
	frames *wire.FrameReader
	xml    bool // Answers are XML. Only the serving goroutine uses it.

	intake *admission.Intake // Nil means no limit.
	cut    func()            // Closes the connection; nil if that is not possible.
	// reading is cancelled by cut, and when the session drains: then nothing waits any more.
	reading    context.Context
	endReading context.CancelFunc
	place      *admission.Lease // The session's lease; nil without limits.
	// held are the leases of the frame that is being read. Only the reading goroutine uses it.
	held []*admission.Lease

	mu       sync.Mutex
	busy     bool          // A request is being served.
	draining bool          // Close after the current request.
	packed   bool          // Requests are pipelined: draining ends the reading at once.
	calls    int           // Pipelined calls in flight.
	failed   bool          // The client can't be written to: nothing more is read or started.
	left     bool          // Serve has returned or will return; further input is ignored.
	quiet    chan struct{} // Closed when Serve has ended and no pipelined call runs.
}

func newSession(doer Doer, caller protocol.Caller, limits Limits, log *slog.Logger, in io.Reader, out io.Writer) *session {
	s := &session{doer: doer, caller: caller, limits: limits, log: log, out: out, quiet: make(chan struct{})}
	s.reading, s.endReading = context.WithCancel(context.Background())
	s.frames = wire.NewFrameReader(in, limits.Frame)
	if timer, ok := in.(deadliner); ok && timer.SetReadDeadline(time.Time{}) == nil {
		s.timer = timer
		s.frames.Started = func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if !s.draining && !s.failed {
				_ = timer.SetReadDeadline(time.Now().Add(limits.FrameTime))
			}
		}
	}
	return s
}

// Serve serves a session on in and out until Shutdown, the end of in, the end of ctx or an error of the
// streams, which it returns. If the client breaks the protocol, Serve returns no error. A call that runs when
// ctx ends is finished and answered.
func Serve(ctx context.Context, doer Doer, caller protocol.Caller, limits Limits, log *slog.Logger, in io.Reader, out io.Writer) error {
	s := newSession(doer, caller, limits.withDefaults(), log, in, out)
	done := make(chan error, 1)
	go func() { done <- s.serve(context.WithoutCancel(ctx)) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	if !s.drain() {
		return nil // It waits for a frame on a stream that can't be interrupted.
	}
	select {
	case err := <-done:
		return err
	case <-s.quiet:
		return nil
	}
}

func (s *session) serve(ctx context.Context) error {
	for {
		if !s.beginWait() {
			return nil
		}
		payload, err := s.frames.Next()
		release := s.take()
		if !s.begin() {
			release()
			return nil
		}
		if err != nil {
			release()
			return s.endOfFrames(err)
		}
		done, err := s.answer(ctx, payload)
		release()
		if err != nil || done {
			return err
		}
		if s.packed {
			return s.servePacked(ctx)
		}
		s.idle()
	}
}

// beginWait sets the idle deadline. It reports false if the session shall end.
func (s *session) beginWait() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining || s.failed {
		return false
	}
	if s.timer != nil {
		_ = s.timer.SetReadDeadline(time.Now().Add(s.limits.Idle))
	}
	return true
}

// begin records that a request is being served. It returns false if the session has ended meanwhile.
func (s *session) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = !s.left && !s.failed
	if s.busy {
		s.place.Pin()
	}
	return s.busy
}

func (s *session) idle() {
	s.mu.Lock()
	s.busy = false
	s.mu.Unlock()
	s.place.Unpin()
}

// reserve waits until the account may send more bytes of a frame.
func (s *session) reserve(bytes int) error {
	ctx, cancel := context.WithTimeout(s.reading, s.limits.FrameTime)
	defer cancel()
	lease, err := s.intake.Admit(ctx, s.caller.Account.Name, int64(bytes), s.cut)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoRoom, err)
	}
	if lease != nil {
		s.held = append(s.held, lease)
	}
	return nil
}

// errNoRoom is returned if a frame could not be read in time because of other frames.
var errNoRoom = errors.New("session: no room for a frame")

// take returns a function that releases the leases of the frame that was read. Until the call has ended, they
// can't be revoked.
func (s *session) take() (release func()) {
	held := s.held
	s.held = nil
	for _, lease := range held {
		lease.Pin()
	}
	return func() {
		for _, lease := range held {
			lease.Release()
		}
	}
}

// fail ends the reading: a call that can't be answered must not run.
func (s *session) fail() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = true
	if s.timer != nil {
		_ = s.timer.SetReadDeadline(time.Unix(1, 0))
	}
}

func (s *session) hasFailed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// count records that a pipelined call begins or ends.
func (s *session) count(by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls += by; s.calls == 0 && s.left {
		close(s.quiet)
	}
	if by > 0 {
		s.place.Pin()
	} else {
		s.place.Unpin()
	}
}

// drain ends the session as soon as no request is being served. It reports whether a request is being served.
func (s *session) drain() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	s.endReading()
	busy := s.busy || s.calls > 0
	switch {
	case s.busy:
	case s.timer != nil:
		_ = s.timer.SetReadDeadline(time.Unix(1, 0))
	default:
		s.left = true // The read can't be interrupted, so its goroutine is left behind.
	}
	return busy
}

// endOfFrames answers a frame that can't be trusted. The session then ends.
func (s *session) endOfFrames(err error) error {
	message, err := s.reason(err)
	if message != "" {
		_ = s.write(wire.AppendFailure(nil, message)) // The client may be gone.
	}
	return err
}

// reason returns why no more frames are read: a message if the client made a mistake, an error if the stream
// failed, and neither at a regular end.
func (s *session) reason(err error) (message string, _ error) {
	switch {
	case errors.Is(err, io.EOF):
		return "", nil
	case errors.Is(err, wire.ErrFrameTooLarge):
		message = fmt.Sprintf("The frame is too large: at most %d bytes are accepted.", s.limits.Frame)
	case errors.Is(err, errNoRoom) && s.isDraining():
		return "", nil
	case errors.Is(err, errNoRoom):
		message = "The host has no room for a frame of this size at the moment. Nothing was changed; try again later."
	case errors.Is(err, wire.ErrLength):
		message = "A frame must start with its length in bytes, in decimal digits, on a line of its own."
	case errors.Is(err, wire.ErrTruncated):
		message = "The stream ended inside a frame; its length must be the payload's in bytes."
	case errors.Is(err, os.ErrDeadlineExceeded):
		if s.isDraining() {
			return "", nil
		}
		message = fmt.Sprintf("The session is closed: no whole frame came in time (%s for a frame, %s between frames).", s.limits.FrameTime, s.limits.Idle)
	default:
		return "", fmt.Errorf("read from the client: %w", err)
	}
	s.log.Info("session ended", "account", s.caller.Account.Name, "door", s.caller.Door, "reason", err.Error())
	return message, nil
}

func (s *session) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// answer serves a payload. done means that the session has ended.
func (s *session) answer(ctx context.Context, payload []byte) (done bool, err error) {
	measured := s.intake.Measure(s.caller.Account.Name)
	request := wire.Parse(payload)
	measured()
	switch request.Kind {
	case wire.RequestJSON:
		s.xml = false
		return false, s.write(wire.AnswerJSONEnabled)
	case wire.RequestXML:
		s.xml = true
		return false, s.write(wire.AnswerXMLEnabled)
	case wire.RequestMessagePack:
		s.xml = false
		if err := s.write(wire.AnswerMessagePackEnabled); err != nil {
			return false, err
		}
		s.mu.Lock()
		s.packed = true
		s.mu.Unlock()
		return false, nil
	case wire.RequestShutdown:
		_ = s.write(wire.AnswerShutdown) // Many clients have closed the connection by now.
		return true, nil
	case wire.RequestCall:
		// A large answer keeps its room until it is written.
		ctx, scope := admission.WithScope(ctx, s.cut)
		defer scope.End()
		return false, s.write(s.call(ctx, request.Call))
	case wire.RequestSpecial:
		ctx, scope := admission.WithScope(ctx, s.cut)
		defer scope.End()
		return false, s.write(envelope.Special(request.Special, s.do(ctx, request.Call)))
	default:
		if request.Special != "" {
			return false, s.write(envelope.Special(request.Special, protocol.Failed(request.Err)))
		}
		if request.Call.API == 0 {
			return false, s.write(wire.AppendFailure(nil, request.Err.Message))
		}
		return false, s.write(envelope.JSON(request.Call, protocol.Failed(request.Err)))
	}
}

// call runs a call and returns its envelope, or an envelope that says that the answer is too large.
func (s *session) call(ctx context.Context, call protocol.Call) []byte {
	result := s.do(ctx, call)
	call.Args = protocol.Args{}
	measured := s.intake.Measure(s.caller.Account.Name)
	body := envelope.JSON(call, result)
	measured()
	if len(body) <= protocol.MaxAnswer {
		return body
	}
	return envelope.JSON(call, protocol.Failed(protocol.NewError(protocol.KindUnavailable, fmt.Sprintf(
		"The call was run, but its answer of %d bytes is too large to be sent: at most %d are.", len(body), protocol.MaxAnswer))))
}

// do runs a call. A panic ends the call and not the host. The log gets the stack and no argument.
func (s *session) do(ctx context.Context, call protocol.Call) (result *protocol.Result) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("panic in a call", "account", s.caller.Account.Name, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			result = protocol.Failed(protocol.NewError(protocol.KindInternal, "The request failed."))
		}
	}()
	return s.doer.Do(ctx, s.caller, call)
}

func (s *session) write(body []byte) error {
	measured := s.intake.Measure(s.caller.Account.Name)
	form := wire.AppendAnswer
	if s.xml {
		form, body = wire.AppendXMLAnswer, s.asXML(body)
	}
	answer, err := form(make([]byte, 0, len(body)+64), body)
	measured()
	if err != nil {
		return err
	}
	return s.send(answer)
}

// asXML returns an envelope as XML, or a failure if that would be too large.
func (s *session) asXML(body []byte) []byte {
	if out, ok := envelope.XML(body, protocol.MaxAnswer); ok {
		return out
	}
	out, _ := envelope.XML(wire.AppendFailure(nil, "The call was run, but its answer in XML is too large to be sent."), protocol.MaxAnswer)
	return out
}

// send writes bytes to the client, within FrameTime.
func (s *session) send(answer []byte) error {
	if s.timer != nil {
		_ = s.timer.SetWriteDeadline(time.Now().Add(s.limits.FrameTime))
	}
	if _, err := s.out.Write(answer); err != nil {
		return fmt.Errorf("write to the client: %w", err)
	}
	return nil
}
