package worker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/host/worker"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// splitModule has functions in parts, like a plugin with secrets.
func splitModule() *sdk.Module {
	fn := func(name string, changes bool) protocol.Function {
		return protocol.Function{
			API: protocol.UAPI, Name: name, Roles: []protocol.Role{protocol.RoleAccount}, Changes: changes,
			Params: []protocol.Param{{Name: "text"}, {Name: "secret", Type: protocol.TypeSecret}},
		}
	}
	m := module()
	var settings map[string]any
	m.HelperSettings = []string{"hidden"}
	m.Configure = func(s map[string]any) error {
		settings = s
		return nil
	}
	where := func(c *sdk.Call) string {
		return fmt.Sprintf("%d:%s:%v:%v", os.Getuid(), c.Secret("secret").Reveal(), settings["hidden"], settings["open"])
	}
	part := func(c *sdk.Call) (any, error) {
		c.Warn("w" + strconv.Itoa(os.Getuid()))
		c.Message("m" + strconv.Itoa(os.Getuid()))
		before, _ := c.Input.(string)
		return before + " " + where(c), nil
	}
	parts := func(_ context.Context, c *sdk.Call) (any, error) { return part(c) }
	shared := fn("shared", false)
	shared.Shared = true
	m.Functions = append(m.Functions,
		sdk.Function{Function: fn("split", true), Before: parts, Do: parts, After: parts},
		sdk.Function{Function: shared, Do: parts},
		sdk.Function{Function: fn("plain", false), Do: parts},
		sdk.Function{Function: fn("refused", true), Do: parts, Before: func(context.Context, *sdk.Call) (any, error) {
			return nil, protocol.NewError(protocol.KindInvalid, "not so")
		}},
		sdk.Function{Function: fn("broken", true), Do: parts, After: func(context.Context, *sdk.Call) (any, error) { os.Exit(3); return nil, nil }},
	)
	return m
}

// serverRig is a supervisor in server mode, with helper 20900 and any accounts.
func serverRig(t *testing.T, kind string, change ...func(*worker.Options)) *rig {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can start workers of other users")
	}
	return newRig(t, kind, append([]func(*worker.Options){func(o *worker.Options) {
		o.Credential, o.TLS = isolate.Credential, true
		o.Helper = &protocol.Account{Name: "helper", UID: 20900, GID: 20900}
		for _, dir := range []string{o.RunDir.Path, filepath.Dir(o.RunDir.Path)} {
			require.NoError(t, os.Chmod(dir, 0o711))
		}
		require.NoError(t, os.Chmod(o.Path, 0o711))
	}}, change...)...)
}

func (r *rig) callAs(uid int, name string, args map[string]any) (*protocol.Result, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	a := protocol.Account{Name: fmt.Sprintf("u%d", uid), UID: uid, GID: uid}
	if _, err := r.s.Modules(ctx, a); err != nil {
		return nil, err
	}
	return call(ctx, r.s, protocol.Caller{Account: a, Role: protocol.RoleAccount},
		protocol.Call{API: protocol.UAPI, Module: "Try", Func: name, Args: protocol.Args{Named: args}})
}

func (r *rig) mustAs(uid int, name string, args map[string]any) *protocol.Result {
	r.t.Helper()
	result, err := r.callAs(uid, name, args)
	require.NoError(r.t, err)
	require.Nil(r.t, result.Err)
	return result
}

// T15: only the helper gets the secrets of calls and settings.
func TestT15_TheHelperAloneSeesSecrets(t *testing.T) {
	r := serverRig(t, "split", func(o *worker.Options) { o.Settings = map[string]any{"hidden": "h", "open": "o"} })
	args := map[string]any{"secret": protocol.NewSecret("s"), "text": "t"}
	result := r.mustAs(20001, "split", args)
	require.Equal(t, " 20900:s:h:o 20001::<nil>:o 20900:s:h:o", result.Data)
	require.Equal(t, []string{"w20900", "w20001", "w20900"}, result.Warnings)
	require.Equal(t, []string{"m20001", "m20900"}, result.Messages)
	require.Equal(t, " 20900:s:h:o", r.mustAs(20001, "shared", args).Data)
	require.Equal(t, " 20001::<nil>:o", r.mustAs(20001, "plain", args).Data)
	refused, err := r.callAs(20001, "refused", args)
	require.NoError(t, err)
	require.Equal(t, "not so", refused.Err.Message)
	_, err = r.callAs(20001, "broken", args)
	require.ErrorIs(t, err, host.ErrOutcomeUnknown, "the change was made")
	require.NotErrorIs(t, err, host.ErrNotRun)
	_, err = r.callAs(20001, "no-such", args)
	require.ErrorIs(t, err, host.ErrNotRun)
}

