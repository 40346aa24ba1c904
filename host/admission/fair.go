package admission

import (
	"context"
	"errors"
	"sync"
	"time"
)

// FairOptions are the bounds of a FairSemaphore.
type FairOptions struct {
	Slots   int // Calls at once.
	Each    int // Calls of one account at once.
	Account int // Calls of one account that may be there, waiting or not.
	Queue   int // Calls that may wait, in all; of an account that has none here, one always may.
}

// Errors of a FairSemaphore.
var (
	ErrQueueFull   = errors.New("admission: too many calls wait")
	ErrAccountFull = errors.New("admission: too many calls of the account wait")
)

// FairSemaphore is a semaphore that is shared out among the accounts: an account that sends a hundred
// calls waits for itself.
type FairSemaphore struct {
	o     FairOptions
	slots chan struct{}

	mu       sync.Mutex
	waiting  int
	accounts keyed[fairTurn]
}

// fairTurn is an account's: whoever holds a token has it.
type fairTurn struct {
	token chan struct{}
	users int
}

// NewFairSemaphore returns a semaphore of which all slots are free.
func NewFairSemaphore(o FairOptions) *FairSemaphore {
	create := func() *fairTurn { return &fairTurn{token: make(chan struct{}, o.Each)} }
	return &FairSemaphore{
		o: o, slots: make(chan struct{}, o.Slots),
		accounts: newKeyed(create, func(t *fairTurn, _ time.Time) bool { return t.users == 0 }),
	}
}

// Account returns how many calls of one account may be there.
func (g *FairSemaphore) Account() int { return g.o.Account }

// Enter waits for the account's turn and a free slot. The caller must call what it returns.
func (g *FairSemaphore) Enter(ctx context.Context, account string) (leave func(), err error) {
	g.mu.Lock()
	t := g.accounts.of(account, time.Time{})
	switch {
	case t.users >= g.o.Account:
		g.mu.Unlock()
		return nil, ErrAccountFull
	case t.users > 0 && g.waiting >= g.o.Queue:
		// An account that has nothing here comes in all the same: the others can't keep it out.
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
