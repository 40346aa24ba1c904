package admission

import (
	"context"
	"errors"
	"sync"
	"time"
)

// QuestionOptions are the limits of Questions.
type QuestionOptions struct {
	Each int // Questions about one account that are answered at once.
	// Wait is how long further questions wait. If it is 0, they fail at once.
	Wait time.Duration
	// Rest is how long an account is not asked after its worker did not answer in time.
	Rest time.Duration
}

// Errors of Questions.
var (
	// ErrNoAnswer is returned for an account if its worker did not answer a moment ago.
	ErrNoAnswer = errors.New("admission: the account's worker did not answer a moment ago")
	// ErrTooMany is returned if too many questions about the account are being answered.
	ErrTooMany = errors.New("admission: too many questions about the account are being answered")
)

// Questions limits how often others ask an account's worker: the mail server, and strangers at sign-in. If
// an account stops its worker, it must not block everyone else.
type Questions struct {
	o         QuestionOptions
	now       func() time.Time
	semaphore *FairSemaphore

	mu       sync.Mutex
	accounts keyed[questionsOf]
}

type questionsOf struct {
	asking    int
	restUntil time.Time
}

// NewQuestions returns the limits with no question asked.
func NewQuestions(o QuestionOptions) *Questions {
	const unlimited = 1 << 20 // The number of calls in flight limits them.
	waiting := unlimited
	if o.Wait == 0 {
		waiting = o.Each
	}
	return &Questions{
		o: o, now: time.Now,
		semaphore: NewFairSemaphore(FairOptions{Slots: unlimited, Each: o.Each, Account: waiting, Queue: unlimited}),
		accounts: newKeyed(func() *questionsOf { return &questionsOf{} }, func(a *questionsOf, now time.Time) bool {
			return a.asking == 0 && !now.Before(a.restUntil)
		}),
	}
}

// Enter waits until an account may be asked. The caller must call leave and report whether the answer came
// too late. The error is ErrNoAnswer, ErrTooMany or ctx's.
func (q *Questions) Enter(ctx context.Context, account string) (leave func(late bool), err error) {
	q.mu.Lock()
	a := q.accounts.of(account, q.now())
	if q.now().Before(a.restUntil) {
		q.mu.Unlock()
		return nil, ErrNoAnswer
	}
	a.asking++
	q.mu.Unlock()
	done := func(late bool) {
		q.mu.Lock()
		defer q.mu.Unlock()
		a.asking--
		if late {
			a.restUntil = q.now().Add(q.o.Rest)
		}
		q.accounts.drop(account, q.now())
	}
	if q.o.Wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, q.o.Wait, ErrTooMany)
		defer cancel()
	}
	release, err := q.semaphore.Enter(ctx, account)
	switch {
	case err == nil:
		return func(late bool) {
			release()
			done(late)
		}, nil
	case errors.Is(err, ErrAccountFull):
		err = ErrTooMany
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	done(false)
	return nil, err
}
