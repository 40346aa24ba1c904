package https

import (
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// T50: all programs of this machine are a single client, and so is an IPv6 network of a customer.
func TestT50_Clients(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1": loopback, "127.255.3.4": loopback, "::1": loopback, "::ffff:127.0.0.2": loopback,
		"192.0.2.1": "net 192.0.2.1", "::ffff:192.0.2.1": "net 192.0.2.1", "2001:db8::1": "net 2001:db8::/64", "2001:db8::ffff:1": "net 2001:db8::/64", "2001:db8:0:1::1": "net 2001:db8:0:1::/64",
	} {
		require.Equal(t, want, clientOf(netip.MustParseAddr(address)), address)
	}
}

// T50: if all connections are in use, a new one replaces the longest idle connection. Signed-in connections
// are replaced after strangers'.
func TestT50_Listener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	f := New(Options{Connections: 6, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}) // Three for each client.
	l := f.Listener(inner, nil)
	open := func() (client, server net.Conn) {
		client, err := net.Dial("tcp", inner.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = client.Close() })
		server, err = l.Accept()
		require.NoError(t, err)
		return client, server
	}
	closed := func(c net.Conn) bool {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
		_, err := c.Read(make([]byte, 1))
		return err == io.EOF || err != nil && !err.(net.Error).Timeout()
	}
	known, knownServer := open()
	require.NoError(t, connOf(knownServer).place.Trust("alice"))
	first, firstServer := open()
	_, secondServer := open()
	connOf(secondServer).place.Pin()
	third, thirdServer := open()
	_, fourthServer := open()
	require.True(t, closed(first), "the oldest stranger")
	_ = firstServer.Close()
	_ = firstServer.Close() // Closing twice is allowed.
	_, fifthServer := open()
	require.True(t, closed(third), "the second has a request under way")
	_ = thirdServer.Close()
	require.NoError(t, known.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
	_, err = known.Read(make([]byte, 1))
	require.ErrorContains(t, err, "timeout", "it is still there")
	for _, c := range []net.Conn{knownServer, secondServer, fourthServer, fifthServer} {
		require.NoError(t, c.Close())
	}
	require.Zero(t, f.places.Held())
	require.NoError(t, l.Close())
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}
