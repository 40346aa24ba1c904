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

// Doer runs the calls of sessions. host.Host implements it. Do must be safe for concurrent use.
type Doer interface {
	Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result
}

// Limits are the limits for sessions. A field that is zero means the default, which package protocol defines.
type Limits struct {
	Frame           int           // Maximum size of a frame's payload, in bytes.
	FrameTime       time.Duration // Maximum time to read one frame, or to write one answer.
	Idle            time.Duration // Maximum time between two frames.
	Sessions        int           // Maximum number of open sessions, over all accounts.
	AccountSessions int           // Maximum number of open sessions of one account.
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

// deadliner is a stream that supports deadlines, such as a socket. If the client starts the host as a child
// process, the session uses the standard streams of this process. They support no deadlines, but the process
// serves only this client, so a slow client harms only itself.
type deadliner interface {
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// session is the state of a session, from the accepted connection until it is closed.
type session struct {
	doer   Doer
	caller protocol.Caller
	limits Limits
	log    *slog.Logger
	out    io.Writer
	timer  deadliner // Nil if the stream supports no deadlines.
	frames *wire.FrameReader
	xml    bool // Answers are in XML. Only the serving goroutine uses this.

	intake *admission.Intake // Nil means that input is not limited.
	cut    func()            // Closes the connection; nil if the stream can't be closed.
	// reading is a context for waits of the reading goroutine. It is cancelled by cut and by drain, so that a
	// session that ends does not wait for admission any more.
	reading    context.Context
	endReading context.CancelFunc
	place      *admission.Lease // Lease of the session's place; nil without limits.
	// held contains the leases for the frame that is being read. Only the reading goroutine uses this field.
	held []*admission.Lease

	mu       sync.Mutex
	busy     bool          // A request was read and is being handled; see begin.
	draining bool          // The session ends after the current request.
	packed   bool          // MessagePack is in use: requests are pipelined.
	calls    int           // Number of pipelined calls in flight.
	failed   bool          // A write failed: read nothing more, start no call.
	left     bool          // The blocked read was abandoned: ignore what it returns.
	quiet    chan struct{} // Closed when left is set and no pipelined call runs any more.
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

// Serve serves a session that reads from in and writes to out. It returns when the client ends the session,
// at the end of in, when ctx ends, or when a stream fails. Only a failed stream is returned as an error; a
// client that violates the protocol is not. If ctx ends while a call runs, the call is finished and answered
// before Serve returns.
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
		return nil // No request runs: don't wait for the read, which may block.
	}
	select {
	case err := <-done:
		return err
	case <-s.quiet:
		return nil
	}
}

// next reads the next frame. The caller must call release when it does not use the payload any more. If the
// session is to read no more frames, because it drains or was revoked, release is nil.
func (s *session) next() (payload []byte, release func(), err error) {
	if !s.beginWait() {
		return nil, nil, nil
	}
	payload, err = s.frames.Next()
	release = s.take()
	if !s.begin() {
		release()
		return nil, nil, nil
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return payload, release, nil
}

func (s *session) serve(ctx context.Context) error {
	for {
		payload, release, err := s.next()
		if err != nil {
			return s.endOfFrames(err)
		}
		if release == nil {
			return nil
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

// beginWait sets the deadline for the start of the next frame. It returns false if the session must not read
// another frame.
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

// begin marks the session as busy with a request. It returns false if the session ended while the request was
// being read; the request must then be ignored.
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

// reserve waits until the host admits the given number of bytes of the frame that is being read. It adds the
// lease for these bytes to held.
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

// errNoRoom is returned if the bytes of a frame were not admitted in time, for example because other frames
// used all of the room.
var errNoRoom = errors.New("session: the host had no free memory for a frame")

// take empties held and returns a function that releases the removed leases. take pins these leases, so that
// they can't be revoked until the call has ended.
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

// fail makes the session stop reading after a write failed, because a call that can't be answered must not
// run.
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

// count adds by, which is 1 or -1, to the number of pipelined calls in flight.
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

// drain makes the session end as soon as no request is in progress. It reports whether a request is in
// progress now.
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
		s.left = true // The read can't be interrupted; abandon its goroutine.
	}
	return busy
}

// endOfFrames tells the client why the session stops reading frames. err is the error of the frame reader;
// after it, the start of the next frame is unknown, so the session ends.
func (s *session) endOfFrames(err error) error {
	message, err := s.reason(err)
	if message != "" {
		_ = s.write(wire.AppendFailure(nil, message)) // Ignore the error: the client may have disconnected.
	}
	return err
}

// reason converts err, an error of the frame reader, to a message or an error. It returns a message for the
// client if the client made a mistake, an error if the stream failed, and neither if the session ends
// regularly.
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
		message = "The stream ended inside a frame. The length line must contain the length of the payload in bytes."
	case errors.Is(err, os.ErrDeadlineExceeded):
		if s.isDraining() {
			return "", nil
		}
		message = fmt.Sprintf("The session is closed: no complete frame arrived in time (%s for a frame, %s between frames).", s.limits.FrameTime, s.limits.Idle)
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

// answer handles the request in payload and writes the answer. done means that the client asked to end the
// session.
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
		_ = s.write(wire.AnswerShutdown) // Ignore the error: many clients have disconnected by now.
		return true, nil
	case wire.RequestCall:
		// The scope ends after the answer has been written, so a large answer keeps its reserved memory until
		// then.
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

// call runs a call and returns the encoded envelope of the result. If the envelope would be too large, it
// returns the envelope of an error instead.
func (s *session) call(ctx context.Context, call protocol.Call) []byte {
	call.Compact = true
	result := s.do(ctx, call)
	call.Args = protocol.Args{}
	body := s.encode(call, result)
	if len(body) <= protocol.MaxAnswer {
		return body
	}
	return envelope.JSON(call, protocol.Failed(envelope.TooLarge()))
}

// encode returns the envelope of a result. It recovers from panics as do does, because it parses the data of a worker.
func (s *session) encode(call protocol.Call, result *protocol.Result) (body []byte) {
	defer s.intake.Measure(s.caller.Account.Name)()
	defer func() {
		if p := recover(); p != nil {
			body = envelope.JSON(call, s.panicked(p))
		}
	}()
	return envelope.JSON(call, result)
}

// panicked logs the type and the stack of a panic, and no arguments of the call, and returns the result for the caller.
func (s *session) panicked(p any) *protocol.Result {
	s.log.Error("panic in a call", "account", s.caller.Account.Name, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
	return protocol.Failed(protocol.NewError(protocol.KindInternal, "The request failed."))
}

// do runs a call. If the call panics, do recovers, so that the host continues, and returns an error as the result.
func (s *session) do(ctx context.Context, call protocol.Call) (result *protocol.Result) {
	defer func() {
		if p := recover(); p != nil {
			result = s.panicked(p)
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

// asXML converts an envelope to XML. If the XML would be too large, asXML returns the XML of an error
// instead.
func (s *session) asXML(body []byte) []byte {
	if out, ok := envelope.XML(body, protocol.MaxAnswer); ok {
		return out
	}
	out, _ := envelope.XML(wire.AppendFailure(nil, "The call was run, but its answer in XML is too large to be sent."), protocol.MaxAnswer)
	return out
}

// send writes an encoded answer to the client. If the stream supports deadlines, the write fails after
// Limits.FrameTime.
func (s *session) send(answer []byte) error {
	if s.timer != nil {
		_ = s.timer.SetWriteDeadline(time.Now().Add(s.limits.FrameTime))
	}
	if _, err := s.out.Write(answer); err != nil {
		return fmt.Errorf("write to the client: %w", err)
	}
	return nil
}
