package admission

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

// IntakeOptions bound what is read from clients. Zero values mean the defaults.
type IntakeOptions struct {
	Requests float64 // Of one account in a second, before they are parsed; negative sets no bound.
	Largest  int64   // Bytes that one request may have.
}

const (
	// A request waits for its turn before it is parsed, so these only slow a client down that sends more
	// than its account's calls can use.
	defaultRequests = 4 * DefaultRate
	burstRequests   = 1000
	accountBytes    = 8 << 20 // Of one account in a second.
	// Microseconds of a processor for reading what an account sends and writing what it is answered.
	accountTime = 500_000 // In a second.
	burstTime   = 2_000_000

	// SmallRequest is how many bytes of a request are not counted: connections have a buffer of that size.
	SmallRequest = 4 << 10
	totalIntake  = 10 << 20 // Bytes of requests that are being read, or whose calls run.
	eachIntake   = 2 << 20  // Of one account.
	intakeGrace  = 2 * time.Second

	// maxPaced is how many accounts and clients are paced by themselves.
	maxPaced = 20_000
)

// Intake bounds the bytes of requests that are buffered, in all and of each account, and paces what an
// account sends. It is asked when a request's size is known, before its bytes are read.
type Intake struct {
	o    IntakeOptions
	pool *Pool
	now  func() time.Time

	mu       sync.Mutex
	accounts keyed[intakeOf]
}

type intakeOf struct {
	requests, bytes, time *rate.Limiter
	last                  time.Time
}

// NewIntake returns the bounds with nothing read.
func NewIntake(o IntakeOptions) *Intake {
	if o.Requests == 0 {
		o.Requests = defaultRequests
	}
	each := max(eachIntake, 2*o.Largest)
	create := func() *intakeOf {
		return &intakeOf{
			requests: rate.NewLimiter(rate.Limit(o.Requests), burstRequests),
			bytes:    rate.NewLimiter(accountBytes, int(max(2*accountBytes, o.Largest))),
			time:     rate.NewLimiter(accountTime, burstTime),
		}
	}
	accounts := newKeyed(create, func(a *intakeOf, now time.Time) bool {
		return now.Sub(a.last) > time.Minute // Its buckets are full again.
	})
	accounts.most = maxPaced
	return &Intake{o: o, now: time.Now, accounts: accounts, pool: NewPool(PoolOptions{
		Total: max(totalIntake, 4*each), Each: each, Reserve: totalIntake / 4, Small: 64 << 10, Grace: intakeGrace,
	})}
}

// Admit waits until an account may send a request of n bytes, at most until ctx ends. The caller
// releases the lease, which may be nil, when the call is over. cut ends the client's connection; it is
// called if others need the bytes more while the request is still being read.
func (in *Intake) Admit(ctx context.Context, account string, n int64, cut func()) (*Lease, error) {
	if in == nil {
		return nil, nil
	}
	if err := in.pace(ctx, account, 1, n); err != nil {
		return nil, fmt.Errorf("wait to read a request: %w", err)
	}
	return in.lease(ctx, account, n, cut)
}

// Reserve is Admit for the bytes of a request that was admitted already.
func (in *Intake) Reserve(ctx context.Context, account string, n int64, cut func()) (*Lease, error) {
	if in == nil {
		return nil, nil
	}
	if err := in.pace(ctx, account, 0, n); err != nil {
		return nil, fmt.Errorf("wait to read a request: %w", err)
	}
	return in.lease(ctx, account, n, cut)
}

func (in *Intake) lease(ctx context.Context, account string, n int64, cut func()) (*Lease, error) {
	if n <= SmallRequest {
		return nil, nil
	}
	lease, err := in.pool.Wait(ctx, account, n, cut)
	if err != nil {
		return nil, fmt.Errorf("wait for room for a request of %d bytes: %w", n, err)
	}
	return lease, nil
}

// pace waits for the account's turn to send so many requests of n bytes.
func (in *Intake) pace(ctx context.Context, account string, requests int, n int64) error {
	if in.o.Requests < 0 {
		return nil
	}
	a := in.of(account)
	if err := a.time.WaitN(ctx, 1); err != nil { // Until what it used is paid for.
		return err
	}
	if err := a.requests.WaitN(ctx, requests); err != nil {
		return err
	}
	if n <= SmallRequest {
		return nil
	}
	return a.bytes.WaitN(ctx, int(min(n, int64(a.bytes.Burst()))))
}

// of returns the limits of an account, or of a user by "uid N".
func (in *Intake) of(account string) *intakeOf {
	now := in.now()
	in.mu.Lock()
	defer in.mu.Unlock()
	a := in.accounts.of(account, now)
	a.last = now
	return a
}

// Connect reports whether a user may open another connection. The limit is that of requests.
func (in *Intake) Connect(uid int) bool {
	return in == nil || in.o.Requests < 0 || in.of("uid "+strconv.Itoa(uid)).requests.Allow()
}

// Measure charges the processor time until stop is called to an account: if it used more than its share, its
// next request waits. The caller must not block before it calls stop, from the same goroutine.
func (in *Intake) Measure(account string) (stop func()) {
	if in == nil || in.o.Requests < 0 {
		return func() {}
	}
	runtime.LockOSThread()
	begin := threadTime()
	return func() {
		used := threadTime() - begin
		runtime.UnlockOSThread()
		in.of(account).time.ReserveN(in.now(), int(min(used.Microseconds(), burstTime)))
	}
}

// threadTime is the processor time that the calling thread has used.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
