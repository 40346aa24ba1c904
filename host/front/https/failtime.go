package https

import (
	"sync"
	"time"
)

// The time until a failed attempt is answered must not reveal why the attempt failed: because the name does
// not exist, because of the kind of the password's hash, or because the name or client was throttled. So a
// failure is answered only when the time since the attempt began is a multiple of a step, and the step is
// longer than any verification.
const (
	minStep = 300 * time.Millisecond
	maxStep = 5 * time.Second // Longer verifications are faults; each counts as maxStep.
	// A step is longer than the longest measured verification by at least 1/margin of the verification's
	// time.
	margin = 4
)

// stepFor returns the step for the given time of the longest verification. It adds the margin and rounds up
// to a tenth of a second. The result is at least minStep and at most maxStep.
func stepFor(longest time.Duration) time.Duration {
	longest += longest / margin
	return min(max(minStep, longest.Truncate(100*time.Millisecond)+100*time.Millisecond), maxStep)
}

// untilNext returns how long it takes until the next multiple of step, if passed is the time since the start.
func untilNext(passed, step time.Duration) time.Duration { return step - passed%step }

// failureClock measures how long verifications take, and calculates the step for answers to failures. The
// step depends on the longest verification in the current and the previous period; see whileTime. Its methods
// may be called concurrently.
type failureClock struct {
	mu            sync.Mutex
	before, while time.Duration // Longest times in the previous and the current period.
	since         time.Time
}

// whileTime is the length of a period.
const whileTime = time.Hour

func (c *failureClock) observe(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.since) > whileTime {
		c.before, c.while, c.since = c.while, 0, time.Now()
	}
	c.while = max(c.while, min(took, maxStep))
}

func (c *failureClock) step() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return stepFor(max(c.before, c.while))
}
