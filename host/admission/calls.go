package admission

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/liveapid/liveapid/protocol"
)

// Defaults: calls in flight in total and of one account, calls of one account in a second, and the burst in
// seconds.
const (
	DefaultCalls        = 1024
	DefaultAccountCalls = 64
	DefaultRate         = 50
	burstSeconds        = 5
)

// CallOptions are the limits of Calls. Zero values mean the defaults; a negative rate means no limit.
type CallOptions struct {
	Calls        int     // In flight, in total.
	AccountCalls int     // In flight, of one account.
	Rate         float64 // Of one account in a second.
}

// Calls limits the calls in flight, in total and of each account, and the rate of each account's calls.
type Calls struct {
	o   CallOptions
	now func() time.Time

	mu       sync.Mutex
	calls    int
	accounts keyed[callsOf]
}

// callsOf is the state of one account.
type callsOf struct {
	calls  int
	bucket *rate.Limiter
	last   time.Time
}

// NewCalls returns the limits with no call in flight.
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

// Enter counts a call, or returns an error that names the limit that is reached. The caller must call leave
// once.
func (l *Calls) Enter(name string) (leave func(), err *protocol.Error) { return l.EnterHeavy(name, 1) }

// EnterHeavy is Enter for work that counts as several calls of the account's rate.
func (l *Calls) EnterHeavy(name string, weight int) (leave func(), err *protocol.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	a := l.accounts.of(name, now)
	a.last = now
	refuse := func(format string, args ...any) (func(), *protocol.Error) {
		return nil, protocol.NewError(protocol.KindUnavailable, fmt.Sprintf(format, args...)+" Nothing was changed; try again later.")
	}
	switch {
	case l.calls >= l.o.Calls && (a.calls > 0 || l.calls >= l.o.Calls+l.o.Calls/4):
		// The extra quarter is reserved for accounts without any call in flight, so that other accounts can't
		// lock them out.
		return refuse("The host has %d calls in flight, which is its limit (calls).", l.o.Calls)
	case a.calls >= l.o.AccountCalls:
		return refuse("The account has %d calls in flight, which is its limit (account_calls).", l.o.AccountCalls)
	case a.bucket != nil && !a.bucket.AllowN(now, weight):
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

// idle reports whether an account has not called for so long that its bucket is full again.
func (a *callsOf) idle(now time.Time) bool {
	return a.calls == 0 && now.Sub(a.last) > 2*burstSeconds*time.Second
}

// InFlight returns the number of calls in flight.
func (l *Calls) InFlight() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls
}
