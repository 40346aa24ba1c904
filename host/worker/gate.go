package worker

import (
	"context"
	"errors"
	"runtime"
	"sync"
)

// gateOptions are a gate's bounds.
type gateOptions struct {
	slots   int // Calls at once.
	each    int // Calls of one account at once.
	account int // Calls of one account that may be there, waiting or not.
	queue   int // Calls that may wait, in all; of an account that has none here, one always may.
}

var (
	// hardWork is hashing: half of the processors.
	hardWork = gateOptions{slots: max(1, runtime.NumCPU()/2), each: 1, account: 16, queue: 64}
	// sharedWork mostly waits for a database.
	sharedWork = gateOptions{slots: 32, each: 4, account: 32, queue: 512}
	// mailWork is what the mail server asks, which must not wait behind either.
	mailWork = gateOptions{slots: 32, each: 4, account: 16, queue: 512}
)

// Errors of a gate: too many wait in all, or of one account.
var (
	errGateFull    = errors.New("too many calls wait for the plugin's helper")
	errGateAccount = errors.New("too many calls of the account wait for the plugin's helper")
)

// gate shares the helper out among the accounts: an account that sends a hundred calls waits for
// itself.
type gate struct {
	o     gateOptions
	slots chan struct{}

	mu       sync.Mutex
	waiting  int
	accounts map[string]*turn
}

// turn is an account's: whoever holds a token has it.
type turn struct {
	token chan struct{}
	users int
}

func newGate(o gateOptions) *gate {
	return &gate{o: o, slots: make(chan struct{}, o.slots), accounts: make(map[string]*turn)}
}

// enter waits for the account's turn and a free place. The caller must call what it returns.
func (g *gate) enter(ctx context.Context, account string) (leave func(), err error) {
	g.mu.Lock()
	t := g.accounts[account]
	switch {
	case t != nil && t.users >= g.o.account:
		g.mu.Unlock()
		return nil, errGateAccount
	case t != nil && g.waiting >= g.o.queue:
		// Who has nothing here comes in all the same: the others can't keep an account out.
		g.mu.Unlock()
		return nil, errGateFull
	case t == nil:
		t = &turn{token: make(chan struct{}, g.o.each)}
		g.accounts[account] = t
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
		if t.users--; t.users == 0 {
			delete(g.accounts, account)
		}
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
