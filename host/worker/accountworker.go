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

// accountWorker manages the worker of an account, or the plugin's helper. It starts a worker when a call
// needs one and none is running. Calls that arrive during the start wait for the same worker. All methods are
// safe for concurrent use.
type accountWorker struct {
	s       *Supervisor
	account protocol.Account
	helper  bool         // Whether this is the plugin's helper.
	busy    atomic.Int64 // Copy of calls that can be read without mu.
	used    atomic.Int64 // Time of the last begin or end of a call, in Unix nanoseconds.
	running atomic.Bool  // Whether a worker runs; readable without mu.
	held    atomic.Int64 // Number of workers that run, or have ended but are not reaped.

	mu       sync.Mutex
	current  *worker           // Nil if no worker is running.
	starting chan struct{}     // Closed when the current start has ended; nil if there is none.
	modules  []protocol.Module // The modules that the last worker described.
	err      error             // The error of the last start or crash.
	crashes  int               // Number of crashes in a row.
	retryAt  time.Time         // Earliest time of the next start.
	calls    int               // Number of calls in flight.
	idle     *time.Timer
	closed   bool
}

// described returns the modules that the last worker described, even if that worker has ended. It returns nil
// if no worker was started yet.
func (aw *accountWorker) described() []protocol.Module {
	aw.mu.Lock()
	defer aw.mu.Unlock()
	return aw.modules
}

// hasParts reports whether the plugin has a function that runs in the helper, at least in part.
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

// acquire returns a running worker, and starts one if necessary. If err is nil, the caller must call release
// after its call. If acquire would have to wait longer than maxWait before a start is allowed, it fails at
// once.
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

// release ends the use of a worker that acquire returned.
func (aw *accountWorker) release() {
	aw.mu.Lock()
	defer aw.mu.Unlock()
	aw.calls--
	aw.touch()
	aw.armIdle()
}

// touch copies the number of calls and the current time to busy and used, which the Pool reads without mu.
// The caller holds mu.
func (aw *accountWorker) touch() {
	aw.busy.Store(int64(aw.calls))
	aw.used.Store(time.Now().UnixNano())
}

// armIdle starts the timer that stops an idle worker, if no call is in flight. The caller holds mu.
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

// stopIdle stops the worker if no call is in flight, and reports whether it stopped the worker. The stop does
// not count as a crash.
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

// start waits for the given time and then starts a worker. It runs in its own goroutine: if one of the
// waiting callers gives up, the start continues for the others.
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
		aw.s.log.Warn("can't start a worker: the limit of workers is reached", "account", aw.account.Name, "error", err.Error())
	case err != nil:
		aw.s.o.Pool.leave(aw)
		aw.crashed(err)
		aw.s.log.Error("worker did not start", "account", aw.account.Name, "error", err.Error(), "in_a_row", aw.crashes)
	default:
		aw.modules, aw.current = w.modules, w
		aw.running.Store(true)
		aw.touch() // Counts as use, so that the Pool does not stop it at once.
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
		aw.armIdle() // All waiting callers may have given up.
	}
	close(aw.starting)
	aw.starting = nil
}

// close stops the worker and prevents further starts. If a start is in progress, close waits until it has
// ended.
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
		<-starting // If a start is in progress, it stops its worker when it ends.
	}
}

// weighEvery is the interval at which the memory of a worker is checked. A control group enforces the limit
// immediately; without a control group, only this check enforces it, with a short delay.
const weighEvery = 250 * time.Millisecond

// weigh kills the worker if it uses more memory than Options.Memory. It returns when the worker has ended.
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

// status returns the status of the worker. ok is false if no worker is running and the last one did not
// crash.
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
