package worker

import (
	"math/rand/v2"
	"time"
)

const (
	backoffFirst = 100 * time.Millisecond
	backoffMost  = 30 * time.Second
	// maxWait is the longest time that a call waits for a start. If the start is further away, the call fails
	// at once.
	maxWait = time.Second
	// healthyAfter is how long a worker must have run so that its crash counts as the first in a row.
	healthyAfter = time.Minute
)

// backoff returns the wait before the next start, after the given number of crashes in a row. It doubles with
// each crash and varies by up to a quarter, so that workers that died together do not start together.
func backoff(crashes int) time.Duration {
	if crashes <= 0 {
		return 0
	}
	d := backoffMost
	if crashes < 10 {
		d = min(backoffMost, backoffFirst<<(crashes-1))
	}
	return d - time.Duration(rand.Int64N(int64(d)/4))
}
