package worker_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/host/worker"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
	"github.com/liveapid/liveapid/protocol/plugin/pluginpb"
)

func errorsIs(err, target error) bool { return errors.Is(err, target) }

// T16: whatever a worker prints, the host connects only to sockets in the worker's directory.
func TestT16_BadHandshakes(t *testing.T) {
	outside, connected := listenOutside(t)
	const port = "|unix|DIR/p|grpc|"
	lines := []string{
		"", "\n", "hello\n", "1\n", "1|1\n", "1|1|unix\n", "1|1|unix|DIR/p\n",
		"2|1" + port + "\n", "0|1" + port + "\n", "x|1" + port + "\n", "1|2" + port + "\n", "1|0" + port + "\n", "1||unix|DIR/p|grpc|\n",
		"1|-1" + port + "\n", "1|99999999999999999999" + port + "\n",
		"1|1|tcp|127.0.0.1:1|grpc|\n", "1|1|tcp|0.0.0.0:1|grpc|\n", "1|1|unix|DIR/p|netrpc|\n", "1|1|unix|DIR/p||\n", "1|1||DIR/p|grpc|\n",
		"1|1|unixgram|DIR/p|grpc|\n", "1|1|unix|" + outside + "|grpc|\n", "1|1|unix|DIR/../" + filepath.Base(outside) + "|grpc|\n",
		"1|1|unix|DIR/../../p|grpc|\n", "1|1|unix|DIR/sub/p|grpc|\n", "1|1|unix|DIR//p|grpc|\n", "1|1|unix|DIR/./p|grpc|\n", "1|1|unix|p|grpc|\n",
		"1|1|unix||grpc|\n", "1|1|unix|DIR|grpc|\n", "1|1|unix|DIR/|grpc|\n", "1|1|unix|@abstract|grpc|\n", "1|1|unix|\x00" + outside + "|grpc|\n",
		"1|1|unix|DIR/none|grpc|\n", "1|1|unix|DIR/none|grpc|" + strings.Repeat("A", 100) + "\n", "1|1|unix|DIR/p|grpc|a|b|c|d|e\n",
		strings.Repeat("1", 100_000), "1|1|unix|" + strings.Repeat("a", 10_000) + "|grpc|\n", "\xff\xfe\n", "1|1|unix|DIR/p|grpc|\r", "|||||\n",
	}
	require.GreaterOrEqual(t, len(lines), 40)
	all := make(chan string, len(lines))
	for _, line := range lines {
		all <- line
	}
	close(all)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for line := range all {
				r := newRig(t, "handshake", func(o *worker.Options) {
					if err := os.WriteFile(o.Path+".txt", []byte(line), 0o600); err != nil {
						t.Error(err)
					}
				})
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				_, err := r.call(ctx, "pid", nil)
				cancel()
				if !errors.Is(err, host.ErrNotRun) {
					t.Errorf("%.60q: %v", line, err)
				}
			}
		})
	}
	wg.Wait()
	require.False(t, connected())
}

// T16: the host does not follow a link in the worker's directory.
func TestT16_LinkToAnotherSocket(t *testing.T) {
	outside, connected := listenOutside(t)
	r := newRig(t, "handshake", func(o *worker.Options) {
		require.NoError(t, os.WriteFile(o.Path+".txt", []byte("1|1|unix|DIR/p|grpc|\n"), 0o600))
	})
	done := make(chan struct{})
	go func() { // The tenant creates the link as soon as the directory exists.
		for {
			select {
			case <-done:
				return
			default:
			}
			dirs, _ := filepath.Glob(filepath.Join(r.dir, "liveapid-host-*", "*"))
			for _, dir := range dirs {
				_ = os.Symlink(outside, filepath.Join(dir, "p"))
			}
		}
	}()
	_, err := r.call(t.Context(), "pid", nil)
	close(done)
	require.ErrorIs(t, err, host.ErrNotRun)
	require.False(t, connected())
}

