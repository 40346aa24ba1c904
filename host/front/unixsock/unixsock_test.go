package unixsock_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/front/unixsock"
)

func TestServe(t *testing.T) {
	dir, err := os.MkdirTemp("", "lw")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	var allowed atomic.Bool
	s := unixsock.Server{
		Most: 1, Log: slog.New(slog.DiscardHandler),
		Allowed: func(uid int) bool { return uid == os.Geteuid() && allowed.Load() },
		Handle:  func(_ context.Context, c *net.UnixConn) { _, _ = io.Copy(c, c) },
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	dial := func() *net.UnixConn {
		c, err := net.Dial("unix", path)
		require.NoError(t, err)
		return c.(*net.UnixConn)
	}
	says := func(c net.Conn) string {
		_, _ = io.WriteString(c, "hello\n")
		line, _ := bufio.NewReader(c).ReadString('\n')
		return line
	}
	require.Empty(t, says(dial()), "who may not is cut off")
	allowed.Store(true)
	first := dial()
	cred, err := unixsock.Of(first)
	require.NoError(t, err)
	require.EqualValues(t, os.Getpid(), cred.Pid)
	require.Equal(t, "hello\n", says(first))
	second := dial() // It waits for the first connection's place.
	require.NoError(t, first.Close())
	require.Equal(t, "hello\n", says(second))
	cancel()
	require.NoError(t, <-done)
	require.Empty(t, says(second), "the end cuts off who is there")
}
