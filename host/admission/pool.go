package admission

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Errors that Acquire and Wait return.
var (
	// ErrShare is returned if the holder has reached its own limit (PoolOptions.Each).
	ErrShare = errors.New("admission: the holder has reached its limit")
	// ErrFull is returned if the pool has no room and no other holder must give up a lease.
	ErrFull = errors.New("admission: the pool is full")
)

// PoolOptions are the limits of a Pool. The caller chooses the unit, for example bytes or connections.
type PoolOptions struct {
	Total int64 // Maximum amount of all holders together.
	Each  int64 // Maximum amount of one holder; 0 means Total.
	// Reserve is an additional amount beyond Total for holders that have no lease yet. Only a lease of at
	// most Small may use Reserve.
	Reserve, Small int64
	// Replace controls what happens if the holder has reached its limit, or if there is no room and no other
	// holder must give up a lease. If Replace is true, the new lease replaces the longest idle lease of the
	// same holder. If it is false, Acquire returns an error.
	Replace bool
	// Slack is the amount beyond Total that revoked leases may occupy until their owners release them; 0
	// means an eighth of Total.
	Slack int64
	// Grace is the time for which a lease must have been idle before the pool may revoke it for a holder with
	// an equal share.
	Grace time.Duration
}

// Pool divides a limited total, for example of memory, among holders (accounts or clients). A lease is a part
// of the total that a holder occupies. If a new lease does not fit, the pool revokes the longest idle lease
// of the holder with the largest share. Untrusted leases (those of clients that have not signed in) are
// revoked first. Another holder's trusted lease is revoked only while all trusted leases together occupy more
// than three quarters of the total. A Pool is safe for concurrent use.
type Pool struct {
	o   PoolOptions
	now func() time.Time

	mu      sync.Mutex
	held    int64
	ending  int64 // Part of held: revoked leases that are not released yet.
	trusted int64 // Part of held: trusted leases that are not revoked.
	holders map[string]*holder
	waiting *list.List // Queue of *waiter, in order of arrival.
}

// waiter is a goroutine that is blocked in Pool.Wait.
type waiter struct {
	key  string
	wake chan struct{}
}

// maxWaiting is the maximum number of goroutines that may be blocked in Wait for the same holder.
const maxWaiting = 64

// holder is an account or a client that has leases. idle lists the leases of the holder that can be revoked,
// beginning with the longest idle lease.
type holder struct {
	key   string
	held  int64
	users int
	idle  [2]*list.List // Elements are *Lease: untrusted in idle[0], trusted in idle[1].
}

// Lease is an amount of a Pool that a holder occupies. Its methods are safe for concurrent use, and do
// nothing if the Lease is nil.
type Lease struct {
	pool    *Pool
	holder  *holder
	n       int64
	revoke  func()
	trusted bool
	pins    int
	at      *list.Element // Nil while the lease is pinned, revoked or released.
	since   time.Time     // When the lease was last used.
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

// Acquire returns a lease of the amount n for the holder called key, or an error at once if there is no room.
// If the holder must give up the lease later, the pool calls revoke once, in a new goroutine; the owner of
// the lease must then call Release as soon as possible. If revoke is nil, the lease is never revoked. If n is
// larger than the limit of one holder, the lease counts as that limit.
func (p *Pool) Acquire(key string, n int64, revoke func()) (*Lease, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acquire(key, n, revoke)
}

// Wait does the same as Acquire, but if there is no room, it blocks until it gets a lease or until ctx ends.
// Blocked goroutines are woken in order of arrival. If maxWaiting goroutines are already blocked for the same
// holder, Wait does not block and returns the error of Acquire.
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
	// A lease of another holder may become old enough to be revoked for this waiter (PoolOptions.Grace).
	// Nothing wakes the waiter at that time, so Wait also tries again once a second.
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
			p.wakeNext(place.Next()) // Pass on a wake-up that this waiter can no longer use.
			return nil, fmt.Errorf("%w: %w", err, ended)
		}
		if lease, err = p.acquire(key, n, revoke); err == nil {
			p.wakeNext(place.Next()) // There may be room for the next waiter, too.
			return lease, nil
		}
		if errors.Is(err, ErrShare) {
			p.wakeNext(place.Next()) // The room does not help this waiter: try the next one.
		}
	}
}

