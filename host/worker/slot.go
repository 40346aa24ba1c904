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

// slot is an account's place for a worker: it starts one when a call needs it and none
// is there, once for all calls that wait.
type slot struct {
	s       *Supervisor
	account protocol.Account
	helper  bool         // It is the plugin's helper.
	busy    atomic.Int64 // Calls in flight, for whoever looks without mu.
	used    atomic.Int64 // When the last call began or ended, in nanoseconds.
	running atomic.Bool  // It has a worker.
	held    atomic.Int64 // Its workers that run, or have ended and were not reaped.

	mu       sync.Mutex
	current  *worker           // Nil where none runs.
	starting chan struct{}     // Closed when the start that is under way is over.
	modules  []protocol.Module // The last description.
	err      error             // Of the last start.
	crashes  int               // In a row.
	retryAt  time.Time         // No start before then.
	calls    int               // In flight.
	idle     *time.Timer
	closed   bool
}

// described returns the last description of a worker that is there or was.
func (sl *slot) described() []protocol.Module {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	return sl.modules
}

// acquire returns a running worker; the caller must release it.
func (sl *slot) acquire(ctx context.Context) (*worker, error) {
	for {
		sl.mu.Lock()
		if sl.closed {
			sl.mu.Unlock()
			return nil, fmt.Errorf("%w: the host is shutting down", host.ErrNotRun)
		}
		if w := sl.current; w != nil && !w.dead() {
			sl.calls++
			sl.touch()
			if sl.idle != nil {
				sl.idle.Stop()
			}
			sl.mu.Unlock()
			return w, nil
		}
		sl.clearDead()
		wait := time.Until(sl.retryAt)
		if sl.starting == nil && wait > maxWait {
			err, crashes := sl.err, sl.crashes
			sl.mu.Unlock()
			return nil, errStarting(&host.Resting{Times: crashes, For: wait.Round(time.Millisecond), Err: err})
		}
		if sl.starting == nil {
			sl.starting = make(chan struct{})
			go sl.start(wait)
		}
		starting := sl.starting
		sl.mu.Unlock()
		select {
		case <-starting:
		case <-ctx.Done():
			return nil, errStarting(ctx.Err())
		}
		sl.mu.Lock()
		failed := sl.err
		running := sl.current != nil
		sl.mu.Unlock()
		if !running && failed != nil {
			return nil, errStarting(failed)
		}
	}
}

// release gives back what acquire gave.
func (sl *slot) release() {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	sl.calls--
	sl.touch()
	sl.armIdle()
}

// touch notes for others how busy the slot is. It needs mu.
func (sl *slot) touch() {
	sl.busy.Store(int64(sl.calls))
	sl.used.Store(time.Now().UnixNano())
}

// armIdle starts the idle time where no call is in flight. It needs mu.
func (sl *slot) armIdle() {
	if sl.calls > 0 || sl.s.o.Idle <= 0 || sl.closed {
		return
	}
	if sl.idle == nil {
		sl.idle = time.AfterFunc(sl.s.o.Idle, func() { sl.stopIdle() })
		return
	}
	sl.idle.Reset(sl.s.o.Idle)
}

// stopIdle ends a worker that nobody called for a while, and tells whether it did. That is no
// crash.
func (sl *slot) stopIdle() bool {
	sl.mu.Lock()
	w := sl.current
	if sl.calls > 0 || w == nil {
		sl.mu.Unlock()
		return false
	}
	sl.current = nil
	sl.s.o.Pool.leave(sl)
	sl.mu.Unlock()
	w.stop()
	return true
}

// start runs in its own goroutine, so that a caller who leaves does not end the start
// that others wait for.
func (sl *slot) start(wait time.Duration) {
	if wait > 0 {
		time.Sleep(wait)
	}
	err := sl.tooManyHeld()
	if err == nil {
		err = sl.s.o.Pool.enter(sl)
	}
	full := err != nil
	var w *worker
	if !full {
		w, err = sl.s.startWorker(sl)
	}
	sl.mu.Lock()
	defer sl.mu.Unlock()
	sl.err = err
	switch {
	case full:
		sl.s.log.Warn("no room for a worker", "account", sl.account.Name, "error", err.Error())
	case err != nil:
		sl.s.o.Pool.leave(sl)
		sl.crashed(err)
		sl.s.log.Error("worker did not start", "account", sl.account.Name, "error", err.Error(), "in_a_row", sl.crashes)
	default:
		sl.modules, sl.current = w.modules, w
		sl.running.Store(true)
		sl.touch() // Whoever waits for it comes in a moment.
		if sl.closed {
			sl.current = nil
			sl.s.o.Pool.leave(sl)
			go w.stop()
		}
		sl.held.Add(1)
		go sl.watch(w)
		if sl.s.o.Memory > 0 {
			go sl.weigh(w)
		}
		sl.armIdle() // Whoever asked for it may have left.
	}
	close(sl.starting)
	sl.starting = nil
}

