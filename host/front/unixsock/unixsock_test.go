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

// A socket that accepts connections has its mode already: a program that waits until root can connect finds that
// everybody for whom the socket is meant can.
func TestModeBeforeListening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for range 200 {
		done := make(chan *net.UnixListener, 1)
		go func() {
			l, err := unixsock.Listen(path, 0o666)
			if err != nil {
				t.Error(err)
			}
			done <- l
		}()
		for {
			conn, err := net.Dial("unix", path)
			if err != nil {
				continue
			}
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o666), info.Mode().Perm())
			require.NoError(t, conn.Close())
			break
		}
		l := <-done
		require.Equal(t, path, l.Addr().String())
		require.NoError(t, l.Close())
		require.NoFileExists(t, path)
	}
}
