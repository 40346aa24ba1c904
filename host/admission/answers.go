package admission

import (
	"context"
	"fmt"
	"time"
)

// Limits of the memory that answers occupy, in bytes, from decoding until the answer has been written. An
// answer that needs more than accountAnswers, for example a list of 100,000 records, counts as
// accountAnswers; the account then has no room for another counted answer. answerGrace is PoolOptions.Grace.
const (
	smallAnswer    = 16 << 10 // Answers up to this size are not counted.
	accountAnswers = 8 << 20
	totalAnswers   = 16 << 20
	answerGrace    = 5 * time.Second
)

// Answers limits the memory that workers' answers occupy. An answer is decoded only if the pool has room for
// the answer, and occupies that room until the client has received the answer. If other answers need the
// room, the connection of a client that reads slowly is closed and its room is released. A nil *Answers has
// no limit.
type Answers struct{ pool *Pool }

// NewAnswers returns an Answers with the default limits. A host uses one for all of its workers.
func NewAnswers() *Answers {
	return &Answers{pool: NewPool(PoolOptions{Total: totalAnswers, Each: accountAnswers, Grace: answerGrace})}
}

// Take waits until there is room for an answer of the account with the given number of bytes and values. The
// room stays occupied until the scope of ctx ends. If ctx has no scope, Take releases the room at once, so
// that only the decoding of the answer waits for room.
func (a *Answers) Take(ctx context.Context, account string, bytes, values int64) error {
	n := bytes + values*valueSize
	if a == nil || n <= smallAnswer {
		return nil
	}
	lease, err := a.pool.Wait(ctx, account, n, cutOf(ctx))
	if err != nil {
		return fmt.Errorf("wait for free memory for an answer of %d bytes: %w", bytes, err)
	}
	Hold(ctx, lease.Release)
	return nil
}

// valueSize is the estimated memory in bytes that one value of an answer needs in addition to its text: about
// 70 bytes for the decoded value, including its place in a list or map, about 70 bytes again when the
// envelope is built, and the rest for its name in the JSON.
const valueSize = 200
