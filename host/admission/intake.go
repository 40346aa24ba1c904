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

// IntakeOptions are the limits of Intake for reading requests from clients. A zero Requests means the
// default.
type IntakeOptions struct {
	Requests float64 // Maximum requests per account and second; negative: no limit.
	Largest  int64   // Maximum size of a request in bytes.
}

const (
	// Limits of the rate at which requests are read. If a request exceeds a limit, it is not parsed until the
	// limit permits it. The limits are higher than those of calls, so they delay only clients that send more
	// requests than the host would accept as calls anyway.
	defaultRequests = 4 * DefaultRate
	burstRequests   = 1000
	accountBytes    = 8 << 20 // Maximum number of bytes of one account per second.
	// Maximum processor time, in microseconds per second, for reading the requests of one account and writing
	// its answers.
	accountTime = 500_000 // Microseconds per second.
	burstTime   = 2_000_000

	// SmallRequest is the maximum size in bytes of a request that needs no lease. The memory for such a
	// request is not counted, because every connection has a buffer of SmallRequest bytes anyway.
	SmallRequest = 4 << 10
	totalIntake  = 10 << 20 // Maximum bytes of all requests until their calls have ended.
	eachIntake   = 2 << 20  // Maximum bytes of the requests of one account.
	intakeGrace  = 2 * time.Second

	// maxPaced is the maximum number of accounts and system users that have rate limits of their own. All
	// further accounts and system users share the same rate limits.
	maxPaced = 20_000
)

// Intake limits the bytes of buffered requests, in total and for each account, and the rate at which an
// account sends requests. A front door calls Admit when it has read the size of a request, before it reads
// the body. A nil *Intake has no limit.
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

// NewIntake returns an Intake with the given limits. No request is being read.
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
		return now.Sub(a.last) > time.Minute // After a minute, a bucket is normally full again.
	})
	accounts.most = maxPaced
	return &Intake{o: o, now: time.Now, accounts: accounts, pool: NewPool(PoolOptions{
		Total: max(totalIntake, 4*each), Each: each, Reserve: totalIntake / 4, Small: 64 << 10, Grace: intakeGrace,
	})}
}

// Admit waits until the account may send a request of n bytes, or until ctx ends. The caller must release the
// lease when the call has ended; the lease is nil for a small request. cut closes the client's connection.
// The pool may call cut if other clients need the bytes more, until the caller pins the lease.
func (in *Intake) Admit(ctx context.Context, account string, n int64, cut func()) (*Lease, error) {
	if in == nil {
		return nil, nil
	}
	if err := in.pace(ctx, account, 1, n); err != nil {
		return nil, fmt.Errorf("wait to read a request: %w", err)
	}
	return in.lease(ctx, account, n, cut)
}

// Reserve does the same as Admit for n more bytes of a request that Admit has already admitted. Reserve does
// not count these bytes as another request.
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
		return nil, fmt.Errorf("wait for free memory for a request of %d bytes: %w", n, err)
	}
	return lease, nil
}

// pace waits until the account may send the given number of requests with n bytes in total, according to its
// rate limits.
func (in *Intake) pace(ctx context.Context, account string, requests int, n int64) error {
	if in.o.Requests < 0 {
		return nil
	}
	a := in.of(account)
	if err := a.time.WaitN(ctx, 1); err != nil { // An account that used too much processor time waits here.
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

// of returns the rate limiters of an account, or of a system user if account is "uid N".
func (in *Intake) of(account string) *intakeOf {
	now := in.now()
	in.mu.Lock()
	defer in.mu.Unlock()
	a := in.accounts.of(account, now)
	a.last = now
	return a
}

// Connect reports whether the system user with the given uid may open another connection. Each connection
// counts as one request in the rate limit of the system user.
func (in *Intake) Connect(uid int) bool {
	return in == nil || in.o.Requests < 0 || in.of("uid "+strconv.Itoa(uid)).requests.Allow()
}

// Measure measures the processor time of the current thread until the caller calls stop, and charges this
// time to the account. If the account has used more than its share, its next request waits. The caller must
// not block before it calls stop, and must call stop in the same goroutine.
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
