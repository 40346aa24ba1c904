package tests

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/client"
	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/host/record/audit"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/wire"
)

// load keeps clients changing passwords, each of its own mailbox, until stop is called. made counts the
// acknowledged changes. refused checks all other answers and errors.
func load(t *testing.T, w *hosttest.World, clients int, refused func(answer string, err error)) (made *atomic.Int64, stop func()) {
	t.Helper()
	addMailboxes(t, w, clients)
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	made = new(atomic.Int64)
	last := make([]string, clients)
	for i := range clients {
		all.Go(func() {
			var c *client.Client
			defer func() {
				if c != nil {
					_ = c.Close()
				}
			}()
			for n := 0; ctx.Err() == nil; n++ {
				var err error
				if c == nil {
					dial, cancel := context.WithTimeout(context.Background(), hosttest.Patience)
					c, err = client.Dial(dial, w.Socket)
					cancel()
					if err != nil {
						c = nil
						refused("", err)
						continue
					}
				}
				password := fmt.Sprintf("N3w %d %d", i, n)
				answer, err := c.Call(context.Background(), passwdPop(fmt.Sprintf("b%d", i), password))
				if err != nil {
					_ = c.Close()
					c, last[i] = nil, "" // The change may have been made.
					refused("", err)
					continue
				}
				if changed, _ := outcome(t, answer); changed {
					made.Add(1)
					last[i] = password
					continue
				}
				if strings.Contains(string(answer), "not known") {
					last[i] = ""
				}
				refused(string(answer), nil)
			}
		})
	}
	return made, func() {
		cancel()
		all.Wait()
		for i, password := range last {
			if password != "" {
				require.Contains(t, hosttest.Output(t, verify(t, w, fmt.Sprintf("b%d", i), password)), `"data":1`, "what was acknowledged is there")
			}
		}
	}
}

