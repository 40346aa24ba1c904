package login

import (
	"fmt"
	"net/netip"
	"strings"
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

func TestBackOff(t *testing.T) {
	th, c := throttle()
	for range freeOfAccount {
		require.Zero(t, th.Wait("cpanel", "alice", here))
		th.Failed("cpanel", "alice", here)
	}
	require.Zero(t, th.Wait("cpanel", "alice", here))
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
		th.Failed("cpanel", "alice", netip.MustParseAddr("203.0.113.9"))
		require.Equal(t, want*time.Second, th.Wait("cpanel", "alice", there), "the account waits, wherever it is tried from")
		c.now = c.now.Add(want * time.Second)
		require.Zero(t, th.Wait("cpanel", "alice", there))
	}
	require.Zero(t, th.Wait("cpanel", "bob", there))
	require.Zero(t, th.Wait("whm", "alice", there), "each port has its own")
	th.Succeeded("cpanel", "alice")
	th.Failed("cpanel", "alice", there)
	require.Zero(t, th.Wait("cpanel", "alice", there))

	// A source that tries one name after another waits, too, and not for its own success.
	th, c = throttle()
	for i := range freeOfSource + 1 {
		th.Failed("cpanel", fmt.Sprint("user", i), here)
	}
	require.Equal(t, time.Second, th.Wait("cpanel", "somebody", here))
	th.Succeeded("cpanel", "user1")
	require.Equal(t, time.Second, th.Wait("cpanel", "somebody", here))
	require.Zero(t, th.Wait("cpanel", "somebody", there))
	c.now = c.now.Add(forgetAfter + time.Second)
	th.Failed("cpanel", "somebody", here)
	require.Zero(t, th.Wait("cpanel", "somebody", here), "what was an hour ago is forgotten")
}

// T36: one spelling for each account, one network for each customer, and a bounded table.
func TestT36_Keys(t *testing.T) {
	for _, name := range []string{"Alice@Example.com", " alice@example.com ", "ALICE@EXAMPLE.COM", "ａｌｉｃｅ@example.com", "alice@example.com\t"} {
		th, _ := throttle()
		for range freeOfAccount + 1 {
			th.Failed("webmail", name, here)
		}
		require.NotZero(t, th.Wait("webmail", "alice@example.com", there), "%q", name)
	}
	th, _ := throttle()
	for i := range freeOfSource + 1 {
		th.Failed("cpanel", fmt.Sprint("u", i), netip.MustParseAddr(fmt.Sprintf("2001:db8:1:2::%x", i+1)))
	}
	require.NotZero(t, th.Wait("cpanel", "x", netip.MustParseAddr("2001:db8:1:2:ffff::1")), "a customer has a network of IPv6")
	require.Zero(t, th.Wait("cpanel", "x", netip.MustParseAddr("2001:db8:1:3::1")))
	for range freeOfSource + 1 {
		th.Failed("cpanel", "y", netip.MustParseAddr("::ffff:192.0.2.1"))
	}
	require.NotZero(t, th.Wait("cpanel", "x", here), "IPv4 in IPv6 is IPv4")

	th, _ = throttle()
	for i := range maxKeys + 100 {
		th.Failed("cpanel", strings.Repeat("x", 1000)+fmt.Sprint(i), here)
		th.Failed("cpanel", fmt.Sprint(i), here)
	}
	require.LessOrEqual(t, th.Size(), maxKeys)
}

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