// T16: the host does not follow a link that later replaces the worker's socket.
func TestT16_LinkInTheSocketsPlace(t *testing.T) {
	outside, connected := listenOutside(t)
	r := newRig(t, "turncoat", func(o *worker.Options) {
		require.NoError(t, os.WriteFile(o.Path+".txt", []byte(outside), 0o600))
	})
	first := int(toInt(r.must("turn", nil)))
	_, _ = r.call(t.Context(), "cut", nil)
	require.Eventually(t, func() bool {
		result, err := r.call(t.Context(), "pid", nil)
		return err == nil && int(toInt(result.Data)) != first
	}, patience, 5*time.Millisecond, "a fresh worker takes over")
	require.False(t, connected())
}

// A worker that accepts the connection and does not answer costs only the time limit of a start.
func TestT16_WorkerThatNeverAnswers(t *testing.T) {
	for _, kind := range []string{"mute", "mute-streams"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, kind)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := r.call(ctx, "pid", nil)
			require.ErrorIs(t, err, host.ErrNotRun)
			require.NoError(t, ctx.Err())
		})
	}
}

// T17: an unexpected certificate does not crash the host, and with TLS another process of the same uid gets
// no answer.
func TestT17_UnaskedCertificate(t *testing.T) {
	r := newRig(t, "handshake", func(o *worker.Options) {
		require.NoError(t, os.WriteFile(o.Path+".txt", []byte("1|1|unix|DIR/none|grpc|"+strings.Repeat("QUJD", 40)+"\n"), 0o600))
	})
	_, err := r.call(t.Context(), "pid", nil)
	require.ErrorIs(t, err, host.ErrNotRun)
}

