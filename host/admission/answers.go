package admission

import (
	"context"
	"fmt"
	"time"
)

// Limits of the memory that answers occupy, in bytes, from the decoding of an answer until it has been
// written to the client. An answer that needs more than accountAnswers, for example a list of 100,000
// records, is accepted, but it is counted as accountAnswers bytes; the account then has no room for another
// counted answer. answerGrace is the value of PoolOptions.Grace.
const (
	smallAnswer    = 16 << 10 // Answers up to this size are not counted.
	accountAnswers = 8 << 20
	totalAnswers   = 16 << 20
	answerGrace    = 5 * time.Second
)

// Answers limits the memory that workers' answers occupy. An answer is decoded only when the pool has room
// for it, and it occupies this room until it has been written to the client. If other answers need the room,
// the pool may close the connection of a client that reads its answer slowly, which releases the room. A nil
// *Answers has no limit.
type Answers struct{ pool *Pool }

// NewAnswers returns an Answers with the default limits. A host uses one for all of its workers.
func NewAnswers() *Answers {
	return &Answers{pool: NewPool(PoolOptions{Total: totalAnswers, Each: accountAnswers, Grace: answerGrace})}
}

// Take waits until the pool has room for an answer to the given account, with the given number of encoded
// bytes and of values. The answer occupies the room until the scope of ctx ends (see Scope). If ctx has no
// scope, Take releases the room before it returns, so that only the decoding of the answer waits for room.
// Take does not wait for a small answer. If the scope already contains an answer, as in a batch, Take does not
// wait either, but returns an error if there is no room: the scope would wait for its own answers.
func (a *Answers) Take(ctx context.Context, account string, bytes, values int64) error {
	n := bytes + values*valueSize
	if a == nil || n <= smallAnswer {
		return nil
	}
	wait := a.pool.Wait
	if holdsAnswers(ctx) {
		wait = func(_ context.Context, key string, n int64, revoke func()) (*Lease, error) {
			return a.pool.Acquire(key, n, revoke)
		}
	}
	lease, err := wait(ctx, account, n, cutOf(ctx))
	if err != nil {
		return fmt.Errorf("wait for free memory for an answer of %d bytes: %w", bytes, err)
	}
	holdAnswer(ctx, lease.Release)
	return nil
}

// valueSize is the estimated memory in bytes that each value of an answer needs in addition to its encoded
// bytes: about 70 bytes for the decoded value, including its place in a list or map, about 70 bytes again
// when the envelope is built, and the remaining 60 bytes for the name of the value in the JSON.
const valueSize = 200
