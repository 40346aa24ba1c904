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

// clock is the time of a throttle or of sessions. The test sets it.
type clock struct{ now time.Time }

func (c *clock) time() time.Time { return c.now }

func throttle() (*Throttle, *clock) {
	t, c := NewThrottle(), &clock{now: time.Unix(1_800_000_000, 0)}
	t.now = c.time
	return t, c
}

// who returns a client that names an existing account.
func who(name string, from netip.Addr) Who {
	return Who{Service: "cpanel", Name: name, From: Client{Key: Source(from), Many: from.IsLoopback()}}
}

// fail makes a failed attempt, or returns the time that it must wait.
func fail(t *testing.T, th *Throttle, name string, from netip.Addr) time.Duration {
	t.Helper()
	wait, done, err := th.Try(t.Context(), who(name, from))
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
	require.Zero(t, th.Wait(who("alice", here)))
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
		require.Zero(t, fail(t, th, "alice", here))
		require.Equal(t, want*time.Second, th.Wait(who("alice", here)))
		require.Equal(t, want*time.Second, fail(t, th, "alice", here))
		require.Zero(t, th.Wait(who("alice", there)), "of one client, the others' owner is not kept out")
		c.now = c.now.Add(want * time.Second)
	}
	require.Zero(t, th.Wait(who("bob", here)))
	wait, done, err := th.Try(t.Context(), who("alice", here))
	require.NoError(t, err)
	require.Zero(t, wait)
	done(Succeeded)
	require.Zero(t, fail(t, th, "alice", here))
	require.Zero(t, th.Wait(who("alice", here)), "a success forgets")

	// Attempts from one client after another make the account wait too, but only briefly.
	th, c = throttle()
	for i := range ofAccount.free + 40 {
		if wait := fail(t, th, "alice", netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})); wait > 0 {
			c.now = c.now.Add(wait)
			fail(t, th, "alice", netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}))
		}
	}
	require.Equal(t, ofAccount.most, th.Wait(who("alice", there)))
	require.Zero(t, th.Wait(Who{Service: "whm", Name: "alice", From: Client{Key: Source(there)}}), "each port has its own")

	// A client that tries one name after another waits. Its own success does not wait.
	th, c = throttle()
	for i := range ofClient.free + 1 {
		require.Zero(t, fail(t, th, fmt.Sprint("user", i), here))
	}
	require.Equal(t, time.Second, th.Wait(who("somebody", here)))
	require.Zero(t, th.Wait(who("somebody", there)))
	c.now = c.now.Add(time.Second)
	_, done, err = th.Try(t.Context(), who("own", here))
	require.NoError(t, err)
	done(Succeeded)
	require.Zero(t, fail(t, th, "another", here))
	require.Equal(t, 2*time.Second, th.Wait(who("somebody", here)))
	c.now = c.now.Add(forgetAfter + time.Second)
	require.Zero(t, fail(t, th, "somebody", here))
	require.Zero(t, th.Wait(who("somebody", here)), "what was an hour ago is forgotten")

	// A client that proved the password recently does not wait for attempts from elsewhere. The others do, in
	// order of arrival.
	th, _ = throttle()
	_, done, err = th.Try(t.Context(), who("alice", here))
	require.NoError(t, err)
	done(Succeeded)
	for i := range ofAccount.free + 1 {
		fail(t, th, "alice", netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}))
	}
	require.NotZero(t, th.Wait(who("alice", there)))
	require.Zero(t, th.Wait(who("alice", here)))

	// Programs of all tenants come from loopback.
	th, _ = throttle()
	for i := range 100 {
		require.Zero(t, fail(t, th, fmt.Sprint("user", i), netip.MustParseAddr("127.0.0.1")))
	}
}

