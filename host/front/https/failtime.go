package https

import (
	"sync"
	"time"
)

// When a failure to prove who one is is answered must not tell why it failed: whether the name exists, by
// which kind of hash its password is kept, or that nothing was verified since it was tried too often. So
// failures are answered at multiples of one step, which is longer than verifying takes.
const (
	minStep = 300 * time.Millisecond
	maxStep = 5 * time.Second // What takes longer is a fault, and no measure.
	// margin is how much longer a step is than what was measured, as one part in so many.
	margin = 4
)

// stepFor returns the step for verifying that takes so long, in tenths of a second.
func stepFor(longest time.Duration) time.Duration {
	longest += longest / margin
	return min(max(minStep, longest.Truncate(100*time.Millisecond)+100*time.Millisecond), maxStep)
}

// untilNext returns how long it is until the next multiple of step, after some time has passed.
func untilNext(passed, step time.Duration) time.Duration { return step - passed%step }

// failureClock measures how long verifying takes. The longest time of a while counts.
type failureClock struct {
	mu            sync.Mutex
	before, while time.Duration // The longest of the last while, and of this one.
	since         time.Time
}

// whileTime is how long a measured time counts at least.
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