// watch notes the end of a worker that nobody stopped.
func (sl *slot) watch(w *worker) {
	<-w.process.Exited()
	sl.mu.Lock()
	sl.clearDead()
	sl.mu.Unlock()
	if !w.ending.Load() {
		sl.s.restarts.Add(1)
		sl.s.log.Error("worker stopped by itself or was killed", "account", sl.account.Name,
			"pid", w.process.PID(), "status", w.process.Status())
		w.stop() // Ends go-plugin's side and removes the socket's directory.
	}
	<-w.process.Reaped()
	sl.held.Add(-1)
}

// maxHeld is how many ended workers of an account a tracer may hold. Each is a process that the
// kernel keeps for it.
const maxHeld = 3

func (sl *slot) tooManyHeld() error {
	if n := sl.held.Load(); n > maxHeld {
		return fmt.Errorf("%w: a program of the account holds %d of its ended workers", host.ErrNotRun, n)
	}
	return nil
}

// clearDead takes a dead worker out, as a crash. It needs mu.
func (sl *slot) clearDead() {
	w := sl.current
	if w == nil || !w.dead() {
		return
	}
	sl.current = nil
	sl.s.o.Pool.leave(sl)
	if time.Since(w.started) > healthyAfter {
		sl.crashes = 0
	}
	sl.crashed(fmt.Errorf("the last one ended: %s", w.process.Status()))
}

func (sl *slot) crashed(err error) {
	sl.crashes++
	sl.err = err
	sl.retryAt = time.Now().Add(backoff(sl.crashes))
}

// checkHealth kills a worker that let a deadline pass and does not answer a ping
// either, so that the next call starts a fresh one.
func (sl *slot) checkHealth(w *worker) {
	healthy := make(chan error, 1)
	go func() { healthy <- w.ping() }()
	select {
	case err := <-healthy:
		if err == nil {
			return
		}
	case <-time.After(protocol.WorkerKillTimeout):
	}
	if !w.dead() {
		w.hung.Store(true)
		sl.s.hangs.Add(1)
		sl.s.log.Error("worker hangs and is killed", "account", sl.account.Name, "pid", w.process.PID())
		_ = w.process.Process.Kill()
	}
}

// close ends the slot's worker for good.
func (sl *slot) close() {
	sl.mu.Lock()
	sl.closed = true
	w, starting := sl.current, sl.starting
	sl.current = nil
	sl.s.o.Pool.leave(sl)
	if sl.idle != nil {
		sl.idle.Stop()
	}
	sl.mu.Unlock()
	if w != nil {
		w.stop()
	}
	if starting != nil {
		<-starting // start stops what it started.
	}
}

// weighEvery is how often a worker's memory is looked at. A control group stops it at the
// bound; where there is none, this does a moment later.
const weighEvery = 250 * time.Millisecond

// weigh ends a worker that takes more memory than it may.
func (sl *slot) weigh(w *worker) {
	tick := time.NewTicker(weighEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.process.Exited():
			return
		case <-tick.C:
		}
		held, err := isolate.ResidentBytes(w.process.PID())
		if err != nil || held <= sl.s.o.Memory {
			continue
		}
		sl.s.overweight.Add(1)
		sl.s.log.Error("worker takes more memory than it may and is killed", "account", sl.account.Name,
			"pid", w.process.PID(), "bytes", held, "most", sl.s.o.Memory)
		_ = w.process.Process.Kill()
		return
	}
}

// status returns what there is to know; ok is false where there is nothing.
func (sl *slot) status() (st WorkerStatus, ok bool) {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	st = WorkerStatus{Account: sl.account.Name, Calls: sl.calls, Crashes: sl.crashes}
	if sl.helper {
		st.Account = ""
	}
	if sl.crashes > 0 {
		st.RetryAt = sl.retryAt
	}
	if w := sl.current; w != nil && !w.dead() {
		st.PID, st.Started = w.process.PID(), w.started
		st.Memory, _ = isolate.ResidentBytes(st.PID)
	}
	return st, st.PID > 0 || st.Crashes > 0
}