// The helper of a plugin without parts gets everything.
func TestHelperOfAPluginWithoutParts(t *testing.T) {
	r := serverRig(t, "good")
	require.Equal(t, "ts", r.mustAs(20001, "echo", map[string]any{"text": "t", "secret": protocol.NewSecret("s")}).Data)
}

// A function in parts has the same result in one process as in two.
func TestWholeFunction(t *testing.T) {
	r := newRig(t, "split", func(o *worker.Options) { o.Settings = map[string]any{"hidden": "h", "open": "o"} })
	uid := strconv.Itoa(os.Getuid())
	want := strings.ReplaceAll(" U:s:h:o U::h:o U:s:h:o", "U", uid)
	require.Equal(t, want, r.must("split", map[string]any{"secret": protocol.NewSecret("s")}))
}

// R13: a worker that uses too much memory is killed, and no other worker.
func TestR13_Memory(t *testing.T) {
	r := serverRig(t, "hungry", func(o *worker.Options) { o.Memory = 128 << 20 })
	other := toInt(r.mustAs(20002, "pid", nil).Data)
	_, err := r.callAs(20001, "eat", nil)
	require.ErrorIs(t, err, host.ErrOutcomeUnknown)
	require.Eventually(t, func() bool { return strings.Contains(r.log.String(), "killed a worker that used too much memory") }, patience, time.Millisecond)
	require.Equal(t, other, toInt(r.mustAs(20002, "pid", nil).Data))
	st := r.s.Status()
	require.EqualValues(t, 1, st.MemoryKills)
	require.NotZero(t, toInt(r.mustAs(20001, "pid", nil).Data), "and the next call is served")
}

func TestPool(t *testing.T) {
	pool := worker.NewPool(2)
	r := serverRig(t, "good", func(o *worker.Options) { o.Pool = pool })
	first := toInt(r.mustAs(20001, "pid", nil).Data)
	second := toInt(r.mustAs(20002, "pid", nil).Data)
	require.Equal(t, 2, pool.Workers())
	require.Equal(t, first, toInt(r.mustAs(20001, "pid", nil).Data))
	r.mustAs(20003, "pid", nil)
	gone(t, int(second)) // The longest unused worker is stopped.
	require.Equal(t, first, toInt(r.mustAs(20001, "pid", nil).Data))
	require.Equal(t, 2, pool.Workers())

	// Workers with running calls are not stopped to make room.
	ctx, cancel := context.WithCancel(t.Context())
	var hanging sync.WaitGroup
	for _, uid := range []int{20001, 20003} {
		hanging.Go(func() {
			a := protocol.Account{Name: fmt.Sprintf("u%d", uid), UID: uid, GID: uid}
			_, _ = call(ctx, r.s, protocol.Caller{Account: a}, protocol.Call{API: protocol.UAPI, Module: "Try", Func: "hang"})
		})
	}
	require.Eventually(t, func() bool {
		n := 0
		for _, w := range r.s.Status().Workers {
			n += w.Calls
		}
		return n == 2
	}, patience, 5*time.Millisecond)
	_, err := r.callAs(20004, "pid", nil)
	require.ErrorIs(t, err, host.ErrNotRun)
	cancel()
	hanging.Wait()
	require.NotZero(t, toInt(r.mustAs(20005, "pid", nil).Data), "when they have none they do")
	r.s.EndAccount("u20005")
	for _, w := range r.s.Status().Workers {
		require.NotEqual(t, "u20005", w.Account)
	}
}

// Files that a tenant leaves in its worker's directory do not keep root busy, and can't lead it elsewhere.
func TestT12_WhatIsLeftInAWorkersDirectory(t *testing.T) {
	r := serverRig(t, "litters", func(*worker.Options) {})
	outside := filepath.Join(shortDir(t), "outside")
	require.NoError(t, os.Mkdir(outside, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(outside, "file"), nil, 0o644))
	require.NoError(t, os.Chmod(filepath.Dir(outside), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(r.path), "worker-litters.txt"), []byte(outside), 0o644))
	require.NoError(t, os.Chmod(filepath.Dir(r.path), 0o755))
	pid := toInt(r.mustAs(20001, "pid", nil).Data)
	dirs, err := filepath.Glob(filepath.Join(r.dir, "liveapid-host-*", "*"))
	require.NoError(t, err)
	require.Len(t, dirs, 2)
	for _, dir := range dirs {
		st, err := os.Stat(dir)
		require.NoError(t, err)
		require.EqualValues(t, os.Geteuid(), st.Sys().(*syscall.Stat_t).Uid)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Greater(t, len(entries), 3, "the litter is there")
	}
	// The tenant's programs can't add files any more.
	cmd := exec.Command("/bin/sh", "-c", "for d in "+strings.Join(dirs, " ")+"; do echo x > $d/more && exit 0; done; exit 1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 20001, Gid: 20001}}
	require.Error(t, cmd.Run())
	require.NoError(t, syscall.Kill(int(pid), syscall.SIGKILL))
	require.Eventually(t, func() bool {
		dirs, _ := filepath.Glob(filepath.Join(r.dir, "liveapid-host-*", "*"))
		return len(dirs) == 1
	}, patience, 10*time.Millisecond, "the dead one's directory is gone")
	require.FileExists(t, filepath.Join(outside, "file"))
}

