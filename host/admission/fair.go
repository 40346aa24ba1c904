package admission

import (
	"context"
	"errors"
	"sync"
	"time"
)

// FairOptions are the limits of a FairSemaphore.
type FairOptions struct {
	Slots   int // Maximum number of running calls, over all accounts.
	Each    int // Maximum number of running calls of one account.
	Account int // Maximum number of running and waiting calls of one account.
	Queue   int // Maximum number of waiting calls; for exceptions see Enter.
}

// Errors of FairSemaphore.Enter. ErrQueueFull means that too many calls are waiting, over all accounts.
// ErrAccountFull means that the account has too many running and waiting calls.
var (
	ErrQueueFull   = errors.New("admission: the queue of waiting calls is full")
	ErrAccountFull = errors.New("admission: the account has too many running and waiting calls")
)

// FairSemaphore is a semaphore that limits the running calls of each account as well as those of all accounts
// together. If an account sends a hundred calls, most of them wait for other calls of the same account, and
// the calls of other accounts are not delayed. It is safe for concurrent use.
type FairSemaphore struct {
	o     FairOptions
	slots chan struct{}

	mu       sync.Mutex
	waiting  int
	accounts keyed[fairTurn]
}

// fairTurn is the state of one account. token is a semaphore for the account's running calls; users is the
// number of its running and waiting calls.
type fairTurn struct {
	token chan struct{}
	users int
}

// NewFairSemaphore returns a semaphore with the given limits. All slots are free.
func NewFairSemaphore(o FairOptions) *FairSemaphore {
	create := func() *fairTurn { return &fairTurn{token: make(chan struct{}, o.Each)} }
	return &FairSemaphore{
		o: o, slots: make(chan struct{}, o.Slots),
		accounts: newKeyed(create, func(t *fairTurn, _ time.Time) bool { return t.users == 0 }),
	}
}

// Account returns the maximum number of running and waiting calls of one account.
func (g *FairSemaphore) Account() int { return g.o.Account }

// Enter waits until the account may run another call and a slot is free. It returns ErrAccountFull at once if
// the account has too many running and waiting calls, ErrQueueFull at once if too many calls of all accounts
// wait, and the error of ctx if ctx ends first. If err is nil, the caller must call leave exactly once, when
// the call has ended.
func (g *FairSemaphore) Enter(ctx context.Context, account string) (leave func(), err error) {
	g.mu.Lock()
	t := g.accounts.of(account, time.Time{})
	switch {
	case t.users >= g.o.Account:
		g.mu.Unlock()
		return nil, ErrAccountFull
	case t.users > 0 && g.waiting >= g.o.Queue:
		// The first call of an account is never rejected because the queue is full. Otherwise other accounts
		// could lock the account out by filling the queue.
		g.mu.Unlock()
		return nil, ErrQueueFull
	}
	g.waiting++
	t.users++
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.waiting--
		g.mu.Unlock()
	}()
	forget := func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		t.users--
		g.accounts.drop(account, time.Time{})
	}
	select {
	case t.token <- struct{}{}:
	case <-ctx.Done():
		forget()
		return nil, ctx.Err()
	}
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		<-t.token
		forget()
		return nil, ctx.Err()
	}
	return func() {
		<-g.slots
		<-t.token
		forget()
	}, nil
}