func TestT17_Stranger(t *testing.T) {
	r := newRig(t, "good", func(o *worker.Options) { o.TLS = true })
	require.Equal(t, "x", r.must("echo", map[string]any{"text": "x"}))
	sockets, err := filepath.Glob(filepath.Join(r.dir, "liveapid-host-*", "*", "*"))
	require.NoError(t, err)
	require.Len(t, sockets, 1)
	conn, err := grpc.NewClient("unix://"+sockets[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = pluginpb.NewPluginClient(conn).Describe(ctx, &pluginpb.Payload{Msgpack: []byte{0x80}})
	require.Error(t, err)

	none := newRig(t, "handshake", func(o *worker.Options) {
		o.TLS = true
		require.NoError(t, os.WriteFile(o.Path+".txt", []byte("1|1|unix|DIR/p|grpc|\n"), 0o600))
	})
	_, err = none.call(t.Context(), "pid", nil)
	require.ErrorContains(t, err, "sent no TLS certificate")
}

// T18: a worker's output is data: limited, escaped, never parsed.
func TestT18_HostileOutput(t *testing.T) {
	for _, kind := range []string{"noisy", "noisy-flood"} {
		r := newRig(t, kind)
		require.Equal(t, "x", r.must("echo", map[string]any{"text": "x"}))
		require.Eventually(t, func() bool { return strings.Contains(r.log.String(), "forged") }, patience, time.Millisecond)
		for _, line := range strings.Split(strings.TrimSpace(r.log.String()), "\n") {
			require.Less(t, len(line), 64<<10)
			require.NotContains(t, line, "\x1b")
			if strings.Contains(line, "forged") {
				require.Contains(t, line, "level=WARN")
				require.Contains(t, line, `msg="worker says"`)
			}
		}
	}
}

// stopProcess stops a process and waits until all its threads are stopped.
func stopProcess(t *testing.T, pid int) {
	t.Helper()
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	require.Eventually(t, func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		require.NoError(t, err)
		for _, thread := range threads {
			if stat, err := os.ReadFile(thread); err == nil && !strings.Contains(string(stat), ") T ") {
				return false
			}
		}
		return true
	}, patience, time.Millisecond)
}

// T19: a worker that is stopped, or whose child holds its pipes, is killed at once.
func TestT19_StoppedWorker(t *testing.T) {
	r := newRig(t, "good")
	pid := r.pid()
	stopProcess(t, pid)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := r.call(ctx, "echo", nil)
	require.ErrorIs(t, err, host.ErrOutcomeUnknown)
	gone(t, pid) // It missed a deadline and does not answer a ping.
	require.NotEqual(t, pid, r.pid())

	second := r.pid()
	stopProcess(t, second)
	start := time.Now()
	r.s.Close()
	require.Less(t, time.Since(start), slowest)
	gone(t, second)
}

func TestT19_Grandchild(t *testing.T) {
	r := newRig(t, "good")
	pid := r.pid()
	grandchild := int(toInt(r.must("grandchild", nil)))
	require.NoError(t, syscall.Kill(grandchild, 0))
	start := time.Now()
	r.s.Close()
	require.Less(t, time.Since(start), slowest)
	gone(t, pid)
	gone(t, grandchild)
}

func sum(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	s := sha256.Sum256(content)
	return s[:]
}

func TestT20_Checksum(t *testing.T) {
	r := newRig(t, "good", func(o *worker.Options) { o.SHA256 = sum(t, o.Path) })
	first := r.pid()
	require.NoError(t, syscall.Kill(first, syscall.SIGKILL))
	gone(t, first)
	require.NotEqual(t, first, r.pid(), "the second start checks as well")

	wrong := newRig(t, "good", func(o *worker.Options) { o.SHA256 = make([]byte, 32) })
	_, err := wrong.call(t.Context(), "pid", nil)
	require.ErrorIs(t, err, isolate.ErrBinary)
	require.ErrorContains(t, err, "its SHA-256 is")
}

// T20: the file that was checked is the file that runs, however often its name is replaced meanwhile.
func TestT20_SwapRace(t *testing.T) {
	dir := t.TempDir()
	good, evil := binary(t, dir, "good"), filepath.Join(dir, "worker-evil")
	script := "#!/bin/sh\n: > " + evil + ".ran\n"
	want := sum(t, good)
	path := filepath.Join(dir, "plugin", "worker-good")
	require.NoError(t, os.Mkdir(filepath.Dir(path), 0o755))
	require.NoError(t, os.Link(good, path))
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			next := path + ".next"
			if i%2 == 0 {
				_ = os.WriteFile(next, []byte(script), 0o755)
			} else {
				_ = os.Link(good, next)
			}
			_ = os.Rename(next, path)
			_ = os.Remove(next)
		}
	})
	started := 0
	for range 60 {
		r := newRig(t, "good", func(o *worker.Options) { o.Path, o.SHA256 = path, want })
		if _, err := r.call(t.Context(), "pid", nil); err == nil {
			started++
		} else {
			require.ErrorIs(t, err, isolate.ErrBinary)
		}
		r.s.Close()
	}
	close(stop)
	swapper.Wait()
	require.NoFileExists(t, evil+".ran")
	require.Positive(t, started)
	t.Logf("%d of 60 met the good file; the other one never ran", started)
}

// T20: in server mode only root may be able to write the binary and the directories above it.
func TestT20_Trusted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root's files can be trusted ones")
	}
	safe, err := os.MkdirTemp("/usr/local", "liveapid-test-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(safe) })
	require.NoError(t, os.Chmod(safe, 0o755))
	path := binary(t, safe, "good")
	require.NoError(t, os.Chmod(path, 0o711))
	try := func(path string) error {
		r := newRig(t, "good", func(o *worker.Options) { o.Path, o.Trusted = path, true })
		_, err := r.call(t.Context(), "pid", nil)
		return err
	}
	require.NoError(t, try(path))
	require.NoError(t, os.Symlink(path, filepath.Join(safe, "link")))
	for name, spoil := range map[string]func() (string, func()){
		"a link": func() (string, func()) { return filepath.Join(safe, "link"), func() {} },
		"a file others may write": func() (string, func()) {
			require.NoError(t, os.Chmod(path, 0o777))
			return path, func() { _ = os.Chmod(path, 0o711) }
		},
		"a file of another's": func() (string, func()) {
			require.NoError(t, os.Chown(path, 12345, 0))
			return path, func() { _ = os.Chown(path, 0, 0); _ = os.Chmod(path, 0o711) }
		},
		"a directory others may write": func() (string, func()) {
			require.NoError(t, os.Chmod(safe, 0o777))
			return path, func() { _ = os.Chmod(safe, 0o755) }
		},
		"a directory of another's": func() (string, func()) {
			require.NoError(t, os.Chown(safe, 12345, 0))
			return path, func() { _ = os.Chown(safe, 0, 0) }
		},
		"a shared directory": func() (string, func()) { return binary(t, t.TempDir(), "good"), func() {} },
		"a relative path":    func() (string, func()) { return "worker-good", func() {} },
	} {
		bad, mend := spoil()
		require.ErrorIs(t, try(bad), isolate.ErrBinary, name)
		mend()
	}
	require.NoError(t, try(path))
}

