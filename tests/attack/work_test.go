package attack

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/protocol/wire"
)

// cpuTime returns the processor time that a process has used.
func cpuTime(t testing.TB, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var user, system int64
	_, err = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	require.NoError(t, err)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// T51: work that a caller chooses is limited, pauses, and ends at its deadline: sixteen patterns with nested
// repeats on 3,000 records, from many sessions.
func TestT51_Patterns(t *testing.T) {
	w := hosttest.Server(t, mallory, alice)
	w.Limits(t, "call = \"5s\"")
	h := w.Serve(t)
	fill(t, w, mallory, 3000)
	before := victim(t, w, alice, 30)
	answered := patterns(t, w, mallory, 16)
	wait(t, answered, 20) // So at least one session has been answered twice.
	after := victim(t, w, alice, 60)
	requireModest(t, h, answered, "the host computes on half of a processor for callers")
	report(t, h, before, after)

	// SIGTERM ends the host in time, whatever it computes.
	require.NoError(t, h.Process.Signal(syscall.SIGTERM))
	require.NoError(t, h.Wait(t))
}

// T50: rejected requests use processor time for parsing too: calls with very many names.
func TestT50_ManyNames(t *testing.T) {
	w := hosttest.Server(t, mallory, alice)
	h := w.Serve(t)
	before := victim(t, w, alice, 30)
	var args strings.Builder
	for i := range 19_000 {
		_, _ = fmt.Fprintf(&args, `,"name%d":""`, i)
	}
	answered := again(t, w, mallory, 16, wire.AppendFrame(nil, []byte(hosttest.Action("uapi", "Email", "no_such_function", "{"+args.String()[1:]+"}"))))
	wait(t, answered, 80) // It may use more for a moment.
	after := victim(t, w, alice, 60)
	requireModest(t, h, answered, "an account has half of a processor for reading")
	report(t, h, before, after)
}

// T51: the same holds for texts with variables, because their values are much longer.
func TestT51_Variables(t *testing.T) {
	w := hosttest.Server(t, mallory)
	w.Serve(t)
	c := w.DialUID(t, mallory)
	long := strings.Repeat("$homedir", 1<<17-100)
	require.Contains(t, c.Ask(hosttest.Action("1", "print", "", `"`+long+`"`)), "at most 16384 are accepted")
	require.Contains(t, c.Ask(hosttest.Action("1", "print", "", `"$homedir"`)), w.Home(mallory))
}

// patterns keeps asking for a list with sixteen patterns with nested repeats. The returned channel receives a
// value for each answer.
func patterns(t testing.TB, w *hosttest.World, uid, n int) <-chan struct{} {
	args := map[string]string{}
	for i := range 16 {
		args[fmt.Sprintf("api.filter_column_%d", i)], args[fmt.Sprintf("api.filter_type_%d", i)] = "*", "matches"
		args[fmt.Sprintf("api.filter_term_%d", i)] = "^" + strings.Repeat("(.*.*.*)", 20) + strings.Repeat("x?", 300)
	}
	text, err := json.Marshal(args)
	require.NoError(t, err)
	frame := wire.AppendFrame(nil, []byte(hosttest.Action("uapi", "Email", "list_pops", string(text))))
	return again(t, w, uid, n, frame)
}

// wait waits for n answers.
func wait(t testing.TB, answered <-chan struct{}, n int) {
	t.Helper()
	for range n {
		select {
		case <-answered:
		case <-time.After(hosttest.Patience):
			t.Fatal("no answer")
		}
	}
}

// requireModest waits until the host uses less than a processor. Other programs on a busy machine can make a
// single measurement too high, but without the limit every measurement is.
func requireModest(t testing.TB, h *hosttest.Host, answered <-chan struct{}, message string) {
	t.Helper()
	const attempts = 5
	for range attempts {
		if burned(t, h, answered) < 1 {
			return
		}
	}
	require.Fail(t, "the host uses too many processors", message)
}

// burned returns the number of processors that the host uses while twenty more answers arrive.
func burned(t testing.TB, h *hosttest.Host, answered <-chan struct{}) float64 {
	t.Helper()
	for len(answered) > 0 { // Skips earlier answers.
		<-answered
	}
	start, used := time.Now(), cpuTime(t, h.Process.Pid)
	wait(t, answered, 20)
	processors := float64(cpuTime(t, h.Process.Pid)-used) / float64(time.Since(start))
	t.Logf("%.2f processors", processors)
	return processors
}

// again keeps sending a frame over n sessions. The returned channel receives a value for each answer.
func again(t testing.TB, w *hosttest.World, uid, n int, frame []byte) <-chan struct{} {
	answered := make(chan struct{}, 100_000)
	flood(t, w, uid, n, func(conn net.Conn) {
		for {
			if _, err := conn.Write(frame); err != nil {
				return
			}
			n, err := conn.Read(make([]byte, 64<<10))
			if err != nil || n == 0 {
				return
			}
			answered <- struct{}{}
		}
	})
	return answered
}
