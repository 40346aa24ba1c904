package admission

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Errors of a Pool.
var (
	// ErrShare is returned if the holder has reached the limit of one holder.
	ErrShare = errors.New("admission: the holder has all it may have")
	// ErrFull is returned if there is no room and no other holder has a larger share.
	ErrFull = errors.New("admission: there is no room")
)

// PoolOptions are the limits of a Pool. The unit is up to the caller.
type PoolOptions struct {
	Total int64 // Of all holders together.
	Each  int64 // Of one holder; 0 means Total.
	// Reserve is the amount beyond Total for holders that have nothing yet. Each of them may take at most
	// Small of it.
	Reserve, Small int64
	// Replace lets a new lease replace the longest idle lease of the same holder if the holder has reached
	// its limit, or if there is no room and the holder has the largest share. Without it, Acquire returns an
	// error.
	Replace bool
	// Slack is the amount of revoked leases that may be unreleased, beyond Total; 0 means an eighth of Total.
	Slack int64
	// Grace is how long a lease must be idle before a holder with the same share can take it.
	Grace time.Duration
}

// Pool shares an amount among holders. If there is no room, the holder with the largest share loses its
// longest idle lease. Untrusted leases, which belong to strangers, go first. Strangers can't displace trusted
// leases below three quarters of the total.
type Pool struct {
	o   PoolOptions
	now func() time.Time

	mu      sync.Mutex
	held    int64
	ending  int64 // Part of held: revoked, but not yet released.
	trusted int64 // Part of held: trusted, and not revoked.
	holders map[string]*holder
	waiting *list.List // Of *waiter, in order of arrival.
}

// waiter is a call of Wait.
type waiter struct {
	key  string
	wake chan struct{}
}

// maxWaiting is the limit of concurrent Wait calls of one holder.
const maxWaiting = 64

// holder is an account or a client. idle lists its revocable leases, the longest idle first.
type holder struct {
	key   string
	held  int64
	users int
	idle  [2]*list.List // Of *Lease: the untrusted leases, then the trusted leases.
}

// Lease is an amount that a holder has.
type Lease struct {
	pool    *Pool
	holder  *holder
	n       int64
	revoke  func()
	trusted bool
	pins    int
	at      *list.Element // Nil while the lease is pinned, revoked or released.
	since   time.Time     // When it was last used.
	revoked bool
	gone    bool
}

// NewPool returns a pool without leases.
func NewPool(o PoolOptions) *Pool {
	if o.Each <= 0 || o.Each > o.Total {
		o.Each = o.Total
	}
	if o.Slack <= 0 {
		o.Slack = o.Total / 8
	}
	return &Pool{o: o, now: time.Now, holders: make(map[string]*holder), waiting: list.New()}
}

// Acquire gives n to a holder, or returns an error at once. If the lease must be given up, the pool calls
// revoke once, in a new goroutine; the owner then calls Release as soon as it can. A lease without revoke is
// never revoked. If n is more than one holder may have, it counts as that limit.
func (p *Pool) Acquire(key string, n int64, revoke func()) (*Lease, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acquire(key, n, revoke)
}

// Wait is Acquire that waits: it returns when there is room or when ctx ends. Waiting calls are served in
// order of arrival.
func (p *Pool) Wait(ctx context.Context, key string, n int64, revoke func()) (*Lease, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	lease, err := p.acquire(key, n, revoke)
	if err == nil {
		return lease, nil
	}
	own := 0
	for e := p.waiting.Front(); e != nil; e = e.Next() {
		if e.Value.(*waiter).key == key {
			own++
		}
	}
	if own >= maxWaiting {
		return nil, err
	}
	w := &waiter{key: key, wake: make(chan struct{}, 1)}
	place := p.waiting.PushBack(w)
	defer p.waiting.Remove(place)
	// A lease may become idle without a release, so Wait also looks once a second.
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		p.mu.Unlock()
		var ended error
		select {
		case <-w.wake:
		case <-again.C:
		case <-ctx.Done():
			ended = ctx.Err()
		}
		p.mu.Lock()
		if ended != nil {
			p.wakeNext(place.Next()) // This waiter may have consumed the wake-up.
			return nil, fmt.Errorf("%w: %w", err, ended)
		}
		if lease, err = p.acquire(key, n, revoke); err == nil {
			p.wakeNext(place.Next()) // There may be room for more.
			return lease, nil
		}
		if errors.Is(err, ErrShare) {
			p.wakeNext(place.Next()) // The released lease does not help this waiter.
		}
	}
}

// wakeNext wakes the first waiter at or after a place in the queue. The caller holds mu.
func (p *Pool) wakeNext(from *list.Element) {
	if from != nil {
		from.Value.(*waiter).notify()
	}
}

func (w *waiter) notify() {
	select {
	case w.wake <- struct{}{}:
	default: // It was woken already.
	}
}

// released wakes the waiters that may profit from the release of a holder's lease: the first in the queue,
// and the holder's own first waiter, which may wait for its share. The caller holds mu.
func (p *Pool) released(key string) {
	p.wakeNext(p.waiting.Front())
	for e := p.waiting.Front(); e != nil; e = e.Next() {
		if w := e.Value.(*waiter); w.key == key {
			w.notify()
			return
		}
	}
}