// T21: a worker can't read the host's input, and its output does not reach the host's output.
func TestT21_StandardStreams(t *testing.T) {
	r := newRig(t, "good")
	require.EqualValues(t, 0, toInt(r.must("stdin", nil)))
	for range 3 {
		r.must("print", nil)
	}
	require.Equal(t, "x", r.must("echo", map[string]any{"text": "x"}))
	require.Eventually(t, func() bool { return strings.Contains(r.log.String(), "to standard error") }, patience, time.Millisecond)
}

// T22: messages are limited in both directions, and a message at the limit has no side effects.
func TestT22_MessageSize(t *testing.T) {
	r := newRig(t, "good")
	pid := r.pid()
	_, err := r.call(t.Context(), "big", nil)
	require.ErrorIs(t, err, host.ErrOutcomeUnknown)
	_, err = r.call(t.Context(), "echo", map[string]any{"text": strings.Repeat("x", protocol.MaxWorkerMessage)})
	require.Error(t, err)
	require.Len(t, r.must("echo", map[string]any{"text": strings.Repeat("x", 8<<20)}), 8<<20)
	require.Equal(t, "\xff\x00", r.must("echo", map[string]any{"secret": protocol.NewSecret("\xff\x00")}))
	require.Equal(t, pid, r.pid())

	list := make([]any, protocol.MaxNodes)
	result, err := r.call(t.Context(), "echo", map[string]any{"text": list})
	require.NoError(t, err)
	require.Equal(t, protocol.KindInvalid, result.Err.Kind, "refused before it is sent")
}

// T8: the credentials of workers are checked, and nothing starts with invalid ones.
func TestT08_Credential(t *testing.T) {
	for _, id := range []struct{ uid, gid int }{{0, 1000}, {1000, 0}, {-1, 1000}, {1000, -1}, {499, 1000}, {1000, 499}, {65534, 1000}, {1000, 65534}, {1 << 31, 1000}, {1000, 1 << 31}, {1<<31 - 1, 1000}, {1<<32 + 1000, 1000}} {
		credential, err := isolate.Credential(protocol.Account{Name: "alice", UID: id.uid, GID: id.gid})
		require.Error(t, err, "%v", id)
		require.Nil(t, credential)
	}
	credential, err := isolate.Credential(protocol.Account{Name: "alice", UID: 1001, GID: 1002})
	require.NoError(t, err)
	require.Equal(t, &syscall.Credential{Uid: 1001, Gid: 1002, Groups: []uint32{}}, credential)
	require.False(t, credential.NoSetGroups)

	r := newRig(t, "good", func(o *worker.Options) { o.Credential = isolate.Credential })
	_, err = call(t.Context(), r.s, protocol.Caller{Account: protocol.Account{Name: "alice"}}, protocol.Call{API: protocol.UAPI, Module: "Try", Func: "pid"})
	require.ErrorIs(t, err, host.ErrNotRun)
	require.ErrorContains(t, err, "uid 0: must be at least 500")
}

