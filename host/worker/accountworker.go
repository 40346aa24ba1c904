package worker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/protocol"
)

// accountWorker holds the worker of an account. It starts a worker when a call needs it and none is running;
// calls that come meanwhile wait for the same start.
type accountWorker struct {
	s       *Supervisor
	account protocol.Account
	helper  bool         // It is the plugin's helper.
	busy    atomic.Int64 // Calls in flight, for readers without mu.
	used    atomic.Int64 // When the last call began or ended, in nanoseconds.
	running atomic.Bool  // It has a worker.
	held    atomic.Int64 // The number of its workers that run, or have ended and are not reaped.

	mu       sync.Mutex
	current  *worker           // Nil if no worker runs.
	starting chan struct{}     // Closed when the current start has ended.
	modules  []protocol.Module // The last description.
	err      error             // Of the last start.
	crashes  int               // In a row.
	retryAt  time.Time         // No start before this time.
	calls    int               // In flight.
	idle     *time.Timer
	closed   bool
}

// described returns the last description, even if the worker has ended.
func (aw *accountWorker) described() []protocol.Module {
	aw.mu.Lock()
	defer aw.mu.Unlock()
	return aw.modules
}

// hasParts reports whether any function of the plugin runs in parts.
func (aw *accountWorker) hasParts() bool {
	for _, m := range aw.described() {
		for _, fn := range m.Functions {
			if fn.Before || fn.After || fn.Shared {
				return true
			}
		}
	}
	return false
}

// acquire returns a running worker. The caller must call release.
func (aw *accountWorker) acquire(ctx context.Context) (*worker, error) {
	for {
		aw.mu.Lock()
		if aw.closed {
			aw.mu.Unlock()
			return nil, fmt.Errorf("%w: the host is shutting down", host.ErrNotRun)
		}
		if w := aw.current; w != nil && !w.dead() {
			aw.calls++
			aw.touch()
			if aw.idle != nil {
				aw.idle.Stop()
			}
			aw.mu.Unlock()
			return w, nil
		}
		aw.clearDead()
		wait := time.Until(aw.retryAt)
		if aw.starting == nil && wait > maxWait {
			err, crashes := aw.err, aw.crashes
			aw.mu.Unlock()
			return nil, errStarting(&host.BackoffError{Times: crashes, For: wait.Round(time.Millisecond), Err: err})
		}
		if aw.starting == nil {
			aw.starting = make(chan struct{})
			go aw.start(wait)
		}
		starting := aw.starting
		aw.mu.Unlock()
		select {
		case <-starting:
		case <-ctx.Done():
			return nil, errStarting(ctx.Err())
		}
		aw.mu.Lock()
		failed := aw.err
		running := aw.current != nil
		aw.mu.Unlock()
		if !running && failed != nil {
			return nil, errStarting(failed)
		}
	}
}

// release ends the use of a worker.
func (aw *accountWorker) release() {
	aw.mu.Lock()
	defer aw.mu.Unlock()
	aw.calls--
	aw.touch()
	aw.armIdle()
}

// touch publishes the load for the pool. The caller holds mu.
func (aw *accountWorker) touch() {
	aw.busy.Store(int64(aw.calls))
	aw.used.Store(time.Now().UnixNano())
}

// armIdle starts the idle timer if no call is in flight. The caller holds mu.
func (aw *accountWorker) armIdle() {
	if aw.calls > 0 || aw.s.o.Idle <= 0 || aw.closed {
		return
	}
	if aw.idle == nil {
		aw.idle = time.AfterFunc(aw.s.o.Idle, func() { aw.stopIdle() })
		return
	}
	aw.idle.Reset(aw.s.o.Idle)
}

// stopIdle stops a worker without calls and reports whether it did. This does not count as a crash.
func (aw *accountWorker) stopIdle() bool {
	aw.mu.Lock()
	w := aw.current
	if aw.calls > 0 || w == nil {
		aw.mu.Unlock()
		return false
	}
	aw.current = nil
	aw.s.o.Pool.leave(aw)
	aw.mu.Unlock()
	w.stop()
	return true
}

// start runs in its own goroutine, so that a caller that gives up does not end the start for the others.
func (aw *accountWorker) start(wait time.Duration) {
	if wait > 0 {
		time.Sleep(wait)
	}
	err := aw.tooManyHeld()
	if err == nil {
		err = aw.s.o.Pool.enter(aw)
	}
	full := err != nil
	var w *worker
	if !full {
		w, err = aw.s.startWorker(aw)
	}
	aw.mu.Lock()
	defer aw.mu.Unlock()
	aw.err = err
	switch {
	case full:
		aw.s.log.Warn("can't start a worker: all places are in use", "account", aw.account.Name, "error", err.Error())
	case err != nil:
		aw.s.o.Pool.leave(aw)
		aw.crashed(err)
		aw.s.log.Error("worker did not start", "account", aw.account.Name, "error", err.Error(), "in_a_row", aw.crashes)
	default:
		aw.modules, aw.current = w.modules, w
		aw.running.Store(true)
		aw.touch() // The callers that wait for it will use it in a moment.
		if aw.closed {
			aw.current = nil
			aw.s.o.Pool.leave(aw)
			go w.stop()
		}
		aw.held.Add(1)
		go aw.watch(w)
		if aw.s.o.Memory > 0 {
			go aw.weigh(w)
		}
		aw.armIdle() // The callers may have given up.
	}
	close(aw.starting)
	aw.starting = nil
}

// close stops the worker, and allows no new worker.
func (aw *accountWorker) close() {
	aw.mu.Lock()
	aw.closed = true
	w, starting := aw.current, aw.starting
	aw.current = nil
	aw.s.o.Pool.leave(aw)
	if aw.idle != nil {
		aw.idle.Stop()
	}
	aw.mu.Unlock()
	if w != nil {
		w.stop()
	}
	if starting != nil {
		<-starting // start stops the worker that it started.
	}
}

// weighEvery is the interval of checks of a worker's memory. A control group enforces the limit at once;
// without a control group, this check enforces it a moment later.
const weighEvery = 250 * time.Millisecond

// weigh kills a worker that uses more memory than allowed.
func (aw *accountWorker) weigh(w *worker) {
	tick := time.NewTicker(weighEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.process.Exited():
			return
		case <-tick.C:
		}
		held, err := isolate.ResidentBytes(w.process.PID())
		if err != nil || held <= aw.s.o.Memory {
			continue
		}
		aw.s.memoryKills.Add(1)
		aw.s.log.Error("killed a worker that used too much memory", "account", aw.account.Name,
			"pid", w.process.PID(), "bytes", held, "most", aw.s.o.Memory)
		_ = w.process.Process.Kill()
		return
	}
}

// status returns the worker's status. ok is false if there is nothing to report.
func (aw *accountWorker) status() (st WorkerStatus, ok bool) {
	aw.mu.Lock()
	defer aw.mu.Unlock()
	st = WorkerStatus{Account: aw.account.Name, Calls: aw.calls, Crashes: aw.crashes}
	if aw.helper {
		st.Account = ""
	}
	if aw.crashes > 0 {
		st.RetryAt = aw.retryAt
	}
	if w := aw.current; w != nil && !w.dead() {
		st.PID, st.Started = w.process.PID(), w.started
		st.Memory, _ = isolate.ResidentBytes(st.PID)
	}
	return st, st.PID > 0 || st.Crashes > 0
}
