package control_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/front/control"
	"github.com/liveapid/liveapid/host/front/unixsock"
)

func TestControl(t *testing.T) {
	dir, err := os.MkdirTemp("", "lw")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "control.sock")
	_, err = control.Read(t.Context(), path)
	require.ErrorIs(t, err, os.ErrNotExist)
	l, err := unixsock.Listen(path, 0o600)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "its own user alone can open it")
	_, err = unixsock.Listen(path, 0o600)
	require.ErrorContains(t, err, "another host already listens")

	want := control.Status{
		PID: 7, Mode: "server", Started: time.Now().UTC().Round(time.Second), Sessions: 3, Usage: []control.Account{{Name: "alice", Calls: 2}},
		Plugins: []control.Plugin{{Name: "p", Workers: []control.Worker{{Account: "alice", PID: 8}}}},
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- control.Serve(ctx, l, control.Host{
			Status: func() control.Status { return want },
			Owner:  func(domain string) string { return map[string]string{"a.example": "alice", "x y&z": "odd"}[domain] },
		})
	}()
	got, err := control.Read(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, want, got)
	owners, err := control.Owners(t.Context(), path, append(slices.Repeat([]string{"none.example"}, 120), "a.example", "x y&z"))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a.example": "alice", "x y&z": "odd"}, owners)
	cancel()
	require.NoError(t, <-done)

	require.NoError(t, os.WriteFile(path, nil, 0o600))
	_, err = unixsock.Listen(path, 0o600)
	require.ErrorContains(t, err, "not a socket")
	require.NoError(t, os.Remove(path))
	_, err = unixsock.Listen(filepath.Join(dir, strings.Repeat("x", 120)), 0o600)
	require.ErrorContains(t, err, "at most 107 bytes")
}
