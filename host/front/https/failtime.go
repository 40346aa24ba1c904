package https

import (
	"sync"
	"time"
)

// The time of a failure's answer must not tell why the attempt failed: whether the name exists, which kind of
// hash its password has, or that too many attempts were made to verify another. So failures are answered at
// multiples of a step that is longer than any verification.
const (
	minStep = 300 * time.Millisecond
	maxStep = 5 * time.Second // A longer time is a fault, and is not measured.
	// A step is longer than the measured time by this fraction (1/margin).
	margin = 4
)

// stepFor returns the step for a verification time, rounded up to tenths of a second.
func stepFor(longest time.Duration) time.Duration {
	longest += longest / margin
	return min(max(minStep, longest.Truncate(100*time.Millisecond)+100*time.Millisecond), maxStep)
}

// untilNext returns how long it takes to the next multiple of step, after the time passed.
func untilNext(passed, step time.Duration) time.Duration { return step - passed%step }

// failureClock measures the time of verifications. The longest time of the last period counts.
type failureClock struct {
	mu            sync.Mutex
	before, while time.Duration // The longest times of the last period and of this period.
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
