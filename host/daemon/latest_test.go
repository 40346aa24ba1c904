package daemon

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every caller gets a run that began after its call, and callers share runs.
func TestLatest(t *testing.T) {
	var l latest
	var runs, asked atomic.Int64
	began, release := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { l.do(func() { close(began); <-release; runs.Add(1) }) })
	<-began
	const callers = 20
	for range callers {
		all.Go(func() {
			before := asked.Add(1)
			seen := int64(0)
			l.do(func() { seen = asked.Load(); runs.Add(1) })
			if seen > 0 { // The caller whose function ran.
				require.GreaterOrEqual(t, seen, before)
			}
		})
	}
	for asked.Load() < callers {
		// All callers have asked before the first run ends, or are about to.
	}
	close(release)
	all.Wait()
	require.GreaterOrEqual(t, runs.Load(), int64(2))
	require.LessOrEqual(t, runs.Load(), int64(callers+1))
}
