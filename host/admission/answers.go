package admission

import (
	"context"
	"fmt"
	"time"
)

// Limits of the memory for answers, in bytes, from decoding until the answer is written. A list of 100,000
// records needs more than the total; it is decoded alone.
const (
	smallAnswer    = 16 << 10 // Answers of this size are not counted.
	accountAnswers = 8 << 20
	totalAnswers   = 16 << 20
	answerGrace    = 5 * time.Second
)

// Answers limits the memory of workers' answers. An answer is decoded only if there is room for it, and it
// holds that room until the client has received it. If other answers need room, a client that reads slowly
// loses its room and its connection.
type Answers struct{ pool *Pool }

// NewAnswers returns the limits for one host.
func NewAnswers() *Answers {
	return &Answers{pool: NewPool(PoolOptions{Total: totalAnswers, Each: accountAnswers, Grace: answerGrace})}
}

// Take waits for room for an account's answer with the given number of bytes and values. The room is held
// until the end of the context's scope. If the context has no scope, the room is released at once, so that
// only the decoding waits.
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

// valueSize is the estimated memory of one value in bytes, in addition to its text: about 70 when it is
// decoded, including its place in a list or map, the same again when the envelope is built, and its name in
// the JSON.
const valueSize = 200
