package admission

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// After an account did not answer, questions about it fail for a while. Other accounts are asked.
func TestQuestionsRest(t *testing.T) {
	now := time.Now()
	q := NewQuestions(QuestionOptions{Each: 2, Rest: time.Minute})
	q.now = func() time.Time { return now }
	leave, err := q.Enter(t.Context(), "alice")
	require.NoError(t, err)
	leave(true)
	_, err = q.Enter(t.Context(), "alice")
	require.ErrorIs(t, err, ErrNoAnswer)
	other, err := q.Enter(t.Context(), "bob")
	require.NoError(t, err)
	other(false)
	now = now.Add(time.Minute)
	again, err := q.Enter(t.Context(), "alice")
	require.NoError(t, err)
	again(false)
}

// Without a wait, questions beyond an account's limit fail at once. Questions about others do not.
func TestQuestionsWithoutWait(t *testing.T) {
	q := NewQuestions(QuestionOptions{Each: 2})
	first, err := q.Enter(t.Context(), "alice")
	require.NoError(t, err)
	second, err := q.Enter(t.Context(), "alice")
	require.NoError(t, err)
	_, err = q.Enter(t.Context(), "alice")
	require.ErrorIs(t, err, ErrTooMany)
	other, err := q.Enter(t.Context(), "bob")
	require.NoError(t, err)
	other(false)
	first(false)
	third, err := q.Enter(t.Context(), "alice")
	require.NoError(t, err)
	second(false)
	third(false)
}

// With a wait, a question waits for an earlier question about the account, up to the limit of time.
func TestQuestionsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQuestions(QuestionOptions{Each: 1, Wait: time.Second})
		first, err := q.Enter(t.Context(), "alice")
		require.NoError(t, err)
		_, err = q.Enter(t.Context(), "alice")
		require.ErrorIs(t, err, ErrTooMany)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second/2, cancel)
		_, err = q.Enter(ctx, "alice")
		require.ErrorIs(t, err, context.Canceled)
		time.AfterFunc(time.Second/2, func() { first(false) })
		second, err := q.Enter(t.Context(), "alice")
		require.NoError(t, err)
		second(false)
	})
}
