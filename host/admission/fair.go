package admission

import (
	"context"
	"errors"
	"sync"
	"time"
)

// FairOptions are the limits of a FairSemaphore.
type FairOptions struct {
	Slots   int // Calls that run at once.
	Each    int // Calls of one account that run at once.
	Account int // Calls of one account in total, running or waiting.
	Queue   int // Calls that may wait, in total. If an account has no call here, its first call may always wait.
}

// Errors of a FairSemaphore.
var (
	ErrQueueFull   = errors.New("admission: too many calls wait")
	ErrAccountFull = errors.New("admission: too many calls of the account wait")
)

// FairSemaphore is a semaphore that serves accounts in turn: if an account sends a hundred calls, they wait
// for each other and not in front of other accounts.
type FairSemaphore struct {
	o     FairOptions
	slots chan struct{}

	mu       sync.Mutex
	waiting  int
	accounts keyed[fairTurn]
}

// fairTurn is the state of one account. A call runs only while it holds a token.
type fairTurn struct {
	token chan struct{}
	users int
}

// NewFairSemaphore returns a semaphore with all slots free.
func NewFairSemaphore(o FairOptions) *FairSemaphore {
	create := func() *fairTurn { return &fairTurn{token: make(chan struct{}, o.Each)} }
	return &FairSemaphore{
		o: o, slots: make(chan struct{}, o.Slots),
		accounts: newKeyed(create, func(t *fairTurn, _ time.Time) bool { return t.users == 0 }),
	}
}

// Account returns the limit of one account's calls, running or waiting.
func (g *FairSemaphore) Account() int { return g.o.Account }

// Enter waits for a token of the account and a free slot. The caller must call leave.
func (g *FairSemaphore) Enter(ctx context.Context, account string) (leave func(), err error) {
	g.mu.Lock()
	t := g.accounts.of(account, time.Time{})
	switch {
	case t.users >= g.o.Account:
		g.mu.Unlock()
		return nil, ErrAccountFull
	case t.users > 0 && g.waiting >= g.o.Queue:
		// The first call of an account is always admitted, so that other accounts can't lock it out.
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