// handOver starts hosts with a common socket, as systemd does.
func handOver(t *testing.T, w *hosttest.World) (start func() *hosttest.Host) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: w.Socket, Net: "unix"})
	require.NoError(t, err)
	file, err := l.File()
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = l.Close()
		_ = file.Close()
	})
	return func() *hosttest.Host {
		cmd := w.Command(t, "/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" serve`, hosttest.Bin(t, "liveapid"))
		cmd.ExtraFiles = []*os.File{file}
		h := w.ServeCommand(t, cmd)
		require.Eventually(t, func() bool { return strings.Contains(h.Log.String(), "msg=listening") }, hosttest.Patience, time.Millisecond)
		return h
	}
}

// R18, R16: restarts under load reject no connection and lose no acknowledged change.
func TestR18_RestartsRefuseNobody(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	start := handOver(t, w)
	h := start()
	var mu sync.Mutex
	var wrong []string
	cut := 0
	made, stop := load(t, w, 8, func(answer string, err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil && !strings.Contains(err.Error(), "refused"):
			cut++ // A session ends with its host.
		case strings.Contains(answer, "shutting down"):
			cut++
		default:
			wrong = append(wrong, fmt.Sprint(answer, err))
		}
	})
	for range 15 {
		before := made.Load()
		require.Eventually(t, func() bool { return made.Load() > before }, hosttest.Patience, time.Millisecond, "it is busy")
		h.Stop(t)
		h = start()
	}
	stop()
	require.Empty(t, wrong)
	require.FileExists(t, w.Socket, "the socket is whoever's made it")
	t.Logf("%d changes, %d sessions ended by restarts", made.Load(), cut)
}

// After a reload, a replaced program serves, and no call fails.
func TestReload(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	dir := filepath.Dir(w.Dir)
	plugin := filepath.Join(dir, "plugin")
	put := func() {
		text, err := os.ReadFile(hosttest.Bin(t, "liveapi-email"))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(plugin+".new", text, 0o755))
		require.NoError(t, os.Rename(plugin+".new", plugin))
	}
	put()
	w.Set(t, "# path   = \"/usr/lib/liveapid/liveapi-email\"", fmt.Sprintf("path = %q", plugin))
	h := w.Serve(t)
	pids := make(map[int]bool)
	made, stop := load(t, w, 8, func(answer string, err error) { t.Errorf("%s %v", answer, err) })
	for i := range 6 {
		require.Eventually(t, func() bool {
			pid := workersOf(h.Process.Pid)
			for _, p := range pid {
				pids[p] = true
			}
			return len(pids) > i
		}, hosttest.Patience, 5*time.Millisecond, "a new worker serves")
		put()
		require.NoError(t, h.Process.Signal(syscall.SIGHUP))
		require.Eventually(t, func() bool { return strings.Count(h.Log.String(), "msg=reloaded") > i }, hosttest.Patience, 5*time.Millisecond)
	}
	stop()
	require.Positive(t, made.Load())
	require.Contains(t, h.Log.String(), "plugin replaced")
	require.Eventually(t, func() bool { return len(workersOf(h.Process.Pid)) == 1 }, hosttest.Patience, 10*time.Millisecond, "the old ones are gone")

	// Unchanged plugins stay, and an invalid configuration changes nothing.
	before := workersOf(h.Process.Pid)
	require.NoError(t, h.Process.Signal(syscall.SIGHUP))
	require.Eventually(t, func() bool { return strings.Count(h.Log.String(), "msg=reloaded") == 7 }, hosttest.Patience, hosttest.Tick)
	require.Equal(t, before, workersOf(h.Process.Pid))
	w.Set(t, "[[plugin]]", "[[plugin]")
	require.NoError(t, h.Process.Signal(syscall.SIGHUP))
	require.Eventually(t, func() bool { return strings.Contains(h.Log.String(), "reload failed; nothing was changed") }, hosttest.Patience, 5*time.Millisecond)
	require.Contains(t, w.Dial(t).Call("uapi", "Email", "verify_password", `{"email":"user@example.com","password":"`+sandboxPassword+`"}`), `"data":1`)
}

// Plugins are registered with their checksums, and served after a reload.
func TestModuleCommands(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	dir := filepath.Join(w.Dir, "plugins.d")
	require.NoError(t, os.Mkdir(dir, 0o755))
	tool := func(status int, words ...string) string {
		t.Helper()
		cmd := w.Command(t, "liveapi", append([]string{"module"}, words...)...)
		out, _ := cmd.CombinedOutput()
		require.Equal(t, status, cmd.ProcessState.ExitCode(), "%v: %s", words, out)
		return string(out)
	}
	hello := filepath.Join(w.Dir, "hello")
	build := exec.Command("go", "build", "-o", hello, "./examples/hello-go")
	build.Dir = hosttest.Root(t)
	hosttest.Output(t, build)
	require.Contains(t, tool(1, "add", hello), "the configuration key plugin_dir")
	w.Set(t, "modules  =", "plugin_dir = \"plugins.d\"\nmodules  =")
	h := w.Serve(t)
	require.Contains(t, tool(0, "add", hello), "registered hello, which serves Hello")
	require.Contains(t, tool(1, "add", hello), "already registered")
	require.Contains(t, tool(1, "add", "/bin/true"), "was not registered")
	require.Contains(t, tool(2, "add", "--name=../x", hello), "letters, digits")
	require.Regexp(t, `hello +Hello +\d`, tool(0, "list"))
	require.Contains(t, tool(0, "check"), "well: plugin hello serves Hello")
	c := w.Dial(t)
	require.Contains(t, c.Call("uapi", "Hello", "greet", `{"name":"x"}`), "Failed to load module")
	require.NoError(t, h.Process.Signal(syscall.SIGHUP))
	require.Eventually(t, func() bool { return strings.Contains(h.Log.String(), "msg=reloaded") }, hosttest.Patience, 5*time.Millisecond)
	require.Contains(t, c.Call("uapi", "Hello", "greet", `{"name":"x"}`), `"status":1`)

	// Another program at its path is not run.
	text, err := os.ReadFile("/bin/true")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(hello+".new", text, 0o755))
	require.NoError(t, os.Rename(hello+".new", hello))
	require.Contains(t, tool(1, "check"), "its SHA-256 is")
	require.Contains(t, tool(0, "remove", "hello"), "was removed")
	require.Contains(t, tool(1, "remove", "hello"), "no plugin")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bad.toml"), []byte("path = \"x\"\n"), 0o644))
	require.Contains(t, tool(1, "check"), "bad.toml: path: must be absolute")
	require.Contains(t, tool(1, "list"), "liveapi-email", "the others are there")
}

// systemd gets the notifications that it expects.
func TestSystemdIsTold(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	path := filepath.Join(filepath.Dir(w.Dir), "notify")
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	defer func() { _ = told.Close() }()
	cmd := w.Command(t, "/bin/sh", "-c", `WATCHDOG_PID=$$ exec "$0" serve`, hosttest.Bin(t, "liveapid"))
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=200000")
	h := w.ServeCommand(t, cmd)
	until := func(want ...string) {
		t.Helper()
		require.NoError(t, told.SetReadDeadline(time.Now().Add(hosttest.Patience)))
		message := make([]byte, 1000)
		for len(want) > 0 {
			n, err := told.Read(message)
			require.NoError(t, err, "not told: %q", want)
			if strings.Contains(string(message[:n]), want[0]) {
				want = want[1:]
			}
		}
	}
	until("READY=1")
	until("WATCHDOG=1", "STATUS=1 accounts", "WATCHDOG=1", "WATCHDOG=1")
	require.NoError(t, h.Process.Signal(syscall.SIGHUP))
	until("RELOADING=1\nMONOTONIC_USEC=", "READY=1")
	require.NoError(t, h.Process.Signal(syscall.SIGTERM))
	until("STOPPING=1")
	go func() { _, _ = io.Copy(io.Discard, told) }() // Unread output would block it.
	require.NoError(t, h.Wait(t))
}

// R9: workers are killed at random while 16 clients of four accounts make calls. Each call gets exactly one
// answer, a result or a clear error; no acknowledged change is lost; other accounts are not affected.
func TestR09_WorkersOfAccountsKilledUnderLoad(t *testing.T) {
	t.Parallel()
	uids := []int{20021, 20022, 20023, 20024}
	const spared = 20025
	w := hosttest.Server(t, append(uids, spared)...)
	w.Limits(t, "account_rate = -1")
	h := w.Serve(t)
	var all sync.WaitGroup
	stop := make(chan struct{})
	var answered, unclear atomic.Int64
	for i := range 16 {
		uid := uids[i%4]
		all.Go(func() {
			c := w.DialUID(t, uid)
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				answer := c.Call("uapi", "Email", "passwd_pop", fmt.Sprintf(`{"email":"user","password":"N3w %d %d"}`, i, n))
				answered.Add(1)
				var a struct {
					Result struct {
						Status int
						Errors []string
					}
				}
				if err := json.Unmarshal([]byte(answer), &a); err != nil {
					t.Errorf("%s", answer)
				}
				if a.Result.Status == 1 {
					continue
				}
				if text := fmt.Sprint(a.Result.Errors); !strings.Contains(text, "not known") && !strings.Contains(text, "othing was changed") {
					t.Errorf("%s", text)
				}
				unclear.Add(1)
			}
		})
	}
	all.Go(func() {
		c := w.DialUID(t, spared)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if answer := c.Call("uapi", "Email", "passwd_pop", `{"email":"user","password":"undisturbed"}`); !strings.Contains(answer, `"status":1`) {
				t.Errorf("another account's call: %s", answer)
			}
		}
	})
	kills := 0
	for end := time.Now().Add(8 * time.Second); kills == 0 || time.Now().Before(end); {
		if pid := workerPID(t, h, uids[rand.IntN(4)]); pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			kills++
		}
		select {
		case <-t.Context().Done():
		case <-time.After(rand.N(40 * time.Millisecond)):
		}
	}
	close(stop)
	all.Wait()
	t.Logf("%d calls, %d not done, %d kills", answered.Load(), unclear.Load(), kills)
	for _, uid := range append(uids, spared) {
		require.Eventually(t, func() bool {
			return strings.Contains(ask(t, w, uid, "passwd_pop", `{"email":"user","password":"the end"}`), `"status":1`)
		}, 3*hosttest.Patience, 100*time.Millisecond)
		require.Contains(t, ask(t, w, uid, "verify_password", fmt.Sprintf(`{"email":"user@%s.example","password":"the end"}`, hosttest.Name(uid))), `"data":1`)
		entries, err := os.ReadDir(filepath.Join(w.Home(uid), "etc", hosttest.Name(uid)+".example"))
		require.NoError(t, err)
		for _, e := range entries {
			require.Contains(t, []string{".liveapid.lock", "passwd", "quota", "shadow"}, e.Name(), "no litter")
		}
	}
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "audit", "verify")), "records is complete")
}

// T44: calls that the host acknowledged before it was killed are in the audit log, with their beginning and
// end.
func TestT44_AuditOfAKilledHost(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, 20031)
	w.Limits(t, "account_rate = -1")
	acknowledged := 0
	for range 4 {
		h := w.Serve(t)
		c := w.DialUID(t, 20031)
		require.NoError(t, c.SetDeadline(time.Now().Add(hosttest.Patience)))
		answers, before := bufio.NewReader(c), acknowledged
		var timer *time.Timer
		for n := 0; ; n++ {
			// A rejected password, which could forge a line in a careless log, and an accepted one.
			password := []string{`again\r\n{\"n\":1}`, "and again"}[n%2]
			frame := wire.AppendFrame(nil, []byte(hosttest.Action("uapi", "Email", "passwd_pop", `{"email":"user","password":"`+password+`"}`)))
			_, _ = c.Write(frame) // The read fails when the host has ended.
			answer, err := wire.ReadAnswer(answers, protocol.MaxFrame)
			if err != nil {
				break
			}
			if strings.Contains(string(answer), `"status":1`) {
				acknowledged++
			}
			if timer == nil && acknowledged > before { // Only now, because on a slow machine the first change may take long.
				timer = time.AfterFunc(rand.N(300*time.Millisecond), func() { _ = h.Process.Kill() })
			}
		}
		_ = h.Process.Kill()
		_ = h.Wait(t)
	}
	require.Positive(t, acknowledged)
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "audit", "verify")), "records is complete")
	text, err := os.ReadFile(filepath.Join(w.Dir, "audit.log"))
	require.NoError(t, err)
	begun, well := map[string]bool{}, 0
	for line := range strings.Lines(string(text)) {
		var r audit.Record
		require.NoError(t, json.Unmarshal([]byte(line), &r))
		switch r.Event {
		case audit.EventBegin:
			begun[r.ID] = true
		case audit.EventEnd:
			if r.Result == "ok" {
				require.True(t, begun[r.ID])
				well++
			}
		}
	}
	require.GreaterOrEqual(t, well, acknowledged)

	// If the log can't be written, changes are rejected.
	require.NoError(t, os.WriteFile(filepath.Join(w.Dir, "audit.log"), []byte("not a log\n"), 0o600))
	cmd := w.Command(t, "liveapid", "serve")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "move the file away to start a new log")
}

