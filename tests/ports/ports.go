// Package ports allocates TCP ports for tests, so that concurrent tests never use the same port. Only tests
// import the package.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is the maximum time that Wait waits for a server. It is so long that only a server that hangs can
// exceed it.
const patience = 2 * time.Minute

// The range of ports for tests, from first to end-1. The range lies below the ports that the kernel uses for
// outgoing connections, and does not contain the ports of a sandbox.
const (
	first = 20_000
	end   = 32_000
)

// Free returns a port of 127.0.0.1 on which nothing listens. No other test gets the port before this test has
// ended, so a server may start late, stop and start again.
func Free(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := first + rand.IntN(end-first)
		// Tests of different packages run in different processes, so the port is reserved through a lock that
		// all processes share: an abstract UNIX socket. Only one process of the machine can listen on its
		// name, and the kernel releases the name when that process exits.
		held, err := net.Listen("unix", fmt.Sprintf("@liveapid-test-port-%d", port))
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", Address(port))
		if err != nil {
			_ = held.Close()
			continue
		}
		_ = l.Close()
		t.Cleanup(func() { _ = held.Close() })
		return port
	}
	require.FailNow(t, "there is no free port")
	return 0
}

// Wait waits until a server accepts TCP connections on the given address. It fails the test if no server does
// so within patience.
func Wait(t testing.TB, address string) {
	t.Helper()
	WaitFor(t, address, nil)
}

// WaitFor is Wait for a server that the test started. It fails the test at once if the server has ended.
func WaitFor(t testing.TB, address string, ended <-chan struct{}) {
	t.Helper()
	over := false
	require.Eventually(t, func() bool {
		select {
		case <-ended:
			over = true
			return true
		default:
		}
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, patience, 10*time.Millisecond, "nobody listens at %s", address)
	require.False(t, over, "the server at %s ended", address)
}

// Address returns the address of a port on 127.0.0.1.
func Address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
