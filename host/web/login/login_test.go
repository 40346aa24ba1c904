package login

import (
	"container/list"
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddr("198.51.100.1")
)

// clock is a throttle's or the sessions' that a test moves.
type clock struct{ now time.Time }

func (c *clock) time() time.Time { return c.now }

func throttle() (*Throttle, *clock) {
	t, c := NewThrottle(), &clock{now: time.Unix(1_800_000_000, 0)}
	t.now = c.time
	return t, c
}

// fail fails once, or reports how long it has to wait.
func fail(t *testing.T, th *Throttle, name string, from netip.Addr) time.Duration {
	t.Helper()
	wait, done, err := th.Try(t.Context(), "cpanel", name, from)
	require.NoError(t, err)
	if wait == 0 {
		done(Failed)
	}
	return wait
}

func TestBackOff(t *testing.T) {
	th, c := throttle()
	for range ofBoth.free {
		require.Zero(t, fail(t, th, "alice", here))
	}
	require.Zero(t, th.Wait("cpanel", "alice", here))
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
		require.Zero(t, fail(t, th, "alice", here))
		require.Equal(t, want*time.Second, th.Wait("cpanel", "alice", here))
		require.Equal(t, want*time.Second, fail(t, th, "alice", here))
		require.Zero(t, th.Wait("cpanel", "alice", there), "of one client, the others' owner is not kept out")
		c.now = c.now.Add(want * time.Second)
	}
	require.Zero(t, th.Wait("cpanel", "bob", here))
	wait, done, err := th.Try(t.Context(), "cpanel", "alice", here)
	require.NoError(t, err)
	require.Zero(t, wait)
	done(Succeeded)
	require.Zero(t, fail(t, th, "alice", here))
	require.Zero(t, th.Wait("cpanel", "alice", here), "a success forgets")

	// From one client after another the account waits, too, and not for long.
	th, c = throttle()
	for i := range ofAccount.free + 40 {
		if wait := fail(t, th, "alice", netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})); wait > 0 {
			c.now = c.now.Add(wait)
			fail(t, th, "alice", netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}))
		}
	}
	require.Equal(t, ofAccount.most, th.Wait("cpanel", "alice", there))
	require.Zero(t, th.Wait("whm", "alice", there), "each port has its own")

	// A client that tries one name after another waits, and not for its own success.
	th, c = throttle()
	for i := range ofClient.free + 1 {
		require.Zero(t, fail(t, th, fmt.Sprint("user", i), here))
	}
	require.Equal(t, time.Second, th.Wait("cpanel", "somebody", here))
	require.Zero(t, th.Wait("cpanel", "somebody", there))
	c.now = c.now.Add(time.Second)
	_, done, err = th.Try(t.Context(), "cpanel", "own", here)
	require.NoError(t, err)
	done(Succeeded)
	require.Zero(t, fail(t, th, "another", here))
	require.Equal(t, 2*time.Second, th.Wait("cpanel", "somebody", here))
	c.now = c.now.Add(forgetAfter + time.Second)
	require.Zero(t, fail(t, th, "somebody", here))
	require.Zero(t, th.Wait("cpanel", "somebody", here), "what was an hour ago is forgotten")

	// Who proved the password a while ago waits for nobody's tries from elsewhere; the others do, in the
	// order in which they came.
	th, _ = throttle()
	_, done, err = th.Try(t.Context(), "cpanel", "alice", here)
	require.NoError(t, err)
	done(Succeeded)
	for i := range ofAccount.free + 1 {
		fail(t, th, "alice", netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}))
	}
	require.NotZero(t, th.Wait("cpanel", "alice", there))
	require.Zero(t, th.Wait("cpanel", "alice", here))

	// All tenants' programs come from loopback.
	th, _ = throttle()
	for i := range 100 {
		require.Zero(t, fail(t, th, fmt.Sprint("user", i), netip.MustParseAddr("127.0.0.1")))
	}
}