// wakeNext wakes the waiter at the given place in the queue, if there is one. The caller holds mu.
func (p *Pool) wakeNext(from *list.Element) {
	if from != nil {
		from.Value.(*waiter).notify()
	}
}

func (w *waiter) notify() {
	select {
	case w.wake <- struct{}{}:
	default: // The waiter was already woken.
	}
}

// released is called when the holder called key has released a lease. It wakes the waiters that may now get a
// lease: the first waiter in the queue, and the first waiter for the same key, which may be blocked only by
// the limit of that holder. The caller holds mu.
func (p *Pool) released(key string) {
	p.wakeNext(p.waiting.Front())
	for e := p.waiting.Front(); e != nil; e = e.Next() {
		if w := e.Value.(*waiter); w.key == key {
			w.notify()
			return
		}
	}
}

// acquire makes room for a lease, if necessary by revoking other leases, and returns the lease. It does not
// wait. The caller holds mu.
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
		return nil, ErrFull // Too many revoked leases are not yet released.
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

// victim returns the holder that must give up a lease so that h can get a lease of the amount n, or nil if
// there is no such holder. First choice is a holder with a larger share than h would have with the new lease.
// Second choice is a holder with an equal share that has a lease that was idle for longer than Grace. In both
// cases, holders with untrusted leases are preferred. The caller holds mu.
func (p *Pool) victim(h *holder, n int64) *holder {
	classes := 2
	if p.trusted <= p.o.Total/4*3 {
		classes = 1 // Few trusted leases: the new lease must not displace any.
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

// largest returns the holder with the largest share, or nil. It considers only holders other than h that have
// a revocable lease of the given class (0 untrusted, 1 trusted), and a larger share than h would have with
// another lease of the amount n. If idleOnly is true, an equal share is enough if the holder's longest idle
// lease was idle for longer than Grace. If several holders have the same share, largest returns the holder of
// the longest idle lease.
func (p *Pool) largest(h *holder, n int64, class int, idleOnly bool) (found *holder) {
	var since time.Time // When the longest idle lease of found was last used.
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

// evict revokes the longest idle lease of a holder, untrusted leases first. It reports whether the holder had
// a lease to revoke. The caller holds mu.
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
		h.held -= lease.n // A revoked lease no longer counts for its holder's limit.
		p.ending += lease.n
		go lease.revoke()
		return true
	}
	return false
}

// Release returns the lease's amount to the pool. It does nothing if the lease is nil or was already
// released.
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

// leave decreases the holder's number of leases, and removes the holder from the pool if it has no other
// lease. The caller holds mu.
func (p *Pool) leave(h *holder) {
	if h.users--; h.users == 0 && p.holders[h.key] == h {
		delete(p.holders, h.key)
	}
}

// Pin marks a lease as being in use: the pool can't revoke it until Unpin is called. Each Pin needs an Unpin.
func (l *Lease) Pin() {
	if l == nil {
		return
	}
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	l.pins++
	l.unlink()
}

// Unpin ends the effect of one Pin. The lease then counts as used just now.
func (l *Lease) Unpin() {
	if l == nil {
		return
	}
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	l.pins--
	l.link()
}

// Trust is called when a client has signed in. It moves the client's lease to the account called key and
// marks the lease as trusted. When the pool looks for a lease to revoke, it prefers the untrusted leases of
// strangers (see victim). Trust returns ErrShare if the account has reached its limit. It does nothing if the
// lease was already revoked or released.
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

// link appends the lease to the idle leases of its holder if the lease can be revoked. The caller holds mu.
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

// unlink removes the lease from the idle leases of its holder, if it is among them. The caller holds mu.
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

// Held returns the amount of all leases that are not released, including revoked leases.
func (p *Pool) Held() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}
