// Package limit keeps one account from taking what all share: it bounds the calls in flight, in
// all and of each account, and the calls of each account in a second. It knows no call.
package limit

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/liveapid/liveapid/protocol"
)

// The defaults: calls in flight in all and of one account, calls of one account in a second, and
// how many of those it may save up.
const (
	DefaultCalls        = 1024
	DefaultAccountCalls = 64
	DefaultRate         = 50
	burstSeconds        = 5
)

// Options are a limiter's bounds. Zero values mean the defaults; a negative rate sets no bound.
type Options struct {
	Calls        int     // In flight, in all.
	AccountCalls int     // In flight, of one account.
	Rate         float64 // Of one account, in a second.
}

// Limiter counts calls in and out.
type Limiter struct {
	o   Options
	now func() time.Time

	mu       sync.Mutex
	calls    int
	accounts map[string]*account
	entered  int
}

// account is what one uses.
type account struct {
	calls  int
	bucket *rate.Limiter
	last   time.Time
}

// New returns a limiter.
func New(o Options) *Limiter {
	if o.Calls <= 0 {
		o.Calls = DefaultCalls
	}
	if o.AccountCalls <= 0 {
		o.AccountCalls = DefaultAccountCalls
	}
	if o.Rate == 0 {
		o.Rate = DefaultRate
	}
	return &Limiter{o: o, now: time.Now, accounts: make(map[string]*account)}
}

// Enter counts a call in, or says which limit is reached. The caller must call leave.
func (l *Limiter) Enter(name string) (leave func(), err *protocol.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if l.entered++; l.entered%1024 == 0 {
		l.forget(now)
	}
	a := l.accounts[name]
	if a == nil {
		a = &account{}
		if l.o.Rate > 0 {
			a.bucket = rate.NewLimiter(rate.Limit(l.o.Rate), int(l.o.Rate*burstSeconds)+1)
		}
		l.accounts[name] = a
	}
	a.last = now
	refuse := func(format string, args ...any) (func(), *protocol.Error) {
		return nil, protocol.NewError(protocol.KindUnavailable, fmt.Sprintf(format, args...)+" Nothing was changed; try again later.")
	}
	switch {
	case l.calls >= l.o.Calls && (a.calls > 0 || l.calls >= l.o.Calls+l.o.Calls/4):
		// A quarter more is for accounts that have nothing under way: others can't keep them out.
		return refuse("The host has %d calls under way, which is its limit (calls).", l.o.Calls)
	case a.calls >= l.o.AccountCalls:
		return refuse("The account has %d calls under way, which is its limit (account_calls).", l.o.AccountCalls)
	case a.bucket != nil && !a.bucket.AllowN(now, 1):
		return refuse("The account makes more than %g calls in a second, which is its limit (account_rate).", l.o.Rate)
	}
	l.calls++
	a.calls++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.calls--
		a.calls--
	}, nil
}

// forget drops accounts that have used nothing for so long that they may use all. It needs mu.
func (l *Limiter) forget(now time.Time) {
	for name, a := range l.accounts {
		if a.calls == 0 && now.Sub(a.last) > 2*burstSeconds*time.Second {
			delete(l.accounts, name)
		}
	}
}

// Calls returns how many are in flight.
func (l *Limiter) Calls() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls
}
