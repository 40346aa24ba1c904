package unixsock_test

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/front/unixsock"
	"github.com/liveapid/liveapid/host/hosttest"
)

// The kernel names the user at the other end of a loopback connection, for IPv4 and IPv6.
func TestLocalUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("connecting as another user needs root")
	}
	users, err := unixsock.NewLocalUsers()
	require.NoError(t, err)
	defer func() { require.NoError(t, users.Close()) }()
	for _, host := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		require.NoError(t, err)
		defer func() { _ = l.Close() }()
		for _, uid := range []int{0, 20042} {
			client, err := hosttest.DialTCP(l.Addr().String(), "", uid)
			require.NoError(t, err)
			accepted, err := l.Accept()
			require.NoError(t, err)
			local := netip.MustParseAddrPort(accepted.LocalAddr().String())
			remote := netip.MustParseAddrPort(accepted.RemoteAddr().String())
			got, err := users.Of(local, remote)
			require.NoError(t, err)
			require.Equal(t, uid, got, host)
			_, err = users.Of(local, netip.AddrPortFrom(remote.Addr(), 1))
			require.ErrorIs(t, err, unixsock.ErrNotLocal)
			_ = client.Close() // A closed connection belongs to no user, not to root.
			_, err = users.Of(local, remote)
			require.ErrorIs(t, err, unixsock.ErrNotLocal)
			_ = accepted.Close()
		}
	}
}

func BenchmarkLocalUser(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer func() { _ = l.Close() }()
	client, err := net.Dial("tcp", l.Addr().String())
	require.NoError(b, err)
	defer func() { _ = client.Close() }()
	remote, local := netip.MustParseAddrPort(client.LocalAddr().String()), netip.MustParseAddrPort(l.Addr().String())
	users, err := unixsock.NewLocalUsers()
	require.NoError(b, err)
	defer func() { _ = users.Close() }()
	for b.Loop() {
		_, err := users.Of(local, remote)
		require.NoError(b, err)
	}
}
