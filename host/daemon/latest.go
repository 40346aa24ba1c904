package daemon

import "sync"

// latest runs a function for callers that need a run which began after they asked for it. If a run is under
// way, all callers that arrive in the meantime share the next run. The zero value is ready to use.
type latest struct {
	mu      sync.Mutex
	next    chan struct{} // Closed when the next run has ended; nil if no caller waits.
	running sync.Mutex    // Held during a run.
}

func (l *latest) do(run func()) {
	l.mu.Lock()
	if wait := l.next; wait != nil {
		l.mu.Unlock()
		<-wait
		return
	}
	done := make(chan struct{})
	l.next = done
	l.mu.Unlock()
	defer close(done)

	l.running.Lock()
	defer l.running.Unlock()
	l.mu.Lock()
	l.next = nil // Callers from now on need another run.
	l.mu.Unlock()
	run()
}
