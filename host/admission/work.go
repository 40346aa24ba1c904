package admission

import (
	"context"
	"time"
)

// Work limits the processor time of computations that callers choose, such as filters with patterns and
// sorting. One of them computes at a time, and all of them together use half of one processor.
type Work struct{ turns *FairSemaphore }

// NewWork returns a Work with nothing to do.
func NewWork() *Work {
	const many = 1 << 20 // The limit of calls in flight also limits the number of waiting computations.
	return &Work{turns: NewFairSemaphore(FairOptions{Slots: 1, Each: 1, Account: many, Queue: many})}
}

// Pace returns two functions for an account's computation: it calls pause after each slice, and end at its
// end. The first slice does not wait, so that short computations never do.
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
			// The turn is kept during the pause, so that half of the processor stays free.
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
