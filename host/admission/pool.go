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
	// ErrShare is returned if the holder has as much as one holder may have.
	ErrShare = errors.New("admission: the holder has all it may have")
	// ErrFull is returned if there is no room, and nobody has more than the holder that asks.
	ErrFull = errors.New("admission: there is no room")
)

// PoolOptions are the bounds of a Pool, in whatever unit it counts.
type PoolOptions struct {
	Total int64 // Of all holders together.
	Each  int64 // Of one holder; 0 means Total.
	// Reserve is what holders that have nothing yet may take beyond Total, a Small amount each.
	Reserve, Small int64
	// Replace has a holder at its bound, or one that has most when there is no room, lose its own longest
	// idle lease to the new one. Otherwise it gets an error.
	Replace bool
	// Slack is how much may be revoked and not released yet, beyond Total; 0 means an eighth of it.
	Slack int64
	// Grace is how long a lease must have been idle before a holder that has no less can take it.
	Grace time.Duration
}

// Pool shares an amount among holders. If there is no room, the holder that has most gives up what it
// has not used for the longest time: first leases that are not trusted, which are strangers'. Those that
// are trusted keep three quarters of it before strangers.
type Pool struct {
	o   PoolOptions
	now func() time.Time

	mu      sync.Mutex
	held    int64
	ending  int64 // Of held: revoked, and not released yet.
	trusted int64 // Of held: trusted, and not revoked.
	holders map[string]*holder
	waiting *list.List // Of *waiter, who came first at the front.
}

// waiter is a call of Wait.
type waiter struct {
	key  string
	wake chan struct{}
}

// maxWaiting is how many calls of Wait one holder may have.
const maxWaiting = 64

// holder is an account or a client. Leases that can be revoked are in idle, the longest idle first.
type holder struct {
	key   string
	held  int64
	users int
	idle  [2]*list.List // Of *Lease: those that are not trusted, and those that are.
}

// Lease is an amount that a holder has.
type Lease struct {
	pool    *Pool
	holder  *holder
	n       int64
	revoke  func()
	trusted bool
	pins    int
	at      *list.Element // Nil while it is pinned, revoked or released.
	since   time.Time     // When it was last used.
	revoked bool
	gone    bool
}

// NewPool returns a pool in which nobody holds anything.
func NewPool(o PoolOptions) *Pool {
	if o.Each <= 0 || o.Each > o.Total {
		o.Each = o.Total
	}
	if o.Slack <= 0 {
		o.Slack = o.Total / 8
	}
	return &Pool{o: o, now: time.Now, holders: make(map[string]*holder), waiting: list.New()}
}

// Acquire gives n to a holder, at once or with an error. revoke is called, at most once and in a goroutine
// of its own, if the lease has to be given up: the owner then calls Release as soon as it has let go. A
// lease without it is never revoked.
// More than one holder may have counts as what one may have.
func (p *Pool) Acquire(key string, n int64, revoke func()) (*Lease, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acquire(key, n, revoke)
}

// Wait is Acquire for who can wait: it returns when there is room or ctx ends. Of those that wait, who came
// first is looked at first.
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
	// What is fresh now may be idle in a moment, without a release.
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
			p.wakeNext(place.Next()) // It may have been woken, and not have looked.
			return nil, fmt.Errorf("%w: %w", err, ended)
		}
		if lease, err = p.acquire(key, n, revoke); err == nil {
			p.wakeNext(place.Next()) // There may be room for more.
			return lease, nil
		}
		if errors.Is(err, ErrShare) {
			p.wakeNext(place.Next()) // What was released is not for this one.
		}
	}
}

// wakeNext has the first one look that waits, from a place in the row on. It needs mu.
func (p *Pool) wakeNext(from *list.Element) {
	if from != nil {
		from.Value.(*waiter).notify()
	}
}

func (w *waiter) notify() {
	select {
	case w.wake <- struct{}{}:
	default: // It is about to look.
	}
}

// released has those look that the release of a holder's lease may have made room for: who came first, and
// the first of the holder's own, which may wait for its share. It needs mu.
func (p *Pool) released(key string) {
	p.wakeNext(p.waiting.Front())
	for e := p.waiting.Front(); e != nil; e = e.Next() {
		if w := e.Value.(*waiter); w.key == key {
			w.notify()
			return
		}
	}
}

// acquire makes room and takes it. It needs mu.
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
		return nil, ErrFull // Too much of what was revoked has not been let go.
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

// victim returns the holder that has to give something up for h, which asks for n; nil if none has to. First
// come those that have more than h would have, then those that have as much and let it lie idle; of both,
// leases that are not trusted come first. It needs mu.
func (p *Pool) victim(h *holder, n int64) *holder {
	classes := 2
	if p.trusted <= p.o.Total/4*3 {
		classes = 1 // Whoever comes is a stranger yet.
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

// largest returns the holder with most that can give up a lease of a class; of several, the one whose lease
// has been idle for longest.
func (p *Pool) largest(h *holder, n int64, class int, idleOnly bool) (found *holder) {
	var since time.Time // Of the longest idle lease of found.
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

// evict revokes a holder's longest idle lease, and reports whether it has one. It needs mu.
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
		h.held -= lease.n // The bound of its holder must not wait for it.
		p.ending += lease.n
		go lease.revoke()
		return true
	}
	return false
}

// Release gives a lease back. A second call does nothing; nor does one on nil.
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

// leave forgets a holder without leases. It needs mu.
func (p *Pool) leave(h *holder) {
	if h.users--; h.users == 0 && p.holders[h.key] == h {
		delete(p.holders, h.key)
	}
}

// Pin keeps a lease from being revoked until Unpin: what it is for is being done.
func (l *Lease) Pin() {
	if l == nil {
		return
	}
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	l.pins++
	l.unlink()
}

// Unpin ends a Pin. The lease then has been idle for no time.
func (l *Lease) Unpin() {
	if l == nil {
		return
	}
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	l.pins--
	l.link()
}

// Trust gives a lease to another holder: a client has proved which account it is. It then is given up
// after the leases of strangers. The error is ErrShare if the account has all it may have.
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

// link puts a lease that can be revoked behind the others of its holder. It needs mu.
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

// unlink takes a lease out of those that can be revoked. It needs mu.
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

// Held returns how much all holders have together.
func (p *Pool) Held() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}