// T9: a worker in server mode has the account's uid and gid and no other group.
func TestT09_WorkerOfAnAccount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can start workers of other users")
	}
	r := newRig(t, "good", func(o *worker.Options) {
		o.Credential, o.TLS = isolate.Credential, true
		for _, dir := range []string{o.RunDir.Path, filepath.Dir(o.RunDir.Path)} {
			require.NoError(t, os.Chmod(dir, 0o711))
		}
		require.NoError(t, os.Chmod(o.Path, 0o711))
	})
	result, err := call(t.Context(), r.s, protocol.Caller{Account: protocol.Account{Name: "alice", UID: 12345, GID: 12346}}, protocol.Call{API: protocol.UAPI, Module: "Try", Func: "process"})
	require.NoError(t, err)
	status := result.Data.(map[string]any)["status"].(string)
	for name, want := range map[string]string{"Uid": "\t12345\t12345\t12345\t12345", "Gid": "\t12346\t12346\t12346\t12346", "Groups": "\t ", "CapEff": "\t0000000000000000", "CapPrm": "\t0000000000000000"} {
		require.Equal(t, want, field(status, name), name)
	}
	dirs, err := filepath.Glob(filepath.Join(r.dir, "liveapid-host-*", "*"))
	require.NoError(t, err)
	st, err := os.Stat(dirs[0])
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), st.Mode().Perm())
	require.EqualValues(t, 0, st.Sys().(*syscall.Stat_t).Uid, "nothing more can be made there")
}

// T7: an account that was created again under its old name gets a new worker.
func TestT07_AnotherUIDIsAnotherAccount(t *testing.T) {
	r := newRig(t, "good")
	pid := func(uid int) int64 {
		result, err := call(t.Context(), r.s, protocol.Caller{Account: protocol.Account{Name: "bob", UID: uid}}, protocol.Call{API: protocol.UAPI, Module: "Try", Func: "pid"})
		require.NoError(t, err)
		return toInt(result.Data)
	}
	require.NotEqual(t, pid(1001), pid(1002))
}

// A failed start of a worker leaves no directory behind.
func TestFailedStartLeavesNothing(t *testing.T) {
	for _, kind := range []string{"ends", "handshake"} {
		r := newRig(t, kind, func(o *worker.Options) {
			require.NoError(t, os.WriteFile(o.Path+".txt", []byte("hello\n"), 0o600))
		})
		_, err := r.call(t.Context(), "pid", nil)
		require.ErrorIs(t, err, host.ErrNotRun)
		left, err := filepath.Glob(filepath.Join(r.dir, "liveapid-host-*", "*"))
		require.NoError(t, err)
		require.Empty(t, left)
	}
	r := newRig(t, "good", func(o *worker.Options) {
		o.Path = filepath.Join(filepath.Dir(o.Path), "text")
		require.NoError(t, os.WriteFile(o.Path, []byte("no program"), 0o755))
	})
	_, err := r.call(t.Context(), "pid", nil)
	require.ErrorIs(t, err, host.ErrNotRun)
	left, err := filepath.Glob(filepath.Join(r.dir, "liveapid-host-*", "*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// pages is a plugin that pages each list, with false numbers.
type pages struct{ *sdk.Server }

func (pages) Call(context.Context, *pluginpb.Payload) (*pluginpb.Payload, error) {
	out, err := payload.EncodeResult(&protocol.Result{Data: []any{}, Shaped: true, Paginate: map[string]any{"total_results": "false"}})
	return &pluginpb.Payload{Msgpack: out}, err
}

// A worker's description of a page counts only if the host asked for a page.
func TestUnaskedPage(t *testing.T) {
	r := newRig(t, "pages", func(*worker.Options) {})
	for _, shape := range []map[string]string{nil, {"paginate": "1"}} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		result, err := r.s.Call(ctx, host.Request{
			Caller: protocol.Caller{Account: alice, Role: protocol.RoleAccount},
			Call:   protocol.Call{API: protocol.UAPI, Module: "Try", Func: "pid"}, Shape: shape,
		})
		require.NoError(t, err)
		require.Equal(t, shape != nil, result.Shaped)
		require.Equal(t, shape != nil, result.Paginate != nil)
	}
}
