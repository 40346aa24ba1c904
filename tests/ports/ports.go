// Package ports gives tests TCP ports of their own. It is imported by tests alone.
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

// patience bounds a wait. It decides no verdict but that of a hang.
const patience = 2 * time.Minute

// Below the ports that the kernel gives to whoever connects, and beside those of a sandbox.
const (
	first = 20_000
	end   = 32_000
)

// Free returns a port of 127.0.0.1 that nobody listens on, and that no other test gets before
// this one has ended: whoever is to listen may take its time, and stop and start again.
func Free(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := first + rand.IntN(end-first)
		// Other tests are other processes, too: an abstract socket's name is the machine's, and ends
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

// Wait waits until somebody listens at an address.
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

// Address is a port's, on 127.0.0.1.
func Address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
