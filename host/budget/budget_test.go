package budget

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBudget(t *testing.T) {
	const big = 10 << 20
	b := New(2*big, big)
	late := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	alice, endAlice := Scope(t.Context())
	require.NoError(t, b.Take(alice, "alice", big))
	require.NoError(t, b.Take(late(), "alice", Small), "small ones are not counted")
	require.ErrorIs(t, b.Take(late(), "alice", Small+1), context.DeadlineExceeded, "she holds what she may")
	bob, endBob := Scope(t.Context())
	require.NoError(t, b.Take(bob, "bob", 5*big), "one too large takes all there is for one")
	require.ErrorIs(t, b.Take(late(), "carol", big), context.DeadlineExceeded, "there is no more")

	waited := make(chan error, 1)
	carol, endCarol := Scope(t.Context())
	go func() { waited <- b.Take(carol, "carol", big) }()
	endAlice()
	require.NoError(t, <-waited)
	endAlice()
	endBob()
	endCarol()
	require.Empty(t, b.accounts)
	require.NoError(t, b.Take(alice, "alice", big), "what comes after the end is given back")
	require.NoError(t, b.Take(t.Context(), "alice", big), "and so is what nobody would give back")
	require.Empty(t, b.accounts)
	require.True(t, b.all.TryAcquire(2*big))
	var none *Budget
	require.NoError(t, none.Take(t.Context(), "x", big))
}