// Concurrent guesses are as slow as consecutive guesses, and users with the right password only queue.
func TestTogether(t *testing.T) {
	for _, outcome := range []Outcome{Failed, Succeeded, Undecided} {
		th, _ := throttle()
		var mu sync.Mutex
		var all sync.WaitGroup
		tried, most, now := 0, 0, 0
		for range 200 {
			all.Go(func() {
				wait, done, err := th.Try(t.Context(), who("alice", here))
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
		_, _, err := th.Try(t.Context(), who("alice", here))
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := th.Try(ctx, who("alice", here))
	require.ErrorIs(t, err, context.Canceled)
}

// Attempts run in order of arrival: a client that asks again and again does not delay others.
func TestTurns(t *testing.T) {
	th, _ := throttle()
	for i := range ofAccount.free - 1 { // Leaves a single attempt at a time.
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
				if _, done, err := th.Try(context.Background(), who("alice", netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}))); err == nil && done != nil {
					runtime.Gosched()
					done(Undecided)
				}
			}
		})
	}
	for range 20 {
		wait, done, err := th.Try(t.Context(), who("alice", here))
		require.NoError(t, err)
		require.Zero(t, wait)
		done(Undecided)
	}
	close(stop)
	busy.Wait()
	require.Empty(t, th.trying)
	require.Empty(t, th.waiting)
}

