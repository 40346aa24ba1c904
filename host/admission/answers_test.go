package admission

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnswers(t *testing.T) {
	a := NewAnswers()
	late := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	alice, endAlice := WithScope(t.Context(), nil)
	require.NoError(t, a.Take(alice, "alice", accountAnswers, 0))
	require.NoError(t, a.Take(late(), "alice", 100, 10), "small ones are not counted")
	require.ErrorIs(t, a.Take(late(), "alice", 100, 1000), context.DeadlineExceeded, "she holds what she may")
	err := a.Take(alice, "alice", 100, 1000)
	require.ErrorIs(t, err, ErrShare, "a scope does not wait for its own answers")
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	cut := make(chan struct{})
	bob, endBob := WithScope(t.Context(), func() { close(cut) })
	require.NoError(t, a.Take(bob, "bob", 1, accountAnswers), "one too large takes all there is for one")
	require.ErrorIs(t, a.Take(late(), "carol", accountAnswers, 0), context.DeadlineExceeded, "there is no more for one of that size")

	// Bob needs less, so Alice's request makes room by ending Bob's connection, but not the other way round.
	waited := make(chan error, 1)
	carol, endCarol := WithScope(t.Context(), nil)
	go func() { waited <- a.Take(carol, "carol", 1<<20, 0) }()
	<-cut
	endBob.End()
	require.NoError(t, <-waited)
	endAlice.End()
	endAlice.End()
	endBob.End()
	endCarol.End()
	require.Zero(t, a.pool.Held())
	require.Empty(t, a.pool.holders)
	require.NoError(t, a.Take(alice, "alice", 1<<20, 0), "what comes after the end is given back")
	require.NoError(t, a.Take(t.Context(), "alice", 1<<20, 0), "and so is what nobody would give back")
	require.Zero(t, a.pool.Held())
	var none *Answers
	require.NoError(t, none.Take(t.Context(), "x", 1<<30, 0))
}

// The calls of a batch share a scope: each of them is in flight only until it has ended.
func TestSharedScope(t *testing.T) {
	l := NewCalls(CallOptions{AccountCalls: 1})
	ctx, scope := WithScope(t.Context(), nil)
	Share(ctx)
	for range 5 {
		leave, err := l.Enter("alice")
		require.Nil(t, err)
		HoldCall(ctx, leave)
	}
	require.Zero(t, l.InFlight())
	scope.End()

	ctx, scope = WithScope(t.Context(), nil)
	leave, err := l.Enter("alice")
	require.Nil(t, err)
	HoldCall(ctx, leave)
	require.EqualValues(t, 1, l.InFlight(), "until the answer has been written")
	scope.End()
	require.Zero(t, l.InFlight())
}
