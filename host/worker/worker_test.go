package worker_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/host/worker"
	"github.com/liveapid/liveapid/protocol"
)

func TestCall(t *testing.T) {
	r := newRig(t, "good")
	require.Equal(t, "päß\xffsecret", r.must("echo", map[string]any{"text": "päß\xff", "secret": protocol.NewSecret("secret")}))
	pid := r.pid()
	require.Equal(t, pid, r.pid(), "one worker serves all calls")
	modules, err := r.s.Modules(t.Context(), alice)
	require.NoError(t, err)
	require.Equal(t, "Try", modules[0].Name)
	r.s.Close()
	gone(t, pid)
	_, err = r.call(t.Context(), "pid", nil)
	require.ErrorIs(t, err, host.ErrNotRun)
}

func TestOneWorkerPerAccount(t *testing.T) {
	r := newRig(t, "good")
	pid := r.pid()
	bob, err := call(t.Context(), r.s, protocol.Caller{Account: protocol.Account{Name: "bob"}}, protocol.Call{API: protocol.UAPI, Module: "Try", Func: "pid"})
	require.NoError(t, err)
	require.NotEqual(t, pid, int(toInt(bob.Data)))
}

// A crash fails the running calls at once with a clear error, and the next call works.
func TestCrash(t *testing.T) {
	r := newRig(t, "good")
	pid := r.pid()
	hung := make(chan error, 3)
	for range 3 {
		go func() {
			_, err := r.call(t.Context(), "hang", nil)
			hung <- err
		}()
	}
	_, err := r.call(t.Context(), "crash", nil)
	require.ErrorIs(t, err, host.ErrOutcomeUnknown)
	for ended := 0; ended < 3; {
		select {
		case err := <-hung:
			require.True(t, isToldApart(err))
			ended++
		default: // A late call waits in a new worker.
			r.pid()
			_, err = r.call(t.Context(), "crash", nil)
			require.True(t, isToldApart(err))
		}
	}
	require.NotEqual(t, pid, r.pid())
	require.Eventually(t, func() bool { return strings.Contains(r.log.String(), "exit status 7") }, patience, time.Millisecond)
}

// isToldApart reports whether err tells whether the call ran.
func isToldApart(err error) bool {
	return errorsIs(err, host.ErrOutcomeUnknown) || errorsIs(err, host.ErrNotRun)
}

// R9: workers are killed at random under load. Each call has exactly one answer, a result or a clear error,
// and the next call works.
func TestR09_KilledUnderLoad(t *testing.T) {
	r := newRig(t, "good")
	var right, failed atomic.Int64
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				text := strconv.Itoa(i)
				result, err := r.call(t.Context(), "echo", map[string]any{"text": text})
				if err != nil {
					failed.Add(1)
					if !isToldApart(err) {
						t.Errorf("unclear: %v", err)
					}
					continue
				}
				if result.Data != text {
					t.Errorf("%v is not the answer to %s", result.Data, text)
				}
				right.Add(1)
			}
		})
	}
	for range 6 {
		before := right.Load()
		require.Eventually(t, func() bool { return right.Load() > before+20 }, patience, time.Millisecond, "calls work again")
		pid, err := r.call(t.Context(), "pid", nil)
		if err == nil {
			_ = syscall.Kill(int(toInt(pid.Data)), syscall.SIGKILL)
		}
	}
	close(stop)
	callers.Wait()
	require.Positive(t, right.Load())
	t.Logf("%d right, %d clear errors", right.Load(), failed.Load())
}

func TestIdleWorkerStopsAndStartsAgain(t *testing.T) {
	r := newRig(t, "good", func(o *worker.Options) { o.Idle = 30 * time.Millisecond })
	pid := r.pid()
	gone(t, pid)
	require.NotEqual(t, pid, r.pid())
	require.NotContains(t, r.log.String(), "ERROR", "an idle stop is no crash")
}

func TestPluginThatDoesNotStart(t *testing.T) {
	r := newRig(t, "ends")
	_, err := r.call(t.Context(), "pid", nil)
	require.ErrorIs(t, err, host.ErrNotRun)
	require.ErrorContains(t, err, "ended before its handshake")
	require.Eventually(t, func() bool { return strings.Contains(r.log.String(), "this plugin is broken") }, patience, time.Millisecond)

	missing := newRig(t, "good", func(o *worker.Options) { o.Path += "-gone" })
	_, err = missing.call(t.Context(), "pid", nil)
	require.ErrorIs(t, err, host.ErrNotRun)
	require.ErrorIs(t, err, isolate.ErrBinary)
}

