package worker

import (
	"os/exec"
	"runtime"
	"sync"
)

// Spawner starts processes from one OS thread. The kernel sends a child's
// parent-death signal when the thread that forked it ends, and Go ends threads as it
// likes; this one ends with Close.
type Spawner struct {
	jobs chan func()
	once sync.Once
}

// NewSpawner starts the thread.
func NewSpawner() *Spawner {
	s := &Spawner{jobs: make(chan func())}
	go func() {
		runtime.LockOSThread() // Never unlocked: the thread ends with this goroutine.
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

// Start starts cmd. It must not be called after Close.
func (s *Spawner) Start(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	s.jobs <- func() { done <- cmd.Start() }
	return <-done
}

// Close ends the thread, and with it whatever it started and still runs.
func (s *Spawner) Close() { s.once.Do(func() { close(s.jobs) }) }
