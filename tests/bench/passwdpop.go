package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// rounds is how often passwdpop alternates between hashes alone and changes. The speed of a shared machine changes
// within seconds, so the two are compared in short turns.
const rounds = 8

// passwdpop measures the rate of complete password changes through the socket. It compares this rate with the
// rate at which all cores can hash passwords, which it measures in turns with the changes.
func (b *bench) passwdpop() error {
	length := 1000 * time.Millisecond
	if b.quick {
		length = 200 * time.Millisecond
	}
	var rows [][]string
	for _, mailboxes := range []int{10, 1_000, 100_000} {
		w, err := b.newWorld(mailboxes, "")
		if err != nil {
			return err
		}
		if err := w.serve(); err != nil {
			return err
		}
		for _, callers := range []int{1, 16} {
			var rate, limit float64
			var latencies samples
			for range rounds {
				hashes, err := hashRate(length / 2)
				if err != nil {
					return err
				}
				changes, all, err := w.changes(callers, mailboxes, length)
				if err != nil {
					return err
				}
				limit, rate, latencies = limit+hashes/rounds, rate+changes/rounds, append(latencies, all...)
			}
			rows = append(rows, []string{
				fmt.Sprint(mailboxes), fmt.Sprint(callers), fmt.Sprintf("%.0f/s", rate), fmt.Sprintf("%.0f/s", limit), ratio(rate, limit),
				ms(latencies.median()), ms(latencies.p99()),
			})
		}
		w.stop()
	}
	table("passwdpop through the socket", []string{"mailboxes in the domain", "callers", "changes", "hashes of all cores", "ratio", "median", "p99"}, rows)
	return nil
}

// changes lets the given number of callers change passwords over the socket for the duration length. It
// returns the changes per second and the duration of each change.
func (w *world) changes(callers, mailboxes int, length time.Duration) (rate float64, all samples, err error) {
	warm, err := w.dial()
	if err != nil {
		return 0, nil, err
	}
	if err := change(warm, "user", 0); err != nil { // Starts the worker, so that its start is not measured.
		return 0, nil, err
	}
	defer func() { _ = warm.Close() }()
	return together(callers, mailboxes, length, func() (caller, error) {
		c, err := w.dial()
		return caller{
			change: func(box string, n int) error { return change(c, box, n) },
			end:    func() { _ = c.Close() },
		}, err
	})
}

// caller is a client that changes passwords. change sets the password of the mailbox called box; n makes each
// password different. end closes the connection.
type caller struct {
	change func(box string, n int) error
	end    func()
}

// together runs the given number of callers concurrently for the duration length. open creates a caller, and
// the callers spread their password changes over all mailboxes. together returns the changes per second and
// the duration of each change.
func together(callers, mailboxes int, length time.Duration, open func() (caller, error)) (rate float64, all samples, err error) {
	var (
		mu    sync.Mutex
		group sync.WaitGroup
		fail  atomic.Value
	)
	start := time.Now()
	for k := range callers {
		group.Go(func() {
			c, err := open()
			if err != nil {
				fail.Store(err)
				return
			}
			defer c.end()
			var own samples
			for n := 0; time.Since(start) < length; n++ {
				at := time.Now()
				if err := c.change(fmt.Sprintf("b%d", (k+n*callers)%(mailboxes-1)), n); err != nil {
					fail.Store(err)
					return
				}
				own = append(own, time.Since(at))
			}
			mu.Lock()
			all = append(all, own...)
			mu.Unlock()
		})
	}
	group.Wait()
	if err, ok := fail.Load().(error); ok {
		return 0, nil, err
	}
	return float64(len(all)) / time.Since(start).Seconds(), all, nil
}
