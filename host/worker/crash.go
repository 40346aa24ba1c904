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
	// maxWait is the maximum time that a call waits for the next permitted start. If the next start is
	// permitted only later, the call fails at once.
	maxWait = time.Second
	// healthyAfter is the running time after which earlier crashes are forgotten: if the worker then crashes,
	// the crash counts as the first in a row.
	healthyAfter = time.Minute
)

// backoff returns the time to wait before the next start, for the given number of crashes in a row. The time
// doubles with each crash. It is shortened by a random part of up to a quarter, so that workers that died at
// the same time do not all start at the same time.
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

// watch waits until the worker has ended. If the host did not stop the worker, watch logs the end and cleans
// up. Then it waits until the process is reaped.
func (aw *accountWorker) watch(w *worker) {
	<-w.process.Exited()
	aw.mu.Lock()
	aw.clearDead()
	aw.mu.Unlock()
	if !w.ending.Load() {
		aw.s.restarts.Add(1)
		aw.s.log.Error("worker stopped by itself or was killed", "account", aw.account.Name,
			"pid", w.process.PID(), "status", w.process.Status())
		w.stop() // Also stops go-plugin and removes the socket's directory.
	}
	<-w.process.Reaped()
	aw.held.Add(-1)
}

// maxHeld is the maximum number of ended workers of an account that can't be reaped because a program of the
// account traces them. Each of them occupies a process id, so no worker is started if their number exceeds
// maxHeld.
const maxHeld = 3

func (aw *accountWorker) tooManyHeld() error {
	if n := aw.held.Load(); n > maxHeld {
		return fmt.Errorf("%w: a program of the account traces %d ended workers, so the host can't reap these processes", host.ErrNotRun, n)
	}
	return nil
}

// clearDead forgets the current worker if it is dead, and counts a crash. The caller holds mu.
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
	aw.crashed(aw.s.because(w, fmt.Errorf("the last worker ended: %s", w.process.Status()), 0))
}

func (aw *accountWorker) crashed(err error) {
	aw.crashes++
	aw.err = err
	aw.retryAt = time.Now().Add(backoff(aw.crashes))
}

// checkHealth is called after a worker missed the deadline of a call. It sends a ping to the worker. If the
// worker does not answer the ping, checkHealth kills the worker, so that the next call starts a new one.
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
