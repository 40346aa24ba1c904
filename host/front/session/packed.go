package session

import (
	"context"
	"sync"

	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/envelope"
	"github.com/liveapid/liveapid/protocol/wire"
)

// maxPipelined is the maximum number of calls of a session that run at once. If a client sends more, the
// session stops reading until a call has been answered.
const maxPipelined = 64

// servePacked serves a session after its client has switched to MessagePack. Calls run concurrently, and each
// call is answered as soon as it ends, so answers may be in another order than the requests. servePacked
// returns when all calls that it read have been answered.
func (s *session) servePacked(ctx context.Context) error {
	s.idle() // The request that selected MessagePack has been answered.
	p := &pipeline{s: s, slots: make(chan struct{}, maxPipelined)}
	err := p.read(ctx)
	p.calls.Wait()
	if p.shutdown {
		p.answer(0, map[string]any{"data": map[string]any{"result": "shutdown"}})
	}
	if p.failed != nil {
		return p.failed
	}
	return err
}

// pipeline tracks the calls in flight of a MessagePack session.
type pipeline struct {
	s        *session
	slots    chan struct{}
	calls    sync.WaitGroup
	shutdown bool

	mu     sync.Mutex // Serializes writing of answers; guards failed.
	failed error      // The error of the first failed write, or nil.
}

func (p *pipeline) read(ctx context.Context) error {
	s := p.s
	for {
		frame, release, err := s.next()
		if err != nil {
			return p.endOfFrames(err)
		}
		if release == nil {
			return nil
		}
		p.slots <- struct{}{}
		measured := s.intake.Measure(s.caller.Account.Name)
		request := wire.ParsePacked(frame)
		measured()
		if request.Request.Kind == wire.RequestShutdown {
			release()
			p.shutdown = true
			return nil
		}
		if s.hasFailed() {
			release()
			return nil
		}
		s.count(1)
		p.calls.Go(func() {
			defer s.count(-1)
			defer func() { <-p.slots }()
			defer release()
			p.run(ctx, request)
		})
		s.idle()
	}
}

// endOfFrames sends the client a message that says why the session stops reading frames. The message has the
// id 0, because it is not the answer to a call.
func (p *pipeline) endOfFrames(err error) error {
	message, err := p.s.reason(err)
	if message != "" {
		p.answer(0, envelope.Value(protocol.Call{}, protocol.Failed(protocol.NewError(protocol.KindBadRequest, message))))
	}
	return err
}

func (p *pipeline) run(ctx context.Context, packed wire.Packed) {
	request := packed.Request
	ctx, scope := admission.WithScope(ctx, p.s.cut)
	defer scope.End()
	result := protocol.Failed(request.Err)
	if request.Kind == wire.RequestCall || request.Kind == wire.RequestSpecial {
		result = p.s.do(ctx, request.Call)
	}
	if request.Special != "" {
		p.answer(packed.ID, envelope.SpecialValue(request.Special, result))
		return
	}
	p.answer(packed.ID, envelope.Value(request.Call, result))
}

// answer encodes and writes the answer to the call with the given id. After a failed write, answer writes
// nothing more, and the session stops reading.
func (p *pipeline) answer(id uint64, value map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		return
	}
	// The answer is encoded under the lock. Otherwise the calls of a slow client would each keep an encoded
	// answer in memory while they wait for the lock.
	measured := p.s.intake.Measure(p.s.caller.Account.Name)
	frame, err := wire.AppendPackedAnswer(nil, id, value)
	measured()
	if err != nil || len(frame) > protocol.MaxAnswer {
		frame, err = wire.AppendPackedAnswer(nil, id, envelope.Value(protocol.Call{}, protocol.Failed(
			protocol.NewError(protocol.KindUnavailable, "The call was run, but its answer is too large, or nested too deep, to be sent."))))
	}
	if err == nil {
		err = p.s.send(frame)
	}
	if err != nil {
		p.failed = err
		p.s.fail()
	}
}
