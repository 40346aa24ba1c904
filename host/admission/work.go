package admission

import (
	"context"
	"time"
)

// Work paces the computing that a caller chooses: filters with patterns, sorting. Whatever callers ask
// for, one of them computes at a time, and together they take half of one processor.
type Work struct{ turns *FairSemaphore }

// NewWork returns a Work of which nothing is under way.
func NewWork() *Work {
	const many = 1 << 20 // The account's calls in flight are what bounds those that wait.
	return &Work{turns: NewFairSemaphore(FairOptions{Slots: 1, Each: 1, Account: many, Queue: many})}
}

// Pace returns what an account's computation calls after each slice of it, and what it calls at its
// end. The first slice is free, so that what is quick waits for nobody.
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
			// The turn is kept while nothing is computed: this is what leaves the other half.
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
