package admission

import (
	"context"
	"fmt"
	"time"
)

// The bounds of answers, in bytes of what they take until they are written. A list of 100,000 records
// takes more than all of it, and is decoded alone.
const (
	smallAnswer    = 16 << 10 // Not counted.
	accountAnswers = 8 << 20
	totalAnswers   = 16 << 20
	answerGrace    = 5 * time.Second
)

// Answers bounds the memory that workers' answers take: one is decoded only when there is room for it,
// and holds that room until its caller has been answered. A caller that reads slowly loses it to others
// that need some, and its connection with it.
type Answers struct{ pool *Pool }

// NewAnswers returns the bounds of a host's answers.
func NewAnswers() *Answers {
	return &Answers{pool: NewPool(PoolOptions{Total: totalAnswers, Each: accountAnswers, Grace: answerGrace})}
}

// Take waits for room for an account's answer of so many bytes and values. Room is held until the end
// of the context's scope; without one, only the decoding waits.
func (a *Answers) Take(ctx context.Context, account string, bytes, values int64) error {
	n := bytes + values*valueSize
	if a == nil || n <= smallAnswer {
		return nil
	}
	lease, err := a.pool.Wait(ctx, account, n, cutOf(ctx))
	if err != nil {
		return fmt.Errorf("wait for room for an answer of %d bytes: %w", bytes, err)
	}
	Hold(ctx, lease.Release)
	return nil
}

// valueSize is what a value takes beside its own bytes until it has been answered: some seventy decoded,
// with its part of a list or a map, as many again when the envelope is made, and its name in the text.
const valueSize = 200