// Guesses that are made together are no cheaper, and people who know the password are only put in a
// row.
func TestTogether(t *testing.T) {
	for _, outcome := range []Outcome{Failed, Succeeded, Undecided} {
		th, _ := throttle()
		var mu sync.Mutex
		var all sync.WaitGroup
		tried, most, now := 0, 0, 0
		for range 200 {
			all.Go(func() {
				wait, done, err := th.Try(t.Context(), "cpanel", "alice", here)
				if err != nil || wait > 0 {
					return
				}
				mu.Lock()
				tried, now = tried+1, now+1
				most = max(most, now)
				mu.Unlock()
				runtime.Gosched()
				mu.Lock()
				now--
				mu.Unlock()
				done(outcome)
			})
		}
		all.Wait()
		require.LessOrEqual(t, most, ofBoth.free)
		if outcome == Failed {
			require.Equal(t, ofBoth.free+1, tried)
		} else {
			require.Equal(t, 200, tried)
		}
		require.Empty(t, th.trying)
	}
	th, _ := throttle()
	for range ofBoth.free {
		_, _, err := th.Try(t.Context(), "cpanel", "alice", here)
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := th.Try(ctx, "cpanel", "alice", here)
	require.ErrorIs(t, err, context.Canceled)
}

// Turns come in the order of asking: who asks again and again does not keep others from theirs.
func TestTurns(t *testing.T) {
	th, _ := throttle()
	for i := range ofAccount.free - 1 { // One try at a time is left.
		fail(t, th, "alice", netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}))
	}
	stop := make(chan struct{})
	var busy sync.WaitGroup
	for i := range 8 {
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, done, err := th.Try(context.Background(), "cpanel", "alice", netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})); err == nil && done != nil {
					runtime.Gosched()
					done(Undecided)
				}
			}
		})
	}
	for range 20 {
		wait, done, err := th.Try(t.Context(), "cpanel", "alice", here)
		require.NoError(t, err)
		require.Zero(t, wait)
		done(Undecided)
	}
	close(stop)
	busy.Wait()
	require.Empty(t, th.trying)
	require.Empty(t, th.waiting)
}

