package https

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// T35: failures are answered at multiples of a step that is longer than any verification.
func TestT35_Step(t *testing.T) {
	require.Equal(t, minStep, stepFor(0))
	require.Equal(t, minStep, stepFor(200*time.Millisecond))
	require.Equal(t, 2300*time.Millisecond, stepFor(1800*time.Millisecond))
	require.Equal(t, maxStep, stepFor(time.Hour))
	for _, passed := range []time.Duration{0, time.Millisecond, 299 * time.Millisecond, 300 * time.Millisecond, 900*time.Millisecond + 1} {
		answered := passed + untilNext(passed, minStep)
		require.Zero(t, answered%minStep)
		require.Greater(t, answered, passed)
		require.LessOrEqual(t, answered-passed, minStep)
	}
	var c failureClock
	require.Equal(t, minStep, c.step())
	c.observe(1800 * time.Millisecond)
	c.observe(time.Millisecond)
	require.Equal(t, 2300*time.Millisecond, c.step())
	c.since = time.Now().Add(-2 * whileTime)
	c.observe(time.Millisecond)
	require.Equal(t, 2300*time.Millisecond, c.step(), "the last while counts")
	c.since = time.Now().Add(-2 * whileTime)
	c.observe(time.Millisecond)
	require.Equal(t, minStep, c.step())
}
