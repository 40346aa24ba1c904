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

// ErrNotPacked is a host that does not speak MessagePack. The session goes on in JSON.
var ErrNotPacked = errors.New("client: the host speaks no MessagePack")

// Packed is a session in MessagePack. Its calls may run beside each other, from any number
// of goroutines, and strings in its answers are byte for byte what the module returned.
type Packed struct {
	c *Client

	write sync.Mutex // One frame at a time.

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan map[string]any // By the call's id.
	broken  error
	ended   chan struct{} // Closed when nothing more is read.
}

// Packed turns the session into one in MessagePack; c is then closed through it. On
// ErrNotPacked c goes on as it was.
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

// read hands each answer to the call that waits for it; one that nobody waits for any
// more is dropped.
func (p *Packed) read() {
	defer p.c.cancel() // The host must not write to nobody.
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

// Call runs call and returns its envelope. A call that failed is an answer and no error.
// Where ctx ends first the session goes on for the other calls.
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
	case envelope := <-answer: // It came right before the end.
		return envelope, nil
	default:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return nil, fmt.Errorf("%w: %w", ErrOutcomeUnknown, p.broken)
}

// Close ends the session when the calls in flight have been answered, and the host where
// Spawn started it.
func (p *Packed) Close() error {
	p.fail(errors.New("the session is closed"))
	defer time.AfterFunc(endTime, p.c.cancel).Stop() // A writer may be stuck.
	p.write.Lock()
	_, err := p.c.out.Write(wire.AppendFrame(nil, []byte(wire.Shutdown)))
	p.write.Unlock()
	if err == nil {
		<-p.ended
	}
	return p.c.Close()
}
