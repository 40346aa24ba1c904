package admission

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/liveapid/liveapid/protocol"
)

// Default limits of Calls: the maximum number of calls in flight over all accounts, the same for one account,
// the maximum number of calls of one account per second, and the length of a burst in seconds.
const (
	DefaultCalls        = 1024
	DefaultAccountCalls = 64
	DefaultRate         = 50
	burstSeconds        = 5
)

// CallOptions are the limits of Calls. A zero value means the default; a negative Rate means no limit of the
// rate.
type CallOptions struct {
	Calls        int     // Maximum number of calls in flight, over all accounts.
	AccountCalls int     // Maximum number of calls in flight of one account.
	Rate         float64 // Maximum number of calls of one account per second.
}

// Calls limits the number of calls in flight, over all accounts and for each account, and the number of calls
// of each account per second. It is safe for concurrent use.
type Calls struct {
	o   CallOptions
	now func() time.Time

	mu       sync.Mutex
	calls    int
	accounts keyed[callsOf]
}

// callsOf is the state of one account: the number of its calls in flight, the token bucket that limits the
// rate of its calls, and the time of its last call.
type callsOf struct {
	calls  int
	bucket *rate.Limiter
	last   time.Time
}

// NewCalls returns a Calls with the given limits. No call is in flight.
func NewCalls(o CallOptions) *Calls {
	if o.Calls <= 0 {
		o.Calls = DefaultCalls
	}
	if o.AccountCalls <= 0 {
		o.AccountCalls = DefaultAccountCalls
	}
	if o.Rate == 0 {
		o.Rate = DefaultRate
	}
	create := func() *callsOf {
		if o.Rate <= 0 {
			return &callsOf{}
		}
		return &callsOf{bucket: rate.NewLimiter(rate.Limit(o.Rate), int(o.Rate*burstSeconds)+1)}
	}
	return &Calls{o: o, now: time.Now, accounts: newKeyed(create, (*callsOf).idle)}
}

// Enter counts a call of the account called name. If a limit is reached, Enter returns an error that names
// the limit. Otherwise the caller must call leave exactly once when the call has ended.
func (l *Calls) Enter(name string) (leave func(), err *protocol.Error) { return l.EnterHeavy(name, 1) }

// EnterHeavy does the same as Enter for expensive work: the call counts as one call in flight, but as weight
// calls for the account's rate.
func (l *Calls) EnterHeavy(name string, weight int) (leave func(), err *protocol.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.account(name)
	refuse := func(format string, args ...any) (func(), *protocol.Error) { return nil, refused(format, args...) }
	switch {
	case l.calls >= l.o.Calls && (a.calls > 0 || l.calls >= l.o.Calls+l.o.Calls/4):
		// A quarter of the limit is added for accounts that have no call in flight, so that busy accounts
		// can't lock out the others.
		return refuse("The host has %d calls in flight, which is its limit (limits.calls).", l.o.Calls)
	case a.calls >= l.o.AccountCalls:
		return refuse("The account has %d calls in flight, which is its limit (limits.account_calls).", l.o.AccountCalls)
	}
	if err := l.charge(a, weight); err != nil {
		return nil, err
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

// Charge counts weight calls for the account's rate, but none in flight: they are parts of a call that was
// counted already.
func (l *Calls) Charge(name string, weight int) *protocol.Error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.charge(l.account(name), weight)
}

// account returns the state of an account, which makes a call now. The caller holds mu.
func (l *Calls) account(name string) *callsOf {
	now := l.now()
	a := l.accounts.of(name, now)
	a.last = now
	return a
}

// charge counts weight calls for the rate of a, but never more than a burst has: such a call would never be
// accepted. The caller holds mu.
func (l *Calls) charge(a *callsOf, weight int) *protocol.Error {
	if a.bucket == nil || a.bucket.AllowN(l.now(), min(weight, a.bucket.Burst())) {
		return nil
	}
	return refused("The account makes more than %g calls per second, which is its limit (limits.account_rate).", l.o.Rate)
}

func refused(format string, args ...any) *protocol.Error {
	return protocol.NewError(protocol.KindUnavailable, fmt.Sprintf(format, args...)+" Nothing was changed; try again later.")
}

// idle reports whether the account's state can be removed: its last call was so long ago that its token
// bucket is full again.
func (a *callsOf) idle(now time.Time) bool {
	return a.calls == 0 && now.Sub(a.last) > 2*burstSeconds*time.Second
}

// InFlight returns the number of calls in flight.
func (l *Calls) InFlight() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls
}
