package worker

import (
	"fmt"
	"sync"
	"time"

	"github.com/liveapid/liveapid/host"
)

const (
	// evictIdle is how long a worker must have been idle before the pool may stop it to make room for another
	// account's worker. The start of a worker counts as use, so that the callers that wait for a new worker
	// can use it before it is replaced.
	evictIdle = 200 * time.Millisecond
	// poolWait is the maximum time that the start of a worker waits for a free place in the pool. poolLook is
	// the interval between two checks for a free place.
	poolWait = 2 * time.Second
	poolLook = 50 * time.Millisecond
)

// Pool limits the number of workers, over all accounts and plugins. If the limit is reached, a new worker
// replaces the worker that has been idle for the longest time. Helpers do not count, because each plugin has
// only one helper and every account needs it. A nil *Pool has no limit.
type Pool struct {
	most int

	mu      sync.Mutex
	workers map[*accountWorker]struct{} // Entries with a running or starting worker.
}

// NewPool returns a pool for at most the given number of workers; 0 means no limit.
func NewPool(most int) *Pool { return &Pool{most: most, workers: make(map[*accountWorker]struct{})} }

// Workers returns the number of running and starting workers, without helpers.
func (p *Pool) Workers() int {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.workers)
}

// enter reserves a place for a new worker of aw, if necessary by stopping an idle worker. It waits for at
// most poolWait, and then returns an error that wraps host.ErrNotRun.
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

// take reserves a place for aw if one is free. Otherwise ok is false, and oldest is the accountWorker with
// the longest idle worker, which may be stopped to free a place, or nil if no worker has been idle for
// evictIdle.
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

// leave frees the place of aw in the pool when its worker has ended or is about to be stopped.
func (p *Pool) leave(aw *accountWorker) {
	aw.running.Store(false)
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.workers, aw)
}
