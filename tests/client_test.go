package tests

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/client"
	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/protocol"
)

func verifyCall(password string) protocol.Call {
	return protocol.Call{API: protocol.UAPI, Module: "Email", Func: "verify_password", Args: protocol.Args{Named: map[string]any{
		"email": "user@example.com", "password": password,
	}}}
}

// The Go client in both encodings, over a socket and over pipes.
func TestClient(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	ctx, cancel := context.WithTimeout(t.Context(), hosttest.Patience)
	defer cancel()
	_, err := client.Dial(ctx, w.Socket)
	require.ErrorIs(t, err, client.ErrNoHost)
	w.Start(t)
	for name, open := range map[string]func() (*client.Client, error){
		"socket": func() (*client.Client, error) { return client.Dial(ctx, w.Socket) },
		"stdio": func() (*client.Client, error) {
			return client.Spawn(ctx, hosttest.Bin(t, "liveapid"), w.Config, os.Stderr)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := open()
			require.NoError(t, err)
			answer, err := c.Call(ctx, passwdPop("user", "by JSON "+name))
			require.NoError(t, err)
			changed, _ := outcome(t, answer)
			require.True(t, changed)
			require.NoError(t, c.Close())
			_, err = c.Call(ctx, passwdPop("user", "x"))
			require.Error(t, err)

			c, err = open()
			require.NoError(t, err)
			p, err := c.Packed(ctx)
			require.NoError(t, err)
			var all sync.WaitGroup
			for i := range 40 { // Concurrently, in a session.
				all.Go(func() {
					want, password := uint64(0), fmt.Sprint("wrong ", i)
					if i%2 == 0 {
						want, password = 1, "by JSON "+name
					}
					envelope, err := p.Call(ctx, verifyCall(password))
					if err != nil || fmt.Sprint(envelope["result"].(map[string]any)["data"]) != fmt.Sprint(want) {
						t.Errorf("%d: %v %v", i, envelope, err)
					}
				})
			}
			all.Wait()
			// Bytes that are not text are rejected by the module, not by the protocol.
			envelope, err := p.Call(ctx, protocol.Call{API: protocol.UAPI, Module: "Email", Func: "passwd_pop", Args: protocol.Args{Named: map[string]any{"email": "user", "password": "a\xff"}}})
			require.NoError(t, err)
			require.Equal(t, []any{"The password contains invalid characters."}, envelope["result"].(map[string]any)["errors"])
			envelope, err = p.Call(ctx, protocol.Call{API: protocol.API1, Module: "print", Func: "print", Args: protocol.Args{Positional: []any{"$user"}}})
			require.NoError(t, err)
			require.Equal(t, "demo", envelope["data"].(map[string]any)["result"])
			gone, leave := context.WithCancel(ctx)
			leave()
			unlock := w.LockStore(t) // The call can't be answered before its caller gives up.
			_, err = p.Call(gone, passwdPop("user", "x"))
			require.ErrorIs(t, err, client.ErrOutcomeUnknown)
			unlock()
			_, err = p.Call(ctx, verifyCall("x"))
			require.NoError(t, err, "one who leaves harms nobody")
			require.NoError(t, p.Close())
			_, err = p.Call(ctx, verifyCall("x"))
			require.ErrorContains(t, err, "closed")
		})
	}
}

// If the host ends, each call gets an answer or an error. If the host rejects a session, the error has the
// reason.
func TestClientOfAHostThatEnds(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	h := w.Serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), hosttest.Patience)
	defer cancel()
	c, err := client.Dial(ctx, w.Socket)
	require.NoError(t, err)
	p, err := c.Packed(ctx)
	require.NoError(t, err)
	var all sync.WaitGroup
	results := make(chan error, 50)
	for i := range 50 {
		all.Go(func() {
			_, err := p.Call(ctx, passwdPop("user", fmt.Sprint("N3w ", i)))
			results <- err
		})
	}
	require.NoError(t, h.Process.Kill())
	all.Wait()
	close(results)
	for err := range results {
		require.True(t, err == nil || errors.Is(err, client.ErrOutcomeUnknown) || ctx.Err() == nil, "%v", err)
	}

	// Another host, without MessagePack.
	socket := filepath.Join(w.Dir, "other.sock")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		buf := make([]byte, 4096)
		for _, answer := range []string{`{"data":{"result":"json"}}`, `{"data":{"result":0},"error":"Unknown API request"}`, `{"cpanelresult":{"data":[]}}`} {
			_, _ = conn.Read(buf)
			_, _ = fmt.Fprintf(conn, "<?xml version=\"1.0\" ?>\n<cpanelresult>%s</cpanelresult>\n", answer)
		}
	}()
	c, err = client.Dial(ctx, socket)
	require.NoError(t, err)
	_, err = c.Packed(ctx)
	require.ErrorIs(t, err, client.ErrNotPacked)
	answer, err := c.Call(ctx, passwdPop("user", "x"))
	require.NoError(t, err)
	require.Equal(t, `{"cpanelresult":{"data":[]}}`, string(answer))
}
