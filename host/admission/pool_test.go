package admission

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// unit takes a lease for a holder and releases it as soon as it is revoked.
func unit(t *testing.T, p *Pool, key string) (lease *Lease, revoked chan struct{}) {
	t.Helper()
	revoked = make(chan struct{})
	var own *Lease
	ready := make(chan struct{})
	own, err := p.Acquire(key, 1, func() {
		<-ready
		own.Release()
		close(revoked)
	})
	require.NoError(t, err, key)
	close(ready)
	return own, revoked
}

// T50: a holder, or a few, can't take the last place: their longest unused leases are revoked.
func TestT50_TheLargestHolderGivesWay(t *testing.T) {
	p := NewPool(PoolOptions{Total: 8, Each: 6, Grace: time.Hour})
	var first, second chan struct{}
	for i := range 5 {
		_, revoked := unit(t, p, "mallory")
		switch i {
		case 0:
			first = revoked
		case 1:
			second = revoked
		}
	}
	for range 3 {
		unit(t, p, "trudy")
	}
	unit(t, p, "alice")
	<-first
	unit(t, p, "alice")
	<-second
	_, err := p.Acquire("trudy", 1, nil)
	require.ErrorIs(t, err, ErrFull, "nobody has more than she would")
	_, err = p.Acquire("mallory", 1, nil)
	require.ErrorIs(t, err, ErrFull)
	require.EqualValues(t, 8, p.Held())
}

// T50: a single holder may have its share, and no more.
func TestT50_Share(t *testing.T) {
	p := NewPool(PoolOptions{Total: 8, Each: 3})
	for range 3 {
		unit(t, p, "a")
	}
	_, err := p.Acquire("a", 1, nil)
	require.ErrorIs(t, err, ErrShare)
	p = NewPool(PoolOptions{Total: 8, Each: 2, Replace: true})
	_, oldest := unit(t, p, "a")
	middle, _ := unit(t, p, "a")
	unit(t, p, "a")
	<-oldest
	middle.Pin()
	_, newer := unit(t, p, "a")
	_ = newer
	middle.Unpin()
	p.mu.Lock()
	require.EqualValues(t, 2, p.held-p.ending)
	p.mu.Unlock()
}

// T50: a lease in use is not revoked, and signed-in holders keep theirs longer than strangers.
func TestT50_PinnedAndTrusted(t *testing.T) {
	p := NewPool(PoolOptions{Total: 4, Grace: time.Hour, Replace: true})
	busy, busyRevoked := unit(t, p, "net")
	busy.Pin()
	known, knownRevoked := unit(t, p, "net")
	require.NoError(t, known.Trust("account alice"))
	_, stranger := unit(t, p, "net")
	unit(t, p, "net")
	unit(t, p, "other")
	<-stranger
	unit(t, p, "net")
	select {
	case <-busyRevoked:
		t.Fatal("what is in use was taken away")
	case <-knownRevoked:
		t.Fatal("a stranger took from who is known")
	default:
	}
	busy.Unpin()
	require.NoError(t, busy.Trust("account alice"))
	require.NoError(t, busy.Trust("account alice"))
	require.EqualValues(t, 2, p.holders["account alice"].held)
}

// T50: many holders with a lease each make room for another holder if their leases are idle.
func TestT50_IdleForLong(t *testing.T) {
	now := time.Now()
	p := NewPool(PoolOptions{Total: 3, Grace: time.Second})
	p.now = func() time.Time { return now }
	_, revoked := unit(t, p, "a")
	now = now.Add(time.Millisecond)
	unit(t, p, "b")
	unit(t, p, "c")
	_, err := p.Acquire("d", 1, func() {})
	require.ErrorIs(t, err, ErrFull)
	now = now.Add(2 * time.Second)
	b, _ := unit(t, p, "d")
	<-revoked
	b.Release()
}

