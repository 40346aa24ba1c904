//go:build soak

package soak

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/front/control"
	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/protocol/wire"
)

// scale divides the amounts by SOAK_SCALE, for a quick run.
func scale(n int) int {
	if by, err := strconv.Atoi(os.Getenv("SOAK_SCALE")); err == nil && by > 0 {
		return max(1, n/by)
	}
	return n
}

// memory returns a process's resident memory in bytes; descriptors returns its number of open files.
func memory(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	require.NoError(t, err)
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	require.NoError(t, err)
	return pages * int64(os.Getpagesize())
}

func descriptors(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	require.NoError(t, err)
	return len(entries)
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func limits(t *testing.T) {
	t.Helper()
	var l syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l))
	l.Cur = l.Max
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l))
	require.GreaterOrEqual(t, l.Max, uint64(scale(10_000)+1000), "descriptors: raise the limit (ulimit -Hn)")
}

func status(t *testing.T, w *hosttest.World) control.Status {
	t.Helper()
	s, err := control.Read(t.Context(), filepath.Join(w.Dir, "run", "control.sock"))
	require.NoError(t, err)
	return s
}

// R14: 10,000 idle sessions.
func TestR14_IdleSessions(t *testing.T) {
	limits(t)
	w := hosttest.Server(t, 20001)
	n := scale(10_000)
	w.Limits(t, fmt.Sprintf("sessions = %d\naccount_sessions = %d", n+10, n+10))
	h := w.Serve(t)
	require.Contains(t, w.DialUID(t, 20001).Call("uapi", "Email", "count_pops", `{}`), `"data":1`)
	before := memory(t, h.Process.Pid)
	start := time.Now()
	conns := make([]net.Conn, n)
	for i := range conns {
		conn, err := w.TryUID(20001)
		require.NoError(t, err)
		conns[i] = conn
		if i%2 == 1 { // Every second session has sent part of a frame.
			_, err = io.WriteString(conn, "1000\n<cpanelaction")
			require.NoError(t, err)
		}
	}
	require.Eventually(t, func() bool { return status(t, w).Sessions >= n }, hosttest.Patience, hosttest.Tick)
	held := memory(t, h.Process.Pid) - before
	t.Logf("%d sessions in %s: %s, %d bytes each", n, time.Since(start).Round(time.Millisecond), mib(held), held/int64(n))
	require.Less(t, held/int64(n), int64(64<<10))
	began := time.Now()
	require.Contains(t, w.DialUID(t, 20001).Call("uapi", "Email", "count_pops", `{}`), `"data":1`)
	t.Logf("a call beside them: %s", time.Since(began).Round(time.Microsecond))
	for _, conn := range conns {
		_ = conn.Close()
	}
	require.Eventually(t, func() bool { return status(t, w).Sessions <= 2 && descriptors(t, h.Process.Pid) < 100 }, hosttest.Patience, hosttest.Tick)
}

// 1,000 accounts make a call each, with at most 100 workers.
func TestManyAccounts(t *testing.T) {
	limits(t)
	n := scale(1000)
	uids := make([]int, n)
	for i := range uids {
		uids[i] = 21_000 + i
	}
	w := hosttest.Server(t, uids...)
	w.Limits(t, "workers = 100")
	h := w.Serve(t)
	before := memory(t, h.Process.Pid)
	start := time.Now()
	var all sync.WaitGroup
	next := make(chan int)
	var failed atomic.Int64
	for range 4 {
		all.Go(func() {
			for uid := range next {
				answer := w.DialUID(t, uid).Call("uapi", "Email", "passwd_pop", `{"email":"user","password":"of each account"}`)
				if !strings.Contains(answer, `"status":1`) {
					failed.Add(1)
					t.Log(answer)
				}
			}
		})
	}
	for _, uid := range uids {
		next <- uid
	}
	close(next)
	all.Wait()
	took := time.Since(start)
	s := status(t, w)
	t.Logf("%d accounts in %s, %.1f ms each; %d workers at the end; the host grew by %s", n, took.Round(time.Millisecond),
		float64(took.Milliseconds())/float64(n), s.Workers, mib(memory(t, h.Process.Pid)-before))
	require.Zero(t, failed.Load())
	require.LessOrEqual(t, s.Workers, 100)
}

// R21: after a million frames, most of them invalid, the memory is not larger.
func TestR21_AMillionFrames(t *testing.T) {
	w := hosttest.Server(t, 20001)
	w.Limits(t, "account_rate = -1")
	h := w.Serve(t)
	n := scale(1_000_000)
	var sent atomic.Int64
	var after []int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 7))
			for sent.Load() < int64(n) {
				session(t, w, r, &sent, int64(n))
			}
		})
	}
	for step := 1; step <= 10; step++ {
		want := int64(n) * int64(step) / 10
		require.Eventually(t, func() bool { return sent.Load() >= want }, time.Hour, hosttest.Tick)
		after = append(after, memory(t, h.Process.Pid))
	}
	all.Wait()
	require.Eventually(t, func() bool { return status(t, w).Sessions == 0 }, hosttest.Patience, hosttest.Tick)
	t.Logf("%d frames; the host's memory at each tenth: %v; %d descriptors", sent.Load(), mibs(after), descriptors(t, h.Process.Pid))
	require.Less(t, after[9], after[2]+after[2]/4, "it does not grow")
	require.Contains(t, w.DialUID(t, 20001).Call("uapi", "Email", "count_pops", `{}`), `"data":1`)
	require.NotContains(t, h.Log.String(), "panic")
}

