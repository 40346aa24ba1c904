package worker

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/protocol"
)

const (
	backoffFirst = 100 * time.Millisecond
	backoffMost  = 30 * time.Second
	// maxWait is the longest time that a call waits for a start. If the start is further away, the call fails
	// at once.
	maxWait = time.Second
	// healthyAfter is how long a worker must have run so that its crash counts as the first in a row.
	healthyAfter = time.Minute
)

// backoff returns the wait before the next start, after the given number of crashes in a row. It doubles with
// each crash and varies by up to a quarter, so that workers that died together do not start together.
func backoff(crashes int) time.Duration {
	if crashes <= 0 {
		return 0
	}
	d := backoffMost
	if crashes < 10 {
		d = min(backoffMost, backoffFirst<<(crashes-1))
	}
	return d - time.Duration(rand.Int64N(int64(d)/4))
}

// watch waits for the end of a worker that nobody stopped.
func (aw *accountWorker) watch(w *worker) {
	<-w.process.Exited()
	aw.mu.Lock()
	aw.clearDead()
	aw.mu.Unlock()
	if !w.ending.Load() {
		aw.s.restarts.Add(1)
		aw.s.log.Error("worker stopped by itself or was killed", "account", aw.account.Name,
			"pid", w.process.PID(), "status", w.process.Status())
		w.stop() // It also ends go-plugin's side and removes the socket's directory.
	}
	<-w.process.Reaped()
	aw.held.Add(-1)
}

// maxHeld is the number of ended workers of an account that a tracer may keep from being reaped. Each of them
// occupies a process id.
const maxHeld = 3

func (aw *accountWorker) tooManyHeld() error {
	if n := aw.held.Load(); n > maxHeld {
		return fmt.Errorf("%w: a program of the account keeps %d ended workers from being reaped", host.ErrNotRun, n)
	}
	return nil
}

// clearDead removes a dead worker and counts a crash. The caller holds mu.
func (aw *accountWorker) clearDead() {
	w := aw.current
	if w == nil || !w.dead() {
		return
	}
	aw.current = nil
	aw.s.o.Pool.leave(aw)
	if time.Since(w.started) > healthyAfter {
		aw.crashes = 0
	}
	aw.crashed(fmt.Errorf("the last worker ended: %s", w.process.Status()))
}

func (aw *accountWorker) crashed(err error) {
	aw.crashes++
	aw.err = err
	aw.retryAt = time.Now().Add(backoff(aw.crashes))
}

// checkHealth kills a worker that missed a deadline and does not answer a ping, so that the next call starts
// a new worker.
func (aw *accountWorker) checkHealth(w *worker) {
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
		aw.s.hangs.Add(1)
		aw.s.log.Error("killed a worker that did not respond", "account", aw.account.Name, "pid", w.process.PID())
		_ = w.process.Process.Kill()
	}
}
