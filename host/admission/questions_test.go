package admission

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// An account that does not answer is not asked for a while; the others are.
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

// Without a wait, questions beyond an account's number fail at once; the others' do not.
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

// With a wait, a question waits for another of its account, at most so long.
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