// T36: one spelling for each account, one network for each customer, and a bounded table.
func TestT36_Keys(t *testing.T) {
	for _, name := range []string{"Alice@Example.com", " alice@example.com ", "ALICE@EXAMPLE.COM", "ａｌｉｃｅ@example.com", "alice@example.com\t"} {
		th, _ := throttle()
		for range ofBoth.free + 1 {
			fail(t, th, name, here)
		}
		require.NotZero(t, th.Wait("cpanel", "alice@example.com", here), "%q", name)
	}
	th, _ := throttle()
	for i := range ofClient.free + 1 {
		fail(t, th, fmt.Sprint("u", i), netip.MustParseAddr(fmt.Sprintf("2001:db8:1:2::%x", i+1)))
	}
	require.NotZero(t, th.Wait("cpanel", "x", netip.MustParseAddr("2001:db8:1:2:ffff::1")), "a customer has a network of IPv6")
	require.Zero(t, th.Wait("cpanel", "x", netip.MustParseAddr("2001:db8:1:3::1")))
	for i := range ofClient.free + 1 {
		fail(t, th, fmt.Sprint("u", i), netip.MustParseAddr("::ffff:192.0.2.1"))
	}
	require.NotZero(t, th.Wait("cpanel", "x", here), "IPv4 in IPv6 is IPv4")

	th, c := throttle()
	for i := range maxKeys + 100 {
		c.now = c.now.Add(lastOf())
		fail(t, th, strings.Repeat("x", 1000)+fmt.Sprint(i), there)
		fail(t, th, fmt.Sprint(i), netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	require.LessOrEqual(t, th.Size(), maxKeys)
}

func lastOf() time.Duration { return max(ofBoth.most, ofClient.most) }

func TestSessions(t *testing.T) {
	s, c := NewSessions(), &clock{now: time.Unix(1_800_000_000, 0)}
	s.now = c.time
	secret, began := s.Begin(Session{Service: "cpanel", User: "alice", Account: "alice", UID: 1001})
	require.Regexp(t, `^cpsess\d{10}$`, began.Token)
	require.Len(t, secret, 52)
	found, ok := s.Find(secret, "cpanel")
	require.True(t, ok)
	require.True(t, found.Has(began.Token))
	require.False(t, found.Has("cpsess0000000000"))
	require.False(t, found.Has(""))
	_, ok = s.Find(secret, "whm")
	require.False(t, ok, "of another port")
	_, ok = s.Find("", "cpanel")
	require.False(t, ok)

	s.End(found)
	_, ok = s.Find(secret, "cpanel")
	require.False(t, ok, "after the end")

	secret, _ = s.Begin(Session{Service: "webmail", User: "user@example.com", Account: "alice"})
	s.EndAccount("alice")
	_, ok = s.Find(secret, "webmail")
	require.False(t, ok, "T7: it ends with its account")

	secret, _ = s.Begin(Session{Service: "cpanel", User: "alice", Account: "alice"})
	c.now = c.now.Add(idleTime + time.Second)
	_, ok = s.Find(secret, "cpanel")
	require.False(t, ok, "not used for long")

	secret, _ = s.Begin(Session{Service: "cpanel", User: "alice", Account: "alice"})
	for range int(longestTime/idleTime) + 1 {
		c.now = c.now.Add(idleTime)
		_, ok = s.Find(secret, "cpanel")
	}
	require.False(t, ok, "used for too long")

	first, _ := s.Begin(Session{Service: "cpanel", User: "bob", Account: "bob"})
	for range maxEach {
		c.now = c.now.Add(time.Second)
		s.Begin(Session{Service: "cpanel", User: "bob", Account: "bob"})
	}
	require.Equal(t, maxEach, s.Count())
	_, ok = s.Find(first, "cpanel")
	require.False(t, ok, "the one used longest ago made room")
}

// Who came first has the first turn, and a client that has all its own tries under way holds up nobody
// else.
func TestOrder(t *testing.T) {
	th, _ := throttle()
	for range ofBoth.free {
		_, _, err := th.Try(t.Context(), "cpanel", "alice", there)
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	sixth := make(chan error, 1)
	go func() {
		_, _, err := th.Try(ctx, "cpanel", "alice", there)
		sixth <- err
	}()
	waiting := func() int {
		th.mu.Lock()
		defer th.mu.Unlock()
		n := 0
		for _, queue := range th.waiting {
			n += queue.Len()
		}
		return n
	}
	require.Eventually(t, func() bool { return waiting() == 1 }, time.Minute, time.Millisecond)
	_, done, err := th.Try(t.Context(), "cpanel", "alice", here)
	require.NoError(t, err, "another client's turn is its own")
	done(Succeeded)
	cancel()
	require.ErrorIs(t, <-sixth, context.Canceled)

	// One who is before, and for whom there is room, goes first.
	th, _ = throttle()
	queue := list.New()
	first := queue.PushBack(&waiter{keys: keysOf("cpanel", "alice", there), look: make(chan struct{}, 1)})
	th.waiting[keysOf("cpanel", "alice", there)[1].name] = queue
	ctx, cancel = context.WithCancel(t.Context())
	go func() {
		_, _, err := th.Try(ctx, "cpanel", "alice", here)
		sixth <- err
	}()
	require.Eventually(t, func() bool { return waiting() == 2 }, time.Minute, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-sixth, context.Canceled)
	th.mu.Lock()
	queue.Remove(first)
	th.mu.Unlock()
	_, _, err = th.Try(t.Context(), "cpanel", "alice", here)
	require.NoError(t, err)
}