// With few descriptors, the host accepts fewer sessions. If it runs out anyway, it recovers when descriptors
// are free again.
func TestR04_NoDescriptorsLeft(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	h := w.ServeCommand(t, w.Command(t, "/usr/bin/prlimit", "--nofile=64:64", hosttest.Bin(t, "liveapid"), "serve"))
	works := func() bool {
		return strings.Contains(w.Dial(t).Call("uapi", "Email", "passwd_pop", `{"email":"user","password":"there again"}`), `"status":1`)
	}
	require.True(t, works())
	var held []*hosttest.Conn
	for range 100 {
		held = append(held, w.Dial(t))
	}
	require.Contains(t, w.Dial(t).Answer(), "The host has 32 sessions, which is its limit.")
	require.NotContains(t, h.Log.String(), "too many open files")
	for _, c := range held {
		_ = c.Close()
	}
	require.Eventually(t, works, hosttest.Patience, hosttest.Tick)

	// The reserved descriptors are used up.
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", h.Process.Pid))
	require.NoError(t, err)
	limit := unix.Rlimit{Cur: uint64(len(open)), Max: 64}
	require.NoError(t, unix.Prlimit(h.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil))
	require.Eventually(t, func() bool {
		w.Dial(t)
		return strings.Contains(h.Log.String(), "too many open files")
	}, hosttest.Patience, hosttest.Tick)
	limit.Cur = limit.Max
	require.NoError(t, unix.Prlimit(h.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil))
	require.Eventually(t, works, hosttest.Patience, hosttest.Tick)
}

