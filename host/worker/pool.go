package worker

import (
	"fmt"
	"sync"
	"time"

	"github.com/liveapid/liveapid/host"
)

const (
	// evictIdle is how long a worker must be without calls before another account's worker may replace it, so
	// that the callers that wait for a new worker can reach it.
	evictIdle = 200 * time.Millisecond
	// poolWait is how long a start waits for a free place, and poolLook is the interval of its checks.
	poolWait = 2 * time.Second
	poolLook = 50 * time.Millisecond
)

// Pool limits the workers of all accounts together. If the limit is reached, the worker without calls that
// was used longest ago is stopped. Helpers do not count: each plugin has a single one, and every account
// needs it.
type Pool struct {
	most int

	mu      sync.Mutex
	workers map[*accountWorker]struct{} // Those with a worker, and those that start one.
}

// NewPool returns a pool with the given limit; 0 means no limit.
func NewPool(most int) *Pool { return &Pool{most: most, workers: make(map[*accountWorker]struct{})} }

// Workers returns the number of workers.
func (p *Pool) Workers() int {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.workers)
}

// enter takes a place for a new worker. It waits until there is one.
func (p *Pool) enter(aw *accountWorker) error {
	if p == nil || aw.helper {
		return nil
	}
	for end := time.Now().Add(poolWait); ; {
		oldest, ok := p.take(aw)
		if ok {
			return nil
		}
		if oldest != nil && oldest.stopIdle() {
			continue
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w: all %d workers (limits.workers) are in use", host.ErrNotRun, p.most)
		}
		time.Sleep(poolLook)
	}
}

// take takes a place if there is one. Otherwise it returns the worker to stop.
func (p *Pool) take(aw *accountWorker) (oldest *accountWorker, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, there := p.workers[aw]; there || p.most <= 0 || len(p.workers) < p.most {
		p.workers[aw] = struct{}{}
		return nil, true
	}
	idle := time.Now().Add(-evictIdle).UnixNano()
	for other := range p.workers {
		if !other.running.Load() || other.busy.Load() > 0 || other.used.Load() > idle {
			continue
		}
		if oldest == nil || other.used.Load() < oldest.used.Load() {
			oldest = other
		}
	}
	return oldest, false
}

// leave gives back the place of a worker that has ended.
func (p *Pool) leave(aw *accountWorker) {
	aw.running.Store(false)
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.workers, aw)
}