// acquire makes room and takes it. The caller holds mu.
func (p *Pool) acquire(key string, n int64, revoke func()) (*Lease, error) {
	n = min(n, p.o.Each)
	h := p.holders[key]
	if h == nil {
		h = &holder{key: key, idle: [2]*list.List{list.New(), list.New()}}
	}
	for h.held+n > p.o.Each {
		if !p.o.Replace || !p.evict(h) {
			return nil, ErrShare
		}
	}
	limit := p.o.Total
	if h.held == 0 && n <= p.o.Small {
		limit += p.o.Reserve
	}
	for p.held-p.ending+n > limit {
		victim := p.victim(h, n)
		if victim == nil && p.o.Replace && h.idle[0].Len() > 0 {
			victim = h
		}
		if victim == nil || !p.evict(victim) {
			return nil, ErrFull
		}
	}
	if p.held+n > limit+n+p.o.Slack {
		return nil, ErrFull // Too many revoked leases are not released yet.
	}
	p.holders[key] = h
	lease := &Lease{pool: p, holder: h, n: n, revoke: revoke}
	if revoke == nil {
		lease.pins++
	}
	lease.link()
	h.held += n
	h.users++
	p.held += n
	return lease, nil
}

// victim returns the holder that must give up a lease so that h can have n, or nil if none must. Holders with
// a larger share than h would have come first, then holders with an equal share that leave it idle. Among
// both, untrusted leases come first. The caller holds mu.
func (p *Pool) victim(h *holder, n int64) *holder {
	classes := 2
	if p.trusted <= p.o.Total/4*3 {
		classes = 1 // A new lease is untrusted, so it can't displace trusted leases here.
	}
	for _, idleOnly := range []bool{false, true} {
		for class := range classes {
			if found := p.largest(h, n, class, idleOnly); found != nil {
				return found
			}
		}
	}
	return nil
}

// largest returns the holder with the largest share that has a revocable lease of a class. If several are
// equal, it returns the holder of the longest idle lease.
func (p *Pool) largest(h *holder, n int64, class int, idleOnly bool) (found *holder) {
	var since time.Time // Since when found's lease is idle.
	for _, v := range p.holders {
		front := v.idle[class].Front()
		if v == h || front == nil || v.held < h.held+n {
			continue
		}
		idle := front.Value.(*Lease).since
		if v.held == h.held+n && (!idleOnly || p.now().Sub(idle) <= p.o.Grace) {
			continue
		}
		if found == nil || v.held > found.held || v.held == found.held && idle.Before(since) {
			found, since = v, idle
		}
	}
	return found
}

// evict revokes a holder's longest idle lease. It reports whether there was a lease to revoke. The caller
// holds mu.
func (p *Pool) evict(h *holder) bool {
	for _, idle := range h.idle {
		front := idle.Front()
		if front == nil {
			continue
		}
		lease := front.Value.(*Lease)
		idle.Remove(front)
		lease.at, lease.revoked = nil, true
		if lease.trusted {
			p.trusted -= lease.n
		}
		h.held -= lease.n // A revoked lease no longer counts towards the limit of its holder.
		p.ending += lease.n
		go lease.revoke()
		return true
	}
	return false
}

// Release gives a lease back. Releasing it again, or releasing nil, does nothing.
func (l *Lease) Release() {
	if l == nil {
		return
	}
	p := l.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.gone {
		return
	}
	l.gone = true
	l.unlink()
	p.held -= l.n
	if l.revoked {
		p.ending -= l.n
	} else {
		l.holder.held -= l.n
	}
	if l.trusted && !l.revoked {
		p.trusted -= l.n
	}
	p.leave(l.holder)
	p.released(l.holder.key)
}

// leave forgets a holder without leases. The caller holds mu.
func (p *Pool) leave(h *holder) {
	if h.users--; h.users == 0 && p.holders[h.key] == h {
		delete(p.holders, h.key)
	}
}

// Pin keeps a lease from being revoked until Unpin, because it is in use.
func (l *Lease) Pin() {
	if l == nil {
		return
	}
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	l.pins++
	l.unlink()
}

// Unpin ends a Pin. The lease counts as just used.
func (l *Lease) Unpin() {
	if l == nil {
		return
	}
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	l.pins--
	l.link()
}

// Trust moves a lease to another holder, because the client has proved its account. From then on the lease is
// revoked only after the leases of strangers. Trust returns ErrShare if the account has reached its limit.
func (l *Lease) Trust(key string) error {
	if l == nil {
		return nil
	}
	p := l.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.trusted && l.holder.key == key || l.gone || l.revoked {
		return nil
	}
	h := p.holders[key]
	if h == nil {
		h = &holder{key: key, idle: [2]*list.List{list.New(), list.New()}}
	}
	for h.held+l.n > p.o.Each {
		if !p.o.Replace || !p.evict(h) {
			return ErrShare
		}
	}
	p.holders[key] = h
	l.unlink()
	l.holder.held -= l.n
	h.held += l.n
	h.users++
	p.leave(l.holder)
	if !l.trusted {
		p.trusted += l.n
	}
	l.holder, l.trusted = h, true
	l.link()
	return nil
}

// link appends a revocable lease to the idle leases of its holder. The caller holds mu.
func (l *Lease) link() {
	if l.pins > 0 || l.revoked || l.gone || l.at != nil {
		return
	}
	class := 0
	if l.trusted {
		class = 1
	}
	l.since = l.pool.now()
	l.at = l.holder.idle[class].PushBack(l)
}

// unlink removes a lease from the idle leases of its holder. The caller holds mu.
func (l *Lease) unlink() {
	if l.at == nil {
		return
	}
	class := 0
	if l.trusted {
		class = 1
	}
	l.holder.idle[class].Remove(l.at)
	l.at = nil
}

// Held returns the amount of all leases.
func (p *Pool) Held() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}
