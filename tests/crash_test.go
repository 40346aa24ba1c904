package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/client"
	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/plugins/email/password"
	"github.com/liveapid/liveapid/protocol"
)

// addMailboxes adds mailboxes b0, b1, ... to the sandbox's own, all with its hash.
func addMailboxes(t testing.TB, w *hosttest.World, n int) {
	t.Helper()
	content, err := os.ReadFile(w.Shadow)
	require.NoError(t, err)
	line := strings.TrimPrefix(strings.SplitN(string(content), "\n", 2)[0], "user")
	var b strings.Builder
	b.Write(content)
	for i := range n {
		fmt.Fprintf(&b, "b%d%s\n", i, line)
	}
	require.NoError(t, os.WriteFile(w.Shadow, []byte(b.String()), 0o640))
}

// hashes reads the complete store. Every line must belong to a mailbox.
func hashes(t testing.TB, w *hosttest.World) map[string]string {
	t.Helper()
	content, err := os.ReadFile(w.Shadow)
	require.NoError(t, err)
	require.True(t, bytes.HasSuffix(content, []byte("\n")), "the last line is whole")
	pattern := regexp.MustCompile(`^([a-z0-9]+):(\$6\$[./0-9A-Za-z]{16}\$[./0-9A-Za-z]{86}):\d+::::::$`)
	out := make(map[string]string)
	for _, line := range strings.Split(strings.TrimSuffix(string(content), "\n"), "\n") {
		m := pattern.FindStringSubmatch(line)
		require.NotNil(t, m, "a torn line: %q", line)
		require.NotContains(t, out, m[1], "a line twice")
		out[m[1]] = m[2]
	}
	return out
}

func noLitter(t testing.TB, w *hosttest.World) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(w.Shadow))
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	require.Equal(t, []string{".liveapid.lock", "passwd", "quota", "shadow"}, names)
}

func passwdPop(box, password string) protocol.Call {
	return protocol.Call{API: protocol.API2, Module: "Email", Func: "passwdpop", Args: protocol.Args{Named: map[string]any{
		"domain": "example.com", "email": box, "password": password,
	}}}
}

// outcome parses an answer of passwdpop: changed, or rejected with a reason.
func outcome(t testing.TB, answer []byte) (changed bool, reason string) {
	t.Helper()
	var a struct {
		Result struct {
			Error string
			Data  []struct{ Result int }
		} `json:"cpanelresult"`
	}
	require.NoError(t, json.Unmarshal(answer, &a), "%s", answer)
	return len(a.Result.Data) == 1 && a.Result.Data[0].Result == 1, a.Result.Error
}

// workersOf lists the plugin processes below a host's process, or below this test's process.
func workersOf(parent int) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		at := bytes.LastIndexByte(stat, ')')
		if at < 0 {
			continue
		}
		if fields := strings.Fields(string(stat[at+1:])); len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// 300 changes while kill -9 hits the worker, the host, or a host for a single client. After each, the store
