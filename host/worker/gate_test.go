package worker

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// R19: an account waits for itself; too many are told so; whoever gives up leaves nothing.
func TestR19_Gate(t *testing.T) {
	g := newGate()
	leave, err := g.enter(t.Context(), "a")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range gateAccount - 1 {
		waiting.Go(func() {
			_, err := g.enter(ctx, "a")
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
	waits(gateAccount - 1)
	_, err = g.enter(t.Context(), "a")
	require.ErrorIs(t, err, errGateAccount)
	for i := range gateQueue - gateAccount + 1 {
		waiting.Go(func() {
			if leave, err := g.enter(ctx, fmt.Sprintf("b%d", i)); err == nil {
				<-ctx.Done() // It has a place, where there are several.
				leave()
			}
		})
	}
	waits(gateQueue - cap(g.slots) + 1)
	for i := range cap(g.slots) {
		if _, err = g.enter(cancelled(), fmt.Sprintf("c%d", i)); err != nil {
			break
		}
	}
	require.Error(t, err)
	cancel()
	waiting.Wait()
	leave()
	g.mu.Lock()
	defer g.mu.Unlock()
	require.Empty(t, g.accounts)
	require.Zero(t, g.waiting)
	require.Empty(t, g.slots)
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
