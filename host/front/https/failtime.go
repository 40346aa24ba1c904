package https

import (
	"sync"
	"time"
)

// The time that the answer to a failed attempt takes must not reveal why the attempt failed: because the name
// does not exist, because of the kind of the password's hash, or because the name or client was throttled. So
// failures are answered only at multiples of a step, and the step is longer than any verification.
const (
	minStep = 300 * time.Millisecond
	maxStep = 5 * time.Second // Longer verifications are faults; each counts as maxStep.
	// A step is longer than the longest measured time by 1/margin of that time.
	margin = 4
)

// stepFor returns the step for the given longest verification time: with the margin added, rounded up to
// tenths of a second, and between minStep and maxStep.
func stepFor(longest time.Duration) time.Duration {
	longest += longest / margin
	return min(max(minStep, longest.Truncate(100*time.Millisecond)+100*time.Millisecond), maxStep)
}

// untilNext returns how long it takes until the next multiple of step, if passed is the time since the start.
func untilNext(passed, step time.Duration) time.Duration { return step - passed%step }

// failureClock measures how long verifications take. The step depends on the longest verification in the
// current and the last period. Its methods may be called concurrently.
type failureClock struct {
	mu            sync.Mutex
	before, while time.Duration // Longest times in the last and in the current period.
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