// T36: each account has a single spelling, each customer a single network, and the table is limited.
func TestT36_Keys(t *testing.T) {
	for _, name := range []string{"Alice@Example.com", " alice@example.com ", "ALICE@EXAMPLE.COM", "ａｌｉｃｅ@example.com", "alice@example.com\t"} {
		th, _ := throttle()
		for range ofBoth.free + 1 {
			fail(t, th, name, here)
		}
		require.NotZero(t, th.Wait(who("alice@example.com", here)), "%q", name)
	}
	th, _ := throttle()
	for i := range ofClient.free + 1 {
		fail(t, th, fmt.Sprint("u", i), netip.MustParseAddr(fmt.Sprintf("2001:db8:1:2::%x", i+1)))
	}
	require.NotZero(t, th.Wait(who("x", netip.MustParseAddr("2001:db8:1:2:ffff::1"))), "a customer has a network of IPv6")
	require.Zero(t, th.Wait(who("x", netip.MustParseAddr("2001:db8:1:3::1"))))
	for i := range ofClient.free + 1 {
		fail(t, th, fmt.Sprint("u", i), netip.MustParseAddr("::ffff:192.0.2.1"))
	}
	require.NotZero(t, th.Wait(who("x", here)), "IPv4 in IPv6 is IPv4")

	th, c := throttle()
	for i := range maxKeys + 100 {
		c.now = c.now.Add(lastOf())
		fail(t, th, strings.Repeat("x", 1000)+fmt.Sprint(i), there)
		fail(t, th, fmt.Sprint(i), netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	require.LessOrEqual(t, th.Size(), 2*maxKeys)
}

func lastOf() time.Duration { return max(ofBoth.most, ofClient.most) }

func TestSessions(t *testing.T) {
	s, c := NewSessions(), &clock{now: time.Unix(1_800_000_000, 0)}
	s.now = c.time
	secret, began := s.Begin(Session{Service: "cpanel", User: "alice", Account: "alice", UID: 1001})
	require.Regexp(t, `^cpsess\d{10}$`, began.Token)
	require.Len(t, secret, 52)
	found, ok := s.Find(secret, "cpanel", "")
	require.True(t, ok)
	require.True(t, found.Has(began.Token))
	require.False(t, found.Has("cpsess0000000000"))
	require.False(t, found.Has(""))
	_, ok = s.Find(secret, "whm", "")
	require.False(t, ok, "of another port")
	_, ok = s.Find("", "cpanel", "")
	require.False(t, ok)

	s.End(found)
	_, ok = s.Find(secret, "cpanel", "")
	require.False(t, ok, "after the end")

	secret, _ = s.Begin(Session{Service: "webmail", User: "user@example.com", Account: "alice"})
	s.EndAccount("alice")
	_, ok = s.Find(secret, "webmail", "")
	require.False(t, ok, "T7: it ends with its account")

	secret, _ = s.Begin(Session{Service: "cpanel", User: "alice", Account: "alice"})
	c.now = c.now.Add(idleTime + time.Second)
	_, ok = s.Find(secret, "cpanel", "")
	require.False(t, ok, "not used for long")

	secret, _ = s.Begin(Session{Service: "cpanel", User: "alice", Account: "alice"})
	for range int(longestTime/idleTime) + 1 {
		c.now = c.now.Add(idleTime)
		_, ok = s.Find(secret, "cpanel", "")
	}
	require.False(t, ok, "used for too long")

	first, _ := s.Begin(Session{Service: "cpanel", User: "bob", Account: "bob"})
	for range maxEach {
		c.now = c.now.Add(time.Second)
		s.Begin(Session{Service: "cpanel", User: "bob", Account: "bob"})
	}
	require.Equal(t, maxEach, s.Count())
	_, ok = s.Find(first, "cpanel", "")
	require.False(t, ok, "the one used longest ago made room")
}

// The first to arrive runs first, and a client that uses all its attempts does not delay others.
func TestOrder(t *testing.T) {
	th, _ := throttle()
	for range ofBoth.free {
		_, _, err := th.Try(t.Context(), who("alice", there))
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	sixth := make(chan error, 1)
	go func() {
		_, _, err := th.Try(ctx, who("alice", there))
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
	_, done, err := th.Try(t.Context(), who("alice", here))
	require.NoError(t, err, "another client's turn is its own")
	done(Succeeded)
	cancel()
	require.ErrorIs(t, <-sixth, context.Canceled)

	// An attempt that arrived earlier runs first if there is room for it.
	th, _ = throttle()
	queue := list.New()
	first := queue.PushBack(&waiter{keys: keysOf(who("alice", there)), look: make(chan struct{}, 1)})
	th.waiting[keysOf(who("alice", there)).account.name] = queue
	ctx, cancel = context.WithCancel(t.Context())
	go func() {
		_, _, err := th.Try(ctx, who("alice", here))
		sixth <- err
	}()
	require.Eventually(t, func() bool { return waiting() == 2 }, time.Minute, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-sixth, context.Canceled)
	th.mu.Lock()
	queue.Remove(first)
	th.mu.Unlock()
	_, _, err = th.Try(t.Context(), who("alice", here))
	require.NoError(t, err)
}

// T36: an entry with a waiting time is not evicted when the table fills. Names of no account do not displace
// existing names, and a client at a known address waits for neither.
func TestT36_AFullTableLetsNobodyGuess(t *testing.T) {
	th, c := throttle()
	_, done, err := th.Try(t.Context(), who("alice", here))
	require.NoError(t, err)
	done(Succeeded)
	local := func(name string, unknown bool) Who {
		w := who(name, netip.MustParseAddr("127.0.0.1"))
		w.Unknown = unknown
		return w
	}
	guess := func(w Who, o Outcome) (tried bool) {
		wait, done, err := th.Try(t.Context(), w)
		require.NoError(t, err)
		if wait > 0 {
			return false
		}
		done(o)
		return true
	}
	guesses := 0
	for range 300 { // For thirty seconds, with random names between them.
		if guess(local("alice", false), Failed) {
			guesses++
		}
		for i := range 100 {
			guess(local(fmt.Sprint("random", i, guesses), true), NoSuchName)
		}
		c.now = c.now.Add(100 * time.Millisecond)
	}
	require.LessOrEqual(t, guesses, ofMany.free+5, "a guess at once, then after 1, 2, 4 and more seconds")
	require.NotZero(t, th.Wait(local("alice", false)))
	require.Zero(t, th.Wait(who("alice", here)), "her own address")
	require.LessOrEqual(t, th.Size(), 2*maxKeys)
	require.LessOrEqual(t, len(th.binding.entries), 5)

	// If all entries have waiting times, other clients are not admitted. Alice still is.
	th, _ = throttle()
	require.True(t, guess(who("alice", here), Succeeded))
	for i := range maxKeys + 20 {
		w := Who{Service: "cpanel", Name: "bob", From: Client{Key: fmt.Sprint("net", i)}}
		for range ofBoth.free + 1 {
			th.binding.count(keysOf(w).both)
		}
	}
	require.Len(t, th.binding.entries, maxKeys)
	tried := 0
	for i := range 200 {
		if guess(Who{Service: "cpanel", Name: "carol", From: Client{Key: fmt.Sprint("other", i)}}, Failed) {
			tried++
		}
	}
	require.LessOrEqual(t, tried, ofAccount.free)
	require.True(t, guess(who("alice", here), Succeeded))
}

// T35: waiting times do not tell whether a name exists.
func TestT35_WaitsTellNothing(t *testing.T) {
	told := func(unknown bool) (out []time.Duration) {
		th, c := throttle()
		w := who("somebody", here)
		w.Unknown = unknown
		outcome := map[bool]Outcome{true: NoSuchName, false: Failed}[unknown]
		for i := range 40 {
			if i%3 == 0 { // Other clients try the name too.
				other := w
				other.From.Key = fmt.Sprint("net", i)
				if wait, done, _ := th.Try(t.Context(), other); wait == 0 {
					done(outcome)
				}
			}
			if wait, done, _ := th.Try(t.Context(), w); wait == 0 {
				done(outcome)
			}
			out = append(out, th.Hint(w))
			c.now = c.now.Add(7 * time.Second)
		}
		return out
	}
	require.Equal(t, told(false), told(true))
}

// A known address is forgotten after a day.
func TestT36_KnownEnds(t *testing.T) {
	th, c := throttle()
	_, done, err := th.Try(t.Context(), who("alice", here))
	require.NoError(t, err)
	done(Succeeded)
	attack := func() {
		for i := range ofAccount.free + 1 {
			fail(t, th, "alice", netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}))
		}
	}
	c.now = c.now.Add(knownFor - time.Minute)
	attack()
	require.Zero(t, th.Wait(who("alice", here)))
	c.now = c.now.Add(time.Minute)
	attack()
	require.NotZero(t, th.Wait(who("alice", here)))

	// An account has few known addresses: the latest ones.
	th, c = throttle()
	for i := range maxKnown + 10 {
		c.now = c.now.Add(time.Second)
		_, done, err := th.Try(t.Context(), who("alice", netip.AddrFrom4([4]byte{203, 0, byte(i), 1})))
		require.NoError(t, err)
		done(Succeeded)
	}
	require.Len(t, th.known[keysOf(who("alice", here)).account.name], maxKnown)
}

// T53: a session belongs to the client that signed in. It ends if its cookie comes from another client, or
// with several wrong tokens.
func TestT53_StolenCookies(t *testing.T) {
	s := NewSessions()
	secret, _ := s.Begin(Session{Service: "cpanel", User: "alice", Account: "alice", From: "192.0.2.1"})
	_, ok := s.Find(secret, "cpanel", "192.0.2.1")
	require.True(t, ok)
	_, ok = s.Find(secret, "cpanel", "loopback")
	require.False(t, ok)
	_, ok = s.Find(secret, "cpanel", "192.0.2.1")
	require.False(t, ok, "it has ended")

	secret, began := s.Begin(Session{Service: "cpanel", User: "alice", Account: "alice", From: "192.0.2.1"})
	for range maxWrong - 1 {
		s.Wrong(began)
	}
	_, ok = s.Find(secret, "cpanel", "192.0.2.1")
	require.True(t, ok)
	s.Wrong(began)
	_, ok = s.Find(secret, "cpanel", "192.0.2.1")
	require.False(t, ok)
}

// The sessions of an account, including its mailbox users, are limited: a new one replaces the longest
// unused. Other accounts lose nothing.
func TestSessionsOfAnAccount(t *testing.T) {
	s, c := NewSessions(), &clock{now: time.Unix(1_800_000_000, 0)}
	s.now = c.time
	bob, _ := s.Begin(Session{Service: "cpanel", User: "bob", Account: "bob"})
	var first string
	for i := range maxAccount + 10 {
		c.now = c.now.Add(time.Second)
		secret, _ := s.Begin(Session{Service: "webmail", User: fmt.Sprintf("box%d@a.example", i), Account: "alice"})
		if i == 0 {
			first = secret
		}
	}
	require.Equal(t, maxAccount+1, s.Count())
	_, ok := s.Find(first, "webmail", "")
	require.False(t, ok)
	_, ok = s.Find(bob, "cpanel", "")
	require.True(t, ok)
}
