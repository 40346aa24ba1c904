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

// ErrNotPacked is returned if the host does not speak MessagePack. The session continues in JSON.
var ErrNotPacked = errors.New("client: the host speaks no MessagePack")

// Packed is a session in MessagePack. Any number of goroutines may use it, and their calls run concurrently.
// Strings in its answers have the bytes that the module returned.
type Packed struct {
	c *Client

	write sync.Mutex // Serializes the frames.

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan map[string]any // By the call's id.
	broken  error
	ended   chan struct{} // Closed when reading has ended.
}

// Packed switches the session to MessagePack. The returned session then closes c. If it returns ErrNotPacked,
// c can still be used.
func (c *Client) Packed(ctx context.Context) (*Packed, error) {
	answer, _, err := c.roundTrip(ctx, []byte(wire.EnableMessagePack))
	if err != nil {
		return nil, err
	}
	if string(answer) != string(wire.AnswerMessagePackEnabled) {
		return nil, ErrNotPacked
	}
	c.mu.Lock()
	c.broken = errors.New("client: the session is in MessagePack")
	c.mu.Unlock()
	p := &Packed{c: c, waiting: make(map[uint64]chan map[string]any), ended: make(chan struct{})}
	go p.read()
	return p, nil
}

// read passes each answer to the call that waits for it. Answers without a waiting call are dropped.
func (p *Packed) read() {
	defer p.c.cancel() // Nothing reads any more, so the host must not block on writing.
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

// Call runs a call and returns its envelope. If the call fails, its envelope says so and Call returns no
// error. If ctx ends first, the session continues for the other calls.
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
	case envelope := <-answer: // The answer came right before the end.
		return envelope, nil
	default:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return nil, fmt.Errorf("%w: %w", ErrOutcomeUnknown, p.broken)
}

// Close ends the session when the calls in flight have their answers, and the host if Spawn started it.
func (p *Packed) Close() error {
	p.fail(errors.New("the session is closed"))
	defer time.AfterFunc(endTime, p.c.cancel).Stop() // A writer may be blocked.
	p.write.Lock()
	_, err := p.c.out.Write(wire.AppendFrame(nil, []byte(wire.Shutdown)))
	p.write.Unlock()
	if err == nil {
		<-p.ended
	}
	return p.c.Close()
}
