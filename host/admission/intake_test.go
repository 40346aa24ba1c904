package admission

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// T50: a client that connects too often is rejected, and no other client.
func TestT50_Connect(t *testing.T) {
	in := NewIntake(IntakeOptions{})
	now := time.Unix(1_700_000_000, 0)
	in.now = func() time.Time { return now }
	for range burstRequests {
		in.Connect(1001)
	}
	var refused bool
	for range 10 * burstRequests {
		refused = refused || !in.Connect(1001)
	}
	require.True(t, refused)
	require.True(t, in.Connect(1002))
	require.True(t, NewIntake(IntakeOptions{Requests: -1}).Connect(1001))
}

// T50: the time that reading an account's requests takes counts for that account: its next request waits,
// others do not.
func TestT50_Measure(t *testing.T) {
	in := NewIntake(IntakeOptions{})
	now := time.Now()
	in.now = func() time.Time { return now }
	stop := in.Measure("a")
	for begin := threadTime(); threadTime()-begin < 20*time.Millisecond; {
	}
	stop()
	require.LessOrEqual(t, in.of("a").time.TokensAt(now), float64(burstTime-20_000))
	require.InDelta(t, burstTime, in.of("b").time.TokensAt(now), 1)

	in.of("a").time.ReserveN(now, burstTime)
	in.of("a").time.ReserveN(now, burstTime)
	late, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := in.Admit(late, "a", 100, nil)
	require.Error(t, err)
	_, err = in.Admit(t.Context(), "b", 100, nil)
	require.NoError(t, err)
}
