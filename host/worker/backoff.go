package worker

import (
	"math/rand/v2"
	"time"
)

const (
	backoffFirst = 100 * time.Millisecond
	backoffMost  = 30 * time.Second
	// maxWait is how long a call waits for a start; with longer to go it is told so.
	maxWait = time.Second
	// healthyAfter is how long a worker must have run for its crash to count as the first.
	healthyAfter = time.Minute
)

// backoff returns how long to wait before the start that follows the given number of
// crashes in a row: doubling, and up to a quarter less, so that workers that died
// together do not start together.
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
