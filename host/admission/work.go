package admission

import (
	"context"
	"time"
)

// Work limits the processor time of computations that clients request, such as sorting, or filtering with
// patterns. Only one such computation runs at a time, accounts take turns, and all computations together use
// at most half of one processor.
type Work struct{ turns *FairSemaphore }

// NewWork returns a Work in which no computation runs.
func NewWork() *Work {
	const many = 1 << 20 // No limit here: Calls already limits the waiting callers.
	return &Work{turns: NewFairSemaphore(FairOptions{Slots: 1, Each: 1, Account: many, Queue: many})}
}

// Pace returns two functions for a computation of the account, which is divided into short slices. The
// computation must call pause after each slice except the last, and end when it has finished. pause waits
// until it is the computation's turn to run the next slice. The first slice does not need a turn, so a
// computation with a single slice never waits.
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
			// Before the computation gives up its turn, it sleeps for as long as its slice took. No other
			// computation has a turn during this time, so all computations together use at most half of a
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
