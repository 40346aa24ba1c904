// Package ports gives tests TCP ports of their own. Only tests import it.
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

// patience limits a wait. Only a hang reaches it.
const patience = 2 * time.Minute

// Below the kernel's ports for outgoing connections, and different from a sandbox's.
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
		// Other tests are in other processes: the name of an abstract socket belongs to the machine, and ends
		// with its process.
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

// Wait waits until a server listens on an address.
func Wait(t testing.TB, address string) {
	t.Helper()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, patience, 10*time.Millisecond, "nobody listens at %s", address)
}

// Address returns the address of a port on 127.0.0.1.
func Address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
