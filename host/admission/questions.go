package admission

import (
	"context"
	"errors"
	"sync"
	"time"
)

// QuestionOptions are the limits of Questions.
type QuestionOptions struct {
	Each int // Maximum number of simultaneous questions about one account.
	// Wait is the maximum time that a question waits if Each questions about the account are already in
	// progress. If Wait is 0, such a question fails at once.
	Wait time.Duration
	// Rest is the time for which no further question is sent to an account's worker after the worker has
	// failed to answer a question in time.
	Rest time.Duration
}

// Errors of Questions.
var (
	// ErrNoAnswer is returned if the account's worker failed to answer a question in time and less than
	// QuestionOptions.Rest has passed since then. The new question is not sent.
	ErrNoAnswer = errors.New("admission: the account's worker was not asked, because it recently did not answer in time")
	// ErrTooMany is returned if too many questions about the account are in progress.
	ErrTooMany = errors.New("admission: too many questions to the account's worker are in progress")
)

// Questions limits the questions that the mail server, and strangers that try to sign in, send to an
// account's worker. These questions do not come from the account itself. An account may suspend its worker so
// that the worker never answers. Because of the limits, questions to such a worker do not block questions to
// the workers of other accounts.
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

// NewQuestions returns a Questions with the given limits. No question is in progress.
func NewQuestions(o QuestionOptions) *Questions {
	const unlimited = 1 << 20 // No limit over all accounts; Each limits one account.
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

// Enter waits until a question about the account may be sent to the account's worker. It returns ErrNoAnswer,
// ErrTooMany or the error of ctx if the question must not be sent. If err is nil, the caller must call leave
// exactly once, and must set late if the worker did not answer in time.
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