func mibs(all []int64) (out []string) {
	for _, n := range all {
		out = append(out, mib(n))
	}
	return out
}

// session sends frames until the host ends the session, as it does after an invalid length.
func session(t *testing.T, w *hosttest.World, r *rand.Rand, sent *atomic.Int64, most int64) {
	conn, err := w.TryUID(20001)
	if err != nil {
		t.Error(err)
		sent.Store(most)
		return
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(hosttest.Patience))
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	good := wire.AppendFrame(nil, []byte(hosttest.Action("uapi", "Email", "count_pops", `{"x":[1,2,{"y":"z"}]}`)))
	for range 500 {
		frame := append([]byte(nil), good...)
		switch r.IntN(12) {
		case 0: // Sometimes a valid call.
		case 1, 2, 3: // Invalid content with a valid length.
			for range 1 + r.IntN(8) {
				frame[5+r.IntN(len(frame)-5)] = byte(r.IntN(256))
			}
		case 4, 5, 6: // Shorter.
			frame = wire.AppendFrame(nil, frame[5:5+r.IntN(len(frame)-5)])
		case 7, 8: // Random bytes.
			noise := make([]byte, r.IntN(300))
			for i := range noise {
				noise[i] = byte(r.IntN(256))
			}
			frame = wire.AppendFrame(nil, noise)
		case 9, 10:
			frame = wire.AppendFrame(nil, []byte(`<cpaneljson enable="1">`))
		case 11: // Invalid lengths end the session.
			if r.IntN(40) == 0 {
				frame = []byte("99999999999999\n")
			}
		}
		if _, err := conn.Write(frame); err != nil || sent.Add(1) >= most {
			return
		}
	}
}

// R9, R5: workers, and sometimes the host, are killed for a minute while 16 clients change passwords. Every
// call gets exactly one answer, and no acknowledged change is lost.
func TestR09_KilledForAMinute(t *testing.T) {
	uids := []int{20021, 20022, 20023, 20024}
	w := hosttest.Server(t, uids...)
	w.Limits(t, "account_rate = -1")
	h := w.Serve(t)
	var host atomic.Pointer[os.Process]
	host.Store(h.Process)
	var answered, clear, cut, kills atomic.Int64
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range 16 {
		uid := uids[i%4]
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				status, text, err := change(w, uid, fmt.Sprintf("N3w %d %d", i, n))
				switch {
				case err != nil:
					cut.Add(1) // The host was killed.
				case status == 1:
					answered.Add(1)
				case strings.Contains(text, "not known"), strings.Contains(text, "othing was changed"):
					clear.Add(1)
				default:
					t.Errorf("an unclear answer: %s", text)
				}
			}
		})
	}
	for end := time.Now().Add(time.Duration(scale(60)) * time.Second); time.Now().Before(end); {
		if rand.IntN(100) == 0 {
			_ = h.Process.Kill()
			_ = h.Wait(t)
			h = w.Serve(t)
			host.Store(h.Process)
		}
		for _, p := range status(t, w).Plugins {
			for _, worker := range p.Workers {
				if worker.PID > 0 && rand.IntN(3) == 0 {
					_ = syscall.Kill(worker.PID, syscall.SIGKILL)
					kills.Add(1)
				}
			}
		}
		<-time.After(rand.N(60 * time.Millisecond)) // The kills come at random times. Nothing is waited for.
	}
	close(stop)
	all.Wait()
	t.Logf("%d changes, %d clear errors, %d sessions cut by the host's end, %d workers killed", answered.Load(), clear.Load(), cut.Load(), kills.Load())
	for _, uid := range uids {
		require.Eventually(t, func() bool {
			status, _, err := change(w, uid, "the end")
			return err == nil && status == 1
		}, hosttest.Patience, 100*time.Millisecond)
		dir := filepath.Join(w.Home(uid), "etc", hosttest.Name(uid)+".example")
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.LessOrEqual(t, len(entries), 4, "no litter: %v", entries)
		text, err := os.ReadFile(filepath.Join(dir, "shadow"))
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(text), "\n"), "no torn file")
	}
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "audit", "verify")), "whole")
}

// change changes the password of an account's mailbox in a new session.
func change(w *hosttest.World, uid int, password string) (status int, text string, err error) {
	conn, err := w.TryUID(uid)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(hosttest.Patience))
	args := fmt.Sprintf(`{"email":"user","password":%q}`, password)
	if _, err = conn.Write(wire.AppendFrame(nil, []byte(hosttest.Action("uapi", "Email", "passwd_pop", args)))); err != nil {
		return 0, "", err
	}
	raw := make([]byte, 0, 4096)
	for !strings.Contains(string(raw), "</cpanelresult>") {
		part := make([]byte, 4096)
		n, err := conn.Read(part)
		if err != nil {
			return 0, "", err
		}
		raw = append(raw, part[:n]...)
	}
	_, body, _ := strings.Cut(string(raw), "<cpanelresult>")
	body, _, _ = strings.Cut(body, "</cpanelresult>")
	var a struct {
		Result struct {
			Status int
			Errors []string
		}
	}
	err = json.Unmarshal([]byte(body), &a)
	return a.Result.Status, strings.Join(a.Result.Errors, " "), err
}
