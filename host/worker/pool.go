package worker

import (
	"fmt"
	"sync"
	"time"

	"github.com/liveapid/liveapid/host"
)

const (
	// evictIdle is how long a worker must have had no call before another account's may take its
	// place: whoever waits for one that has just started must get to it.
	evictIdle = 200 * time.Millisecond
	// poolWait is how long a start waits for a place, and poolLook how often it looks.
	poolWait = 2 * time.Second
	poolLook = 50 * time.Millisecond
)

// Pool bounds the workers of all accounts together. Where there are as many as there may be, the
// one that was used longest ago makes room, if it has no call. Helpers are not counted: there is
// one for each plugin, and every account needs it.
type Pool struct {
	most int

	mu      sync.Mutex
	workers map[*accountWorker]struct{} // With a worker, or starting one.
}

// NewPool returns a pool of at most so many workers; 0 sets no bound.
func NewPool(most int) *Pool { return &Pool{most: most, workers: make(map[*accountWorker]struct{})} }

// Workers returns how many there are.
func (p *Pool) Workers() int {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.workers)
}

// enter counts an accountWorker in that is about to start a worker, when there is room for it.
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
			return fmt.Errorf("%w: all %d workers that there may be are in use", host.ErrNotRun, p.most)
		}
		time.Sleep(poolLook)
	}
}

// take counts aw in where there is room, and else returns who could make some.
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

// leave counts an accountWorker out whose worker is gone.
func (p *Pool) leave(aw *accountWorker) {
	aw.running.Store(false)
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.workers, aw)
}