// With control groups, everything that a worker started is killed with it, even processes in other sessions.
func TestT19_ControlGroups(t *testing.T) {
	root := ""
	for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(mount, "cgroup.procs")); err == nil {
			root = filepath.Join(mount, fmt.Sprintf("liveapid-test-%d", os.Getpid()))
		}
	}
	if root == "" || os.Mkdir(root, 0o755) != nil {
		t.Skip("no cgroup v2 hierarchy is mounted, or this process is not in one that can be made")
	}
	own := func() (path string) {
		text, err := os.ReadFile("/proc/self/cgroup")
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			if p, ok := strings.CutPrefix(line, "0::"); ok {
				path = strings.TrimSpace(p)
			}
		}
		return path
	}
	before := own()
	groups, err := isolate.NewCgroups(root)
	require.NoError(t, err)
	require.Equal(t, filepath.Join("/", filepath.Base(root), "host"), own())
	defer func() {
		mount := filepath.Dir(root)
		require.NoError(t, os.WriteFile(filepath.Join(mount, before, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0))
		require.NoError(t, os.Remove(filepath.Join(root, "host")))
		require.Eventually(t, func() bool { return os.Remove(root) == nil }, patience, time.Millisecond, "no group is left")
	}()
	r := serverRig(t, "good", func(o *worker.Options) { o.Cgroups, o.Memory = groups, 256<<20 })
	pid := int(toInt(r.mustAs(20001, "pid", nil).Data))
	in, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	require.NoError(t, err)
	require.Contains(t, string(in), filepath.Base(root)+"/worker-")
	if len(groups.Controllers()) > 0 {
		t.Log("bounded:", groups.Controllers())
	}
	child := int(toInt(r.mustAs(20001, "escape", nil).Data))
	require.NoError(t, syscall.Kill(child, 0))
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	gone(t, child)
	r.s.Close()
}

// T11: in server mode, workers die with their host too.
func TestT11_WorkersOfAccountsDieWithTheHost(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can start workers of other users")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	dir := shortDir(t)
	require.NoError(t, os.Chmod(dir, 0o711))
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "WORKER_TEST_HOST="+dir, "WORKER_TEST_UID=20001", "WORKER_TEST_BINARY="+binary(t, t.TempDir(), "good"))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	pid, err := strconv.Atoi(readLine(t, out))
	require.NoError(t, err)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	require.Contains(t, field(string(status), "Uid"), "20001")
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	gone(t, pid)
}

// The error for a plugin that stops again and again tells callers so.
func TestR12_RestsAloud(t *testing.T) {
	r := newRig(t, "ends")
	var resting *host.BackoffError
	require.Eventually(t, func() bool {
		_, err := r.call(t.Context(), "pid", nil)
		return errors.As(err, &resting)
	}, patience, 10*time.Millisecond)
	require.GreaterOrEqual(t, resting.Times, 4)
	require.Positive(t, resting.For)
}

// R10: a tenant that traces its worker keeps it from being reaped, but nothing else: the next call is served,
// and no thread of the host waits.
func TestR10_TracedWorker(t *testing.T) {
	r := serverRig(t, "good", func(o *worker.Options) { require.NoError(t, os.Chmod(o.Path, 0o755)) })
	pid := toInt(r.mustAs(20001, "pid", nil).Data)
	// Runs as root, because the worker is not traceable for its user. What matters is that it is traced.
	tracer := exec.Command("/usr/bin/python3", "-c", fmt.Sprintf(`import ctypes,time
libc = ctypes.CDLL(None)
assert libc.ptrace(0x4206, %d, 0, 0) == 0  # PTRACE_SEIZE
print("held", flush=True)
time.sleep(300)`, pid))
	out, err := tracer.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, tracer.Start())
	defer func() {
		_ = tracer.Process.Kill()
		_ = tracer.Wait()
		gone(t, int(pid))
		require.Eventually(t, func() bool {
			_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
			return os.IsNotExist(err)
		}, patience, 10*time.Millisecond, "it is reaped when the tracer is gone")
	}()
	require.Equal(t, "held", readLine(t, out))
	require.NoError(t, syscall.Kill(int(pid), syscall.SIGKILL))
	require.Eventually(t, func() bool {
		result, err := r.callAs(20001, "pid", nil)
		return err == nil && toInt(result.Data) != pid
	}, patience, 10*time.Millisecond)
}