func TestPoolReserve(t *testing.T) {
	p := NewPool(PoolOptions{Total: 10, Each: 10, Reserve: 4, Small: 2})
	full, err := p.Acquire("a", 10, nil)
	require.NoError(t, err)
	_, err = p.Acquire("b", 3, nil)
	require.ErrorIs(t, err, ErrFull)
	b, err := p.Acquire("b", 2, nil)
	require.NoError(t, err, "who has nothing gets a little all the same")
	_, err = p.Acquire("b", 1, nil)
	require.ErrorIs(t, err, ErrFull)
	c, err := p.Acquire("c", 2, nil)
	require.NoError(t, err)
	_, err = p.Acquire("d", 1, nil)
	require.ErrorIs(t, err, ErrFull, "the reserve is used up")
	full.Release()
	full.Release()
	require.EqualValues(t, 4, p.Held())
	b.Release()
	c.Release()
	require.Zero(t, p.Held())
}

func TestPoolWait(t *testing.T) {
	p := NewPool(PoolOptions{Total: 1})
	held, err := p.Acquire("a", 1, nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.Wait(ctx, "b", 1, nil)
	require.ErrorIs(t, err, context.Canceled)
	got := make(chan error, 1)
	go func() {
		_, err := p.Wait(t.Context(), "b", 1, nil)
		got <- err
	}()
	held.Release()
	require.NoError(t, <-got)
	var none *Lease
	none.Pin()
	none.Unpin()
	none.Release()
	require.NoError(t, none.Trust("x"))
}

// After random operations, nothing is counted twice or forgotten.
func TestPoolCounts(t *testing.T) {
	p := NewPool(PoolOptions{Total: 50, Each: 20, Reserve: 10, Small: 1, Replace: true})
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(worker), 1))
			for range 2000 {
				var lease *Lease
				ready, gone := make(chan struct{}), make(chan struct{})
				lease, err := p.Acquire(fmt.Sprint(r.IntN(12)), 1+r.Int64N(5), func() {
					<-ready
					lease.Release()
					close(gone)
				})
				close(ready)
				if err != nil {
					continue
				}
				for range r.IntN(4) {
					switch r.IntN(3) {
					case 0:
						_ = lease.Trust(fmt.Sprint("t", r.IntN(3)))
					case 1:
						lease.Pin()
						lease.Unpin()
					}
				}
				if r.IntN(2) == 0 {
					lease.Release()
				}
			}
		})
	}
	all.Wait()
	p.mu.Lock()
	var held int64
	var idle []*Lease
	for _, h := range p.holders {
		held += h.held
		require.LessOrEqual(t, h.held, int64(20))
		for _, list := range h.idle {
			for e := list.Front(); e != nil; e = e.Next() {
				idle = append(idle, e.Value.(*Lease))
			}
		}
	}
	require.Equal(t, p.held-p.ending, held)
	p.mu.Unlock()
	for _, lease := range idle {
		lease.Release()
	}
	require.Eventually(t, func() bool { return p.Held() == 0 }, 10*time.Second, time.Millisecond)
	require.Empty(t, p.holders)
	require.Zero(t, p.ending)
}

// T50: while another holder has much, a holder with little does not lose it for being slow.
func TestT50_TheSlowKeepTheirs(t *testing.T) {
	now := time.Now()
	p := NewPool(PoolOptions{Total: 5, Grace: time.Second, Replace: true})
	p.now = func() time.Time { return now }
	_, slow := unit(t, p, "slow")
	for range 4 {
		lease, _ := unit(t, p, "net")
		require.NoError(t, lease.Trust("mallory"))
	}
	now = now.Add(time.Minute)
	for range 10 {
		lease, _ := unit(t, p, "net") // The network itself holds nothing: mallory holds all of it.
		require.NoError(t, lease.Trust("mallory"))
		require.Eventually(t, func() bool { return p.Held() == 5 }, 10*time.Second, time.Millisecond)
	}
	select {
	case <-slow:
		t.Fatal("it was taken away")
	default:
	}
}
