package admission

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCalls(t *testing.T) {
	l := NewCalls(CallOptions{Calls: 3, AccountCalls: 2, Rate: -1})
	leave1, err := l.Enter("a")
	require.Nil(t, err)
	_, err = l.Enter("a")
	require.Nil(t, err)
	_, err = l.Enter("a")
	require.ErrorContains(t, err, "account_calls")
	leave3, err := l.Enter("b")
	require.Nil(t, err)
	_, err = l.Enter("b")
	require.ErrorContains(t, err, "limit (limits.calls)")
	_, err = NewCalls(CallOptions{Calls: 1}).Enter("c")
	require.Nil(t, err)
	leave1()
	_, err = l.Enter("a")
	require.Nil(t, err)
	leave3()
	require.Equal(t, 2, l.InFlight())
}

func TestCallRate(t *testing.T) {
	now := time.Now()
	l := NewCalls(CallOptions{Rate: 2, AccountCalls: 1000})
	l.now = func() time.Time { return now }
	allowed := func(name string) (n int) {
		for range 100 {
			leave, err := l.Enter(name)
			if err != nil {
				require.ErrorContains(t, err, "more than 2 calls per second")
				continue
			}
			leave()
			n++
		}
		return n
	}
	require.Equal(t, 11, allowed("a"), "what was saved up")
	require.Equal(t, 0, allowed("a"))
	require.Equal(t, 11, allowed("b"), "another account is not held to it")
	now = now.Add(3 * time.Second)
	require.Equal(t, 6, allowed("a"))

	// A call that weighs more than a burst is accepted if the whole burst is saved up.
	now = now.Add(time.Minute)
	require.Nil(t, l.Charge("a", 1000))
	require.ErrorContains(t, l.Charge("a", 1), "more than 2 calls per second")
	require.Zero(t, l.InFlight())
}

func TestCallsForget(t *testing.T) {
	now := time.Now()
	l := NewCalls(CallOptions{})
	l.now = func() time.Time { return now }
	for i := range 1000 {
		leave, err := l.Enter(fmt.Sprint(i))
		require.Nil(t, err)
		leave()
	}
	now = now.Add(time.Minute)
	for range 100 {
		leave, err := l.Enter("one")
		require.Nil(t, err)
		leave()
	}
	require.Less(t, len(l.accounts.states), 10)
}
