package isolate

import (
	"errors"
	"os/exec"
	"runtime"
	"sync"
)

// Spawner starts processes from a single OS thread. The kernel sends the parent-death signal to a child when
// the thread that forked the child ends, and the Go runtime may end threads at any time. The thread of a
// Spawner ends only with Close. A Spawner is safe for concurrent use.
type Spawner struct {
	jobs  chan func()
	ended chan struct{}
	once  sync.Once
}

// NewSpawner returns a Spawner and starts its thread.
func NewSpawner() *Spawner {
	s := &Spawner{jobs: make(chan func()), ended: make(chan struct{})}
	go func() {
		runtime.LockOSThread() // Never unlocked, so the thread ends with this goroutine.
		for {
			select {
			case job := <-s.jobs:
				job()
			case <-s.ended:
				return
			}
		}
	}()
	return s
}

// Start starts cmd from the thread of the Spawner. After Close it returns an error.
func (s *Spawner) Start(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	select {
	case s.jobs <- func() { done <- cmd.Start() }:
		return <-done
	case <-s.ended:
		return errors.New("the host is shutting down")
	}
}

// Close ends the thread. The kernel then kills all processes that the thread started with a parent-death
// signal of SIGKILL.
func (s *Spawner) Close() { s.once.Do(func() { close(s.ended) }) }
