package admission

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// T51: a single goroutine computes at a time, accounts take turns, and a caller that gives up leaves nothing
// behind.
func TestT51_Work(t *testing.T) {
	w := NewWork()
	pauseA, endA := w.Pace("a")
	require.NoError(t, pauseA(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	pauseB, endB := w.Pace("b")
	require.ErrorIs(t, pauseB(ctx), context.DeadlineExceeded)
	endB()
	got := make(chan string, 20)
	var all sync.WaitGroup
	for _, name := range []string{"a", "a", "a", "b"} {
		all.Go(func() {
			pause, end := w.Pace(name)
			defer end()
			if pause(t.Context()) == nil {
				got <- name
			}
		})
	}
	require.Eventually(t, func() bool {
		w.turns.mu.Lock()
		defer w.turns.mu.Unlock()
		return w.turns.waiting == 4
	}, 10*time.Second, time.Millisecond)
	endA()
	endA()
	all.Wait()
	require.Len(t, got, 4)
	first, second := <-got, <-got
	require.Contains(t, []string{first, second}, "b", "b does not wait for all of a's")
	require.Empty(t, w.turns.accounts.states)

	ended, stop := context.WithCancel(t.Context())
	pause, end := w.Pace("c")
	require.NoError(t, pause(ended))
	stop()
	require.ErrorIs(t, pause(ended), context.Canceled, "a caller whose time is over computes no further")
	end()
	require.Empty(t, w.turns.slots)
}
