package admission

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// R19: an account waits only for itself; a full queue is reported; a caller that gives up leaves nothing
// behind.
func TestR19_FairSemaphore(t *testing.T) {
	g := NewFairSemaphore(FairOptions{Slots: 1, Each: 1, Account: 4, Queue: 5})
	leave, err := g.Enter(t.Context(), "a")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	wait := func(name string) {
		waiting.Go(func() {
			_, err := g.Enter(ctx, name)
			require.ErrorIs(t, err, context.Canceled)
		})
	}
	waits := func(n int) {
		t.Helper()
		require.Eventually(t, func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.waiting == n
		}, 10*time.Second, time.Millisecond)
	}
	for range 3 {
		wait("a")
	}
	waits(3)
	_, err = g.Enter(t.Context(), "a")
	require.ErrorIs(t, err, ErrAccountFull)
	wait("b")
	wait("b")
	waits(5)
	_, err = g.Enter(t.Context(), "b")
	require.ErrorIs(t, err, ErrQueueFull)
	for i := range 10 {
		wait(fmt.Sprintf("c%d", i)) // An account without running work may wait.
	}
	waits(15)
	_, err = g.Enter(cancelled(), "d")
	require.ErrorIs(t, err, context.Canceled)
	cancel()
	waiting.Wait()
	leave()
	leave, err = g.Enter(t.Context(), "a")
	require.NoError(t, err)
	leave()
	g.mu.Lock()
	defer g.mu.Unlock()
	require.Empty(t, g.accounts.states)
	require.Zero(t, g.waiting)
	require.Empty(t, g.slots)
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
