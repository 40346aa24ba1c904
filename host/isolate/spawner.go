package isolate

import (
	"errors"
	"os/exec"
	"runtime"
	"sync"
)

// Spawner starts processes from a single OS thread. The kernel sends a child's parent-death signal when the
// thread that forked it ends, and Go may end threads at any time; this thread ends with Close.
type Spawner struct {
	jobs  chan func()
	ended chan struct{}
	once  sync.Once
}

// NewSpawner starts the thread.
func NewSpawner() *Spawner {
	s := &Spawner{jobs: make(chan func()), ended: make(chan struct{})}
	go func() {
		runtime.LockOSThread() // Never unlocked: the thread ends with this goroutine.
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

// Start starts cmd. After Close it returns an error.
func (s *Spawner) Start(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	select {
	case s.jobs <- func() { done <- cmd.Start() }:
		return <-done
	case <-s.ended:
		return errors.New("the host is shutting down")
	}
}

// Close ends the thread, and with it all processes that it started and that still run.
func (s *Spawner) Close() { s.once.Do(func() { close(s.ended) }) }
