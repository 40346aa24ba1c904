// Package budget bounds the memory that large answers take: what a worker sends is decoded only
// when there is room for it, and holds that room until its caller has been answered. Without it a
// few accounts that ask for much and read slowly could hold all of the host's memory.
package budget

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/semaphore"
)

// The bounds, in bytes of what workers send; decoded it takes some sixty times as much.
const (
	// Small answers are not counted.
	Small = 64 << 10
	// Account is what the answers of one account may have together: one of the largest.
	Account = 16 << 20
	// Total is what all may have.
	Total = 32 << 20
)

// Budget is a host's.
type Budget struct {
	all        *semaphore.Weighted
	perAccount int64

	mu       sync.Mutex
	accounts map[string]*account
}

type account struct {
	room  *semaphore.Weighted
	users int
}

// New returns a budget of so many bytes in all and for each account.
func New(total, perAccount int64) *Budget {
	return &Budget{all: semaphore.NewWeighted(total), perAccount: perAccount, accounts: make(map[string]*account)}
}

// scope collects what a call holds.
type scope struct {
	mu       sync.Mutex
	ended    bool
	releases []func()
}

type scopeKey struct{}

// Scope returns a context in which what is taken is held until end is called: by whoever writes
// the answer.
func Scope(ctx context.Context) (_ context.Context, end func()) {
	s := &scope{}
	return context.WithValue(ctx, scopeKey{}, s), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = true
		for _, release := range s.releases {
			release()
		}
		s.releases = nil
	}
}

// Take waits for room for an answer of n bytes of an account. It is held until the end of the
// context's scope, or, where there is none, is given back at once: then nothing but the decoding
// waits.
func (b *Budget) Take(ctx context.Context, name string, n int64) error {
	if b == nil || n <= Small {
		return nil
	}
	n = min(n, b.perAccount)
	a := b.enter(name)
	if err := a.room.Acquire(ctx, n); err != nil {
		b.leave(name, a)
		return fmt.Errorf("wait for room for an answer of %d bytes: %w", n, err)
	}
	if err := b.all.Acquire(ctx, n); err != nil {
		a.room.Release(n)
		b.leave(name, a)
		return fmt.Errorf("wait for room for an answer of %d bytes: %w", n, err)
	}
	release := func() {
		b.all.Release(n)
		a.room.Release(n)
		b.leave(name, a)
	}
	s, ok := ctx.Value(scopeKey{}).(*scope)
	if !ok {
		release()
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		release()
		return nil
	}
	s.releases = append(s.releases, release)
	return nil
}

func (b *Budget) enter(name string) *account {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[name]
	if a == nil {
		a = &account{room: semaphore.NewWeighted(b.perAccount)}
		b.accounts[name] = a
	}
	a.users++
	return a
}

func (b *Budget) leave(name string, a *account) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.users--; a.users == 0 {
		delete(b.accounts, name)
	}
}