// R12: a plugin that never starts is not restarted without pause.
func TestR12_BackOff(t *testing.T) {
	r := newRig(t, "ends")
	var last error
	require.Eventually(t, func() bool {
		_, last = r.call(t.Context(), "pid", nil)
		return last != nil && strings.Contains(last.Error(), "is not started again for")
	}, patience, time.Millisecond)
	starts, begun := strings.Count(r.log.String(), "worker did not start"), time.Now()
	for range 100 {
		_, err := r.call(t.Context(), "pid", nil)
		require.ErrorIs(t, err, host.ErrNotRun)
	}
	// The pause is a tenth of a second at first, and grows.
	require.LessOrEqual(t, strings.Count(r.log.String(), "worker did not start")-starts, 1+int(time.Since(begun)/(100*time.Millisecond)))
	require.Less(t, starts, 20)
}

// T11: workers die with their host, and not before.
func TestT11_WorkersDieWithTheHost(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "WORKER_TEST_HOST="+shortDir(t), "WORKER_TEST_BINARY="+binary(t, t.TempDir(), "good"))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	pid, err := strconv.Atoi(readLine(t, out))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, 0))
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	gone(t, pid)
}

func TestT11_ThreadsThatEndTakeNoWorkerAlong(t *testing.T) {
	r := newRig(t, "good")
	pid := r.pid()
	var threads sync.WaitGroup
	for range 1000 {
		threads.Go(runtime.LockOSThread) // The thread ends with the goroutine.
	}
	threads.Wait()
	require.Equal(t, pid, r.pid())
}

// T10: a worker has what it needs, and nothing else of the host.
func TestT10_WhatAWorkerHas(t *testing.T) {
	t.Setenv("HOST_SECRET", "c4n4ry")
	held, err := os.Open("/etc/hostname")
	require.NoError(t, err)
	defer func() { _ = held.Close() }()
	r := newRig(t, "good")
	p := r.must("process", nil).(map[string]any)
	require.Equal(t, "/", p["cwd"])
	status := p["status"].(string)
	require.Contains(t, status, "Umask:\t0077")
	for _, entry := range p["env"].([]any) {
		name, _, _ := strings.Cut(entry.(string), "=")
		require.Contains(t, []string{"PATH", "LANG", "TZ", "GOMEMLIMIT", "GOGC", "GOMAXPROCS", "LIVEAPID_ACCOUNT", "LIVEAPID_PLUGIN", "PLUGIN_PROTOCOL_VERSIONS", "PLUGIN_MULTIPLEX_GRPC",
			"PLUGIN_UNIX_SOCKET_DIR", "PLUGIN_CLIENT_CERT", "PLUGIN_MIN_PORT", "PLUGIN_MAX_PORT"}, name)
	}
	for _, fd := range p["fds"].([]any) {
		number, target, _ := strings.Cut(fd.(string), " ")
		require.NotContains(t, target, "hostname")
		require.NotContains(t, target, "worker-good", "the binary's own descriptor is closed")
		if number == "0" {
			require.Equal(t, "/dev/null", target)
		}
	}
	pid := strings.TrimSpace(field(status, "Pid"))
	sid, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	require.NoError(t, err)
	require.Equal(t, pid, strings.Fields(string(sid))[5], "a session of its own")
}

func field(status, name string) string {
	for _, line := range strings.Split(status, "\n") {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return value
		}
	}
	return ""
}

func TestContextOfACall(t *testing.T) {
	r := newRig(t, "good")
	r.pid()
	ctx, cancel := context.WithCancel(t.Context())
	here := filepath.Join(t.TempDir(), "here")
	ended := make(chan error, 1)
	go func() {
		_, err := r.call(ctx, "hang", map[string]any{"text": here})
		ended <- err
	}()
	require.Eventually(t, func() bool {
		_, err := os.Stat(here)
		return err == nil
	}, patience, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-ended, host.ErrOutcomeUnknown)
	require.Equal(t, "x", r.must("echo", map[string]any{"text": "x"}), "a worker that still answers is kept")
}
