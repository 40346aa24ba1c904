package attack

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/front/control"
	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/protocol/wire"
)

// maxHost limits the host's resident memory in all attacks, in bytes.
const maxHost = 128 << 20

// resident returns a process's resident memory in bytes.
func resident(t testing.TB, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		var kib int
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// victim makes calls as an account, one after the other, and returns their durations. Every call must
// succeed.
func victim(t testing.TB, w *hosttest.World, uid, calls int) []time.Duration {
	t.Helper()
	var took []time.Duration
	for range calls {
		start := time.Now()
		c := w.DialUID(t, uid)
		require.Contains(t, c.Call("uapi", "Email", "list_pops", `{}`), `"status":1`)
		require.NoError(t, c.Close())
		took = append(took, time.Since(start))
	}
	return took
}

// report prints the durations of another account's calls before and during an attack, and checks the host's
// memory.
func report(t testing.TB, h *hosttest.Host, before, after []time.Duration) {
	t.Helper()
	size := resident(t, h.Process.Pid)
	t.Logf("median %s before, %s in the attack; host %d MiB", median(before), median(after), size>>20)
	require.Less(t, size, maxHost)
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// flood opens many connections as a user, and runs do for each until the test ends.
func flood(t testing.TB, w *hosttest.World, uid, connections int, do func(net.Conn)) (stop func()) {
	t.Helper()
	var all sync.WaitGroup
	var conns []net.Conn
	for range connections {
		conn, err := w.TryUID(uid)
		require.NoError(t, err)
		conns = append(conns, conn)
		all.Go(func() { do(conn) })
	}
	stop = sync.OnceFunc(func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
		all.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// raiseFiles raises the limit of open files for this test.
func raiseFiles(t testing.TB) {
	t.Helper()
	var l unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &l))
	l.Cur = l.Max
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &l))
}

// uids returns the uids of many tenants.
func uids(first, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = first + i
	}
	return out
}

// T50: sixteen tenants that fill all sessions keep no other account out: their longest idle sessions are
// closed.
func TestT50_IdleSessions(t *testing.T) {
	raiseFiles(t)
	tenants := uids(20100, 16)
	w := hosttest.Server(t, append(tenants, alice)...)
	h := w.Serve(t)
	before := victim(t, w, alice, 30)
	for _, uid := range tenants {
		idleSessions(t, w, uid, 256)
	}
	require.Eventually(t, func() bool {
		s, err := control.Read(t.Context(), filepath.Join(w.Dir, "run", "control.sock"))
		return err == nil && s.Sessions == 4096
	}, hosttest.Patience, hosttest.Tick)
	after := victim(t, w, alice, 60)
	report(t, h, before, after)
	require.Contains(t, h.Log.String(), "closed an idle session to make room")
}

// T50, R14: frames that are announced and not sent, or half sent, exhaust neither the host's memory nor the
// sessions of others.
func TestT50_HalfFrames(t *testing.T) {
	raiseFiles(t)
	tenants := uids(20120, 3)
	w := hosttest.Server(t, append(tenants, alice)...)
	h := w.Serve(t)
	before := victim(t, w, alice, 30)
	for _, uid := range tenants {
		halfFrames(t, w, uid, 256)
	}
	after := victim(t, w, alice, 60)
	// A large frame of Alice is accepted too.
	c := w.DialUID(t, alice)
	require.Contains(t, c.Call("uapi", "Email", "list_pops", `{"regex":"`+strings.Repeat("x", 800)+`","other":"`+strings.Repeat("y", 900_000)+`"}`), `"status":1`)
	report(t, h, before, after)
}

// T51: a tag has at most 16 KiB. A longer tag costs only its reading.
func TestT51_LargeTags(t *testing.T) {
	raiseFiles(t)
	w := hosttest.Server(t, mallory, alice)
	h := w.Serve(t)
	c := w.DialUID(t, mallory)
	c.Send("<cpanel print=\"" + strings.Repeat(" ", 16<<10+1-17) + "\">")
	require.Contains(t, c.Answer(), "at most 16384 are accepted")
	before := victim(t, w, alice, 30)
	largeTags(t, w, mallory, 200)
	after := victim(t, w, alice, 60)
	report(t, h, before, after)
}

// T50: pipelined calls with unread answers are limited by their bytes and by the account's calls until the
// answers are written.
func TestT50_Pipelining(t *testing.T) {
	raiseFiles(t)
	w := hosttest.Server(t, mallory, alice)
	h := w.Serve(t)
	fill(t, w, mallory, 2000)
	before := victim(t, w, alice, 30)
	pipelining(t, w, mallory, 100)
	after := victim(t, w, alice, 60)
	report(t, h, before, after)
}

// idleSessions opens sessions that send nothing.
func idleSessions(t testing.TB, w *hosttest.World, uid, n int) {
	flood(t, w, uid, n, func(conn net.Conn) {
		_, _ = conn.Write(wire.AppendFrame(nil, []byte(wire.EnableJSON)))
		_, _ = io.Copy(io.Discard, conn)
	})
}

// halfFrames opens sessions with frames of 1 MiB that never end.
func halfFrames(t testing.TB, w *hosttest.World, uid, n int) {
	half := []byte("1048576\n<cpanelaction>{\"a\":\"" + strings.Repeat("x", 1<<20-1000))
	flood(t, w, uid, n, func(conn net.Conn) {
		_, _ = conn.Write(half)
		_, _ = io.Copy(io.Discard, conn)
	})
}

// largeTags keeps sending tags of 1 MiB.
func largeTags(t testing.TB, w *hosttest.World, uid, n int) {
	var frames []string
	for _, tag := range []string{"<cpanel Email=\"f(" + strings.Repeat("((((", 1<<18-30) + ")\">", "<?cp Email::f(" + strings.Repeat("a,", 1<<19-30) + ") ?>", "<cpanelif " + strings.Repeat("1+", 1<<19-30) + "1>"} {
		frames = append(frames, fmt.Sprintf("%d\n%s", len(tag), tag))
	}
	flood(t, w, uid, n, func(conn net.Conn) {
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		for i := 0; ; i++ {
			if _, err := io.WriteString(conn, frames[i%len(frames)]); err != nil {
				return
			}
		}
	})
}

// pipelining sends calls in MessagePack and reads no answers.
func pipelining(t testing.TB, w *hosttest.World, uid, n int) {
	large, small := packed(t, map[string]any{"email": strings.Repeat("x", 100_000)}), packed(t, map[string]any{})
	flood(t, w, uid, n, func(conn net.Conn) {
		if _, err := conn.Write(wire.AppendFrame(nil, []byte(wire.EnableMessagePack))); err != nil {
			return
		}
		for i := range 200 {
			frame := large
			if i%2 == 0 {
				frame = small
			}
			if _, err := conn.Write(frame); err != nil {
				return
			}
		}
	})
}

// T50: a user that connects and disconnects without pause does not fill the queue in which others wait.
func TestT50_ManyConnections(t *testing.T) {
	raiseFiles(t)
	w := hosttest.Server(t, mallory, alice)
	h := w.Serve(t)
	before := victim(t, w, alice, 30)
	many(t, 20, func(done <-chan struct{}, begun func()) {
		for {
			select {
			case <-done:
				return
			default:
			}
			if conn, err := w.TryUID(mallory); err == nil {
				_, _ = io.WriteString(conn, "9")
				_ = conn.Close()
			}
			begun()
		}
	})
	require.Eventually(t, func() bool { return strings.Contains(h.Log.String(), "too many connections of the user") }, hosttest.Patience, hosttest.Tick)
	report(t, h, before, victim(t, w, alice, 60))
}
