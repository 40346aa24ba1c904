package admission

import (
	"context"
	"time"
)

// Work limits the processor time of computations that callers choose, such as sorting or filters with
// patterns. Only one such computation runs at a time, in turn for each account, and all of them together use
// at most half of one processor.
type Work struct{ turns *FairSemaphore }

// NewWork returns a Work in which no computation runs.
func NewWork() *Work {
	const many = 1 << 20 // No limit here: the limits of calls already apply.
	return &Work{turns: NewFairSemaphore(FairOptions{Slots: 1, Each: 1, Account: many, Queue: many})}
}

// Pace returns two functions for a computation of the account. The computation must call pause after each
// slice of its work, and end when it has finished. pause waits for the computation's turn. The first slice
// runs without a turn, so that a computation with a single slice never waits.
func (w *Work) Pace(account string) (pause func(context.Context) error, end func()) {
	var leave func()
	var started time.Time
	end = func() {
		if leave != nil {
			leave()
			leave = nil
		}
	}
	pause = func(ctx context.Context) error {
		if leave != nil {
			// After its slice, the computation keeps its turn and sleeps for as long as the slice took. No
			// other computation runs during this time, so all computations together use at most half of a
			// processor.
			rest := time.NewTimer(time.Since(started))
			select {
			case <-rest.C:
			case <-ctx.Done():
				rest.Stop()
			}
		}
		end()
		turn, err := w.turns.Enter(ctx, account)
		if err != nil {
			return err
		}
		leave, started = turn, time.Now()
		return ctx.Err()
	}
	return pause, end
}