// is complete and the mailbox has its old or its new password.
func TestR02_KilledWhileChanging(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	addMailboxes(t, w, 20)
	h := w.Serve(t)
	counts := map[string]int{}
	stdio := func(box, password string) *exec.Cmd {
		cmd := w.Command(t, "perl", "-e", strings.ReplaceAll(perlChange, "'user'", "'"+box+"'"))
		cmd.Env = append(w.Env(t), "NEW="+password)
		return cmd
	}
	count := func(ctx context.Context, c *client.Client) { // A call that starts the worker.
		_, err := c.Call(ctx, protocol.Call{API: protocol.UAPI, Module: "Email", Func: "count_pops"})
		require.NoError(t, err)
	}
	// The duration of each on this machine, so that the kills happen during it.
	took := map[string]time.Duration{}
	measure := func(what string, f func()) {
		start := time.Now()
		f()
		took[what] = time.Since(start)
	}
	measure("stdio", func() { hosttest.Output(t, stdio("b0", "first")) })
	ctx, cancel := context.WithTimeout(t.Context(), hosttest.Patience)
	c, err := client.Dial(ctx, w.Socket)
	require.NoError(t, err)
	measure("start", func() { count(ctx, c) })
	measure("change", func() {
		_, err := c.Call(ctx, passwdPop("b0", "second"))
		require.NoError(t, err)
	})
	_ = c.Close()
	cancel()
	t.Log(took)
	for i := range 300 {
		box := fmt.Sprintf("b%d", i%20)
		before := hashes(t, w)
		victim := []string{"worker", "host", "stdio"}[i%3]
		ctx, cancel := context.WithTimeout(t.Context(), hosttest.Patience)
		if victim == "stdio" {
			cmd := stdio(box, "by stdio "+strconv.Itoa(i))
			require.NoError(t, cmd.Start())
			wait := time.NewTimer(rand.N(took["stdio"] * 3 / 2))
			<-wait.C
			for _, host := range workersOf(cmd.Process.Pid) { // The binding's own host.
				_ = syscall.Kill(host, syscall.SIGKILL)
			}
			if cmd.Wait() == nil {
				counts["stdio acknowledged"]++
				require.NotEqual(t, before[box], hashes(t, w)[box], "an acknowledged change is there")
			}
		} else {
			c, err := client.Dial(ctx, w.Socket)
			require.NoError(t, err)
			process := h.Process
			kill := func() { _ = process.Kill() }
			if victim == "worker" {
				kill = func() {
					for _, pid := range workersOf(process.Pid) {
						_ = syscall.Kill(pid, syscall.SIGKILL)
					}
				}
			}
			span := took["change"] * 3 / 2
			if i%2 == 0 {
				count(ctx, c)
			} else { // The host is new and first starts a worker.
				span += took["start"]
			}
			timer := time.AfterFunc(rand.N(span), kill)
			answer, err := c.Call(ctx, passwdPop(box, "N3w "+strconv.Itoa(i)))
			timer.Stop()
			_ = c.Close()
			if err == nil {
				changed, reason := outcome(t, answer)
				if changed {
					counts[victim+" acknowledged"]++
					require.NotEqual(t, before[box], hashes(t, w)[box], "an acknowledged change is there")
				} else {
					counts[victim+" clear error"]++
					require.Regexp(t, "not known|nothing was changed", reason)
				}
			} else {
				require.Equal(t, "host", victim, "a worker's end is told by its host: %v", err)
				counts[victim+" cut off"]++
			}
		}
		cancel()
		after := hashes(t, w)
		require.Len(t, after, len(before))
		for name, hash := range before {
			if name != box {
				require.Equal(t, hash, after[name], "%s was not asked for", name)
			} else if after[name] != hash { // Then it must be the new password's hash.
				word := map[bool]string{true: "by stdio ", false: "N3w "}[victim == "stdio"]
				ok, err := password.NewVerifier().Verify(after[name], protocol.NewSecret(word+strconv.Itoa(i)))
				require.NoError(t, err)
				require.True(t, ok)
			}
		}
		if victim == "host" {
			_ = h.Process.Kill()
			_ = h.Wait(t)
			h = w.Serve(t) // A stale socket does not block it.
		}
	}
	t.Log(counts)
	require.Positive(t, counts["worker clear error"], "no kill hit a call: %v", counts)
	require.Positive(t, counts["stdio acknowledged"]+counts["worker acknowledged"], "every kill hit a call: %v", counts)
	ctx, cancel = context.WithTimeout(t.Context(), hosttest.Patience)
	defer cancel()
	c, err = client.Dial(ctx, w.Socket)
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	require.Eventually(t, func() bool {
		answer, err := c.Call(ctx, passwdPop("user", "Last"))
		require.NoError(t, err)
		changed, _ := outcome(t, answer)
		return changed
	}, hosttest.Patience, 50*time.Millisecond, "no lock stays held")
	noLitter(t, w)
	require.Equal(t, 1, strings.Count(hosttest.Output(t, verify(t, w, "user", "Last")), `"data":1,`))
}

