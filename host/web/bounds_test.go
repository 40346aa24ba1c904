package web

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// One client takes a part of what may be under way, loopback more of it, and all together no more than
// all; who leaves makes room.
func TestCounter(t *testing.T) {
	var c counter
	b := bounds{all: 5, each: 2, local: 3}
	one, two, local := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("127.0.0.1")
	for _, tt := range []struct {
		from netip.Addr
		ok   bool
	}{
		{one, true}, {one, true}, {one, false}, {netip.MustParseAddr("::ffff:192.0.2.1"), false},
		{local, true}, {local, true}, {local, true}, {local, false},
		{two, false}, // All are taken.
	} {
		require.Equal(t, tt.ok, c.enter(b, tt.from), tt.from)
	}
	c.leave(one)
	require.True(t, c.enter(b, two))
	c.leave(one)
	require.True(t, c.enter(b, netip.MustParseAddr("2001:db8::2")))
	c.leave(local)
	require.False(t, c.enter(b, netip.MustParseAddr("2001:db8::3")), "one customer's network is one client")
	for _, from := range []netip.Addr{two, two, local, local} {
		c.leave(from)
	}
	require.Zero(t, c.all)
	require.Empty(t, c.each)
}

// A connection too many is closed, and the next that is let in is served.
func TestBoundedListener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &bounded{Listener: inner, slots: make(chan struct{}, 2), each: make(map[string]int)}
	accepted := make(chan net.Conn, 10)
	go func() {
		defer close(accepted)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", inner.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	dial()
	first := <-accepted
	dial()
	second := <-accepted
	_, err = dial().Read(make([]byte, 1))
	require.Error(t, err, "the third is closed")
	require.Empty(t, accepted)
	require.NoError(t, first.Close())
	_ = first.Close() // Twice is once.
	dial()
	third := <-accepted
	_, err = dial().Read(make([]byte, 1))
	require.Error(t, err)
	require.NoError(t, second.Close())
	require.NoError(t, third.Close())
	require.NoError(t, inner.Close())
	for range accepted {
		t.Error("a connection too many")
	}
	require.Empty(t, l.each)
}
