package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/wire"
)

// ErrNotPacked is returned if the host does not support MessagePack. The session then continues in JSON.
var ErrNotPacked = errors.New("client: the host does not support MessagePack")

// Packed is a session in MessagePack. Any number of goroutines may use the session, and their calls run
// concurrently. Unlike in JSON, a string in an answer contains the exact bytes that the module returned, even
// if they are not UTF-8.
type Packed struct {
	c *Client

	write sync.Mutex // Held while a frame is written.

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan map[string]any // The waiting calls, by their id.
	broken  error
	ended   chan struct{} // Closed when read returns.
}

// Packed switches the session to MessagePack. The returned Packed then owns c: use only its methods, and its
// Close also closes c. After ErrNotPacked, c can still be used.
func (c *Client) Packed(ctx context.Context) (*Packed, error) {
	answer, _, err := c.roundTrip(ctx, []byte(wire.EnableMessagePack))
	if err != nil {
		return nil, err
	}
	if string(answer) != string(wire.AnswerMessagePackEnabled) {
		return nil, ErrNotPacked
	}
	c.mu.Lock()
	c.broken = errors.New("client: the session was switched to MessagePack; make further calls with the Packed client")
	c.mu.Unlock()
	p := &Packed{c: c, waiting: make(map[uint64]chan map[string]any), ended: make(chan struct{})}
	go p.read()
	return p, nil
}

// read runs until the stream ends or fails. It passes each answer to the call that waits for the answer. An
// answer for which no call waits any more is dropped.
func (p *Packed) read() {
	defer p.c.cancel() // Otherwise the host could block writing an unread answer.
	defer close(p.ended)
	frames := wire.NewFrameReader(p.c.in, maxAnswer)
	for {
		doc, err := frames.Next()
		var id uint64
		var envelope map[string]any
		if err == nil {
			id, envelope, err = wire.ParsePackedAnswer(doc)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the host closed the session")
			}
			p.fail(err)
			return
		}
		p.mu.Lock()
		answer := p.waiting[id]
		delete(p.waiting, id)
		p.mu.Unlock()
		if answer != nil {
			answer <- envelope
		}
	}
}

func (p *Packed) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken == nil {
		p.broken = fmt.Errorf("client: %w", err)
	}
}

// Call runs a call and returns its envelope. Call returns an error only if there is no answer: the failure of
// a function is reported in the envelope. If ctx ends first, the session stays usable for other calls.
func (p *Packed) Call(ctx context.Context, call protocol.Call) (map[string]any, error) {
	answer := make(chan map[string]any, 1)
	p.mu.Lock()
	if p.broken != nil {
		defer p.mu.Unlock()
		return nil, p.broken
	}
	p.next++
	id := p.next
	p.waiting[id] = answer
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, id)
		p.mu.Unlock()
	}()
	frame, err := wire.AppendPacked(nil, id, call)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	p.write.Lock()
	_, err = p.c.out.Write(frame)
	p.write.Unlock()
	if err != nil {
		p.fail(err)
		return nil, fmt.Errorf("client: %w", err)
	}
	select {
	case envelope := <-answer:
		return envelope, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrOutcomeUnknown, ctx.Err())
	case <-p.ended:
	}
	select {
	case envelope := <-answer: // The answer came shortly before read returned.
		return envelope, nil
	default:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return nil, fmt.Errorf("%w: %w", ErrOutcomeUnknown, p.broken)
}

// Close waits until the calls in flight have their answers, but at most for endTime, and then ends the
// session. If Spawn started the host, Close also ends the host.
func (p *Packed) Close() error {
	p.fail(errors.New("the session is closed"))
	defer time.AfterFunc(endTime, p.c.cancel).Stop() // Ends a Write that blocks because the host does not read.
	p.write.Lock()
	_, err := p.c.out.Write(wire.AppendFrame(nil, []byte(wire.Shutdown)))
	p.write.Unlock()
	if err == nil {
		<-p.ended
	}
	return p.c.Close()
}
