package worker

import (
	"context"
	"errors"
	"runtime"
	"sync"
)

const (
	// gateQueue is how many calls may wait for the helper, in all, and gateAccount how many of
	// one account may be there.
	gateQueue   = 64
	gateAccount = 16
)

// Errors of a gate: too many wait in all, or of one account.
var (
	errGateFull    = errors.New("too many calls wait for the plugin's helper")
	errGateAccount = errors.New("too many calls of the account wait for the plugin's helper")
)

// gate shares the helper, which does the hard work of hashing, out among the accounts: half of
// the processors at once, one call of each account, a bounded queue. An account that sends a
// hundred calls waits for itself.
type gate struct {
	slots chan struct{}

	mu       sync.Mutex
	waiting  int
	accounts map[string]*turn
}

// turn is an account's: whoever holds the token has it.
type turn struct {
	token chan struct{}
	users int
}

func newGate() *gate {
	return &gate{slots: make(chan struct{}, max(1, runtime.NumCPU()/2)), accounts: make(map[string]*turn)}
}

// enter waits for the account's turn and a free place. The caller must call what it returns.
func (g *gate) enter(ctx context.Context, account string) (leave func(), err error) {
	g.mu.Lock()
	if g.waiting >= gateQueue {
		g.mu.Unlock()
		return nil, errGateFull
	}
	g.waiting++
	t := g.accounts[account]
	if t == nil {
		t = &turn{token: make(chan struct{}, 1)}
		g.accounts[account] = t
	}
	if t.users >= gateAccount {
		g.waiting--
		g.mu.Unlock()
		return nil, errGateAccount
	}
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
