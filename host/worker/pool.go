package worker

import (
	"fmt"
	"sync"

	"github.com/liveapid/liveapid/host"
)

// Pool bounds the workers of all plugins together. Where there are as many as there may be, the
// one that was used longest ago makes room, if it has no call.
type Pool struct {
	most int

	mu    sync.Mutex
	slots map[*slot]struct{} // With a worker, or starting one.
}

// NewPool returns a pool of at most so many workers; 0 sets no bound.
func NewPool(most int) *Pool { return &Pool{most: most, slots: make(map[*slot]struct{})} }

// Workers returns how many there are.
func (p *Pool) Workers() int {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.slots)
}

// enter counts a slot in that is about to start a worker.
func (p *Pool) enter(sl *slot) error {
	if p == nil {
		return nil
	}
	for {
		p.mu.Lock()
		if _, ok := p.slots[sl]; ok || p.most <= 0 || len(p.slots) < p.most {
			p.slots[sl] = struct{}{}
			p.mu.Unlock()
			return nil
		}
		var oldest *slot
		for other := range p.slots {
			// Helpers stay: there is one for each plugin, and every account needs it.
			if !other.helper && other.busy.Load() == 0 && (oldest == nil || other.used.Load() < oldest.used.Load()) {
				oldest = other
			}
		}
		p.mu.Unlock()
		if oldest == nil {
			return fmt.Errorf("%w: all %d workers that there may be have calls", host.ErrNotRun, p.most)
		}
		oldest.stopIdle()
	}
}

// leave counts a slot out whose worker is gone.
func (p *Pool) leave(sl *slot) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.slots, sl)
}
