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

// IntakeOptions are the limits of reading from clients. Zero values mean the defaults.
type IntakeOptions struct {
	Requests float64 // Requests of one account in a second, before they are parsed. A negative value means no limit.
	Largest  int64   // Bytes of the largest request.
}

const (
	// A request waits for its turn before it is parsed. These limits only slow down a client that sends more
	// than its account's calls can use.
	defaultRequests = 4 * DefaultRate
	burstRequests   = 1000
	accountBytes    = 8 << 20 // Of one account in a second.
	// Processor time in microseconds for reading an account's requests and writing its answers.
	accountTime = 500_000 // In a second.
	burstTime   = 2_000_000

	// SmallRequest is the size in bytes up to which a request is not counted. Every connection has a buffer
	// of that size anyway.
	SmallRequest = 4 << 10
	totalIntake  = 10 << 20 // Bytes of requests that are being read, and of running calls.
	eachIntake   = 2 << 20  // Of one account.
	intakeGrace  = 2 * time.Second

	// maxPaced is the number of accounts and clients with a pace of their own. Further ones share a pace.
	maxPaced = 20_000
)

// Intake limits the bytes of buffered requests, in total and of each account, and the rate at which an
// account sends. The reader of a request asks it when it knows the request's size, before it reads the body.
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

// NewIntake returns the limits with nothing read.
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

// Admit waits until an account may send a request of n bytes, or until ctx ends. The caller releases the
// lease, which may be nil, when the call has ended. Admit may call cut, which closes the client's connection,
// if other clients need the bytes more while the request is still being read.
func (in *Intake) Admit(ctx context.Context, account string, n int64, cut func()) (*Lease, error) {
	if in == nil {
		return nil, nil
	}
	if err := in.pace(ctx, account, 1, n); err != nil {
		return nil, fmt.Errorf("wait to read a request: %w", err)
	}
	return in.lease(ctx, account, n, cut)
}

// Reserve is Admit for further bytes of a request that was already admitted.
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

// pace waits until the account may send that many requests with n bytes.
func (in *Intake) pace(ctx context.Context, account string, requests int, n int64) error {
	if in.o.Requests < 0 {
		return nil
	}
	a := in.of(account)
	if err := a.time.WaitN(ctx, 1); err != nil { // An account that used more processor time than its share waits here.
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

// of returns the limits of an account, or of a user named "uid N".
func (in *Intake) of(account string) *intakeOf {
	now := in.now()
	in.mu.Lock()
	defer in.mu.Unlock()
	a := in.accounts.of(account, now)
	a.last = now
	return a
}

// Connect reports whether a user may open another connection. It uses the limit of requests.
func (in *Intake) Connect(uid int) bool {
	return in == nil || in.o.Requests < 0 || in.of("uid "+strconv.Itoa(uid)).requests.Allow()
}

// Measure charges the processor time until stop is called to an account. If the account used more than its
// share, its next request waits. The caller must not block before it calls stop, and must call it in the same
// goroutine.
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

// threadTime returns the processor time of the calling thread.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