func verify(t testing.TB, w *hosttest.World, box, password string) *exec.Cmd {
	cmd := w.Command(t, "uapi", "--user=demo", "--output=json", "Email", "verify_password", "email="+box+"@example.com", "password=-")
	cmd.Stdin = strings.NewReader(password + "\n")
	return cmd
}

// 200 concurrent changes of 200 mailboxes of a domain, by a common host and by separate hosts: none is lost.
func TestR01_ManyProcessesAtOnce(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	addMailboxes(t, w, 200)
	w.Serve(t)
	before := hashes(t, w)
	jobs := make(chan int, 200)
	for i := range 200 {
		jobs <- i
	}
	close(jobs)
	var all sync.WaitGroup
	for worker := range 12 {
		all.Go(func() {
			for i := range jobs {
				cmd := w.Command(t, "cpapi2", "--user=demo", "--output=json", "Email", "passwdpop", "domain=example.com", fmt.Sprintf("email=b%d", i), "password=-")
				cmd.Stdin = strings.NewReader(fmt.Sprintf("N3w %d\n", i))
				if worker%3 == 0 { // A separate host for a single call.
					cmd = w.Command(t, "perl", "-e", strings.ReplaceAll(perlChange, "'user'", fmt.Sprintf("'b%d'", i)))
					cmd.Env = append(cmd.Env, fmt.Sprintf("NEW=N3w %d", i))
				}
				if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte(`"result":0`)) {
					t.Errorf("b%d: %v %s", i, err, out)
				}
			}
		})
	}
	all.Wait()
	after := hashes(t, w)
	require.Len(t, after, 201)
	for i := range 200 {
		name := fmt.Sprintf("b%d", i)
		require.NotEqual(t, before[name], after[name], "%s is lost", name)
	}
	require.Equal(t, before["user"], after["user"])
	c := w.Dial(t)
	for _, i := range []int{0, 99, 199} {
		require.Contains(t, c.Call("uapi", "Email", "verify_password", fmt.Sprintf(`{"email":"b%d@example.com","password":"N3w %d"}`, i, i)), `"data":1,`)
	}
	noLitter(t, w)
}

// A full disk and a read-only directory: a clear error in the caller's own envelope, and the old file is
// complete.
func TestR04_FullDiskAndReadOnlyDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	w := hosttest.Sandbox(t)
	addMailboxes(t, w, 300)
	dir := filepath.Dir(w.Shadow)
	saved, err := os.ReadFile(w.Shadow)
	require.NoError(t, err)
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=96k"))
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 2)) })
	require.NoError(t, os.WriteFile(w.Shadow, saved, 0o640))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 40<<10), 0o600))
	w.Start(t)
	c := w.Dial(t)
	args := `{"domain":"example.com","email":"user","password":"New"}`
	require.Equal(t, `{"cpanelresult":{"apiversion":2,"module":"Email","func":"passwdpop","error":"The disk, or the account's quota, is full. Nothing was changed; free some space and try again.","data":[{"reason":"The disk, or the account's quota, is full. Nothing was changed; free some space and try again.","result":0}],"event":{"result":1}}}`,
		c.Call("2", "Email", "passwdpop", args))
	require.Contains(t, c.Call("uapi", "Email", "passwd_pop", args), `"errors":["The disk, or the account's quota, is full.`)
	now, err := os.ReadFile(w.Shadow)
	require.NoError(t, err)
	require.Equal(t, saved, now)
	require.NoError(t, os.Remove(filepath.Join(dir, "filler")))

	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	require.Contains(t, c.Call("2", "Email", "passwdpop", args), `The mail store of “example.com” is not accessible. Nothing was changed; check the permissions`)
	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT, ""))
	require.Contains(t, c.Call("2", "Email", "passwdpop", args), `"data":[{"reason":"","result":1}]`)
}