// An account's invalid file is logged, and the other accounts work. Changes of files are noticed without a
// signal.
func TestBrokenAccountFile(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, 20041, 20042)
	require.NoError(t, os.WriteFile(w.AccountFile(20041), []byte("uid = "), 0o644))
	h := w.Serve(t)
	require.Eventually(t, func() bool { return strings.Contains(h.Log.String(), "u20041.toml") }, hosttest.Patience, hosttest.Tick)
	require.Contains(t, ask(t, w, 20042, "count_pops", `{}`), `"data":1`)
	require.Contains(t, w.DialUID(t, 20041).Answer(), "has no account")
	out, err := w.Command(t, "liveapi", "account", "check").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "u20041.toml")
	out, err = w.Command(t, "liveapi", "doctor").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "wrong  account file")

	w.AddAccount(t, 20041)
	require.Eventually(t, func() bool {
		return strings.Contains(hosttest.Output(t, w.Command(t, "liveapi", "status")), "accounts  2")
	}, hosttest.Patience, 50*time.Millisecond)
	require.Contains(t, ask(t, w, 20041, "count_pops", `{}`), `"data":1`)
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "doctor")), "well   2 accounts")
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "account", "check")), "2 accounts, nothing wrong")
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "account", "show", "u20041")), "domains   u20041.example")
	for words, says := range map[string]string{
		"create u20043 --domain u20043.example": "create the user before the account", "create daemon --domain d.example": "at least 500", "create x/y --domain d.example": "not a valid account name",
		"create nobody": "--domain", "create nobody --domain x_y": "not a domain", "suspend none": "no account", "delete ../x": "no account", "show none": "no account",
	} {
		out, err := w.Command(t, "liveapi", append([]string{"account"}, strings.Fields(words)...)...).CombinedOutput()
		require.Error(t, err, words)
		require.Contains(t, string(out), says)
	}
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "top", "--once", "--every=100ms")), "u20041")
}
