package worker

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/plugin"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
	"github.com/liveapid/liveapid/protocol/plugin/pluginpb"
)

// worker is one running plugin process that has described itself.
type worker struct {
	client  *goplugin.Client
	process *pluginRunner
	rpc     pluginpb.PluginClient
	ping    func() error
	modules []protocol.Module
	started time.Time
	ending  atomic.Bool    // We end it; its exit is no crash.
	hung    atomic.Bool    // It is about to be killed, and gets no more calls.
	dir     string         // Its socket's folder.
	group   *isolate.Group // Its control group; nil where there is none.
	conn    connection
	// stdout and stderr log what it prints, as this worker's.
	stdout, stderr *lineLog
}

// startWorker starts the supervisor's plugin for an accountWorker. It takes little more than
// Options.Start, whatever the plugin does.
func (s *Supervisor) startWorker(aw *accountWorker) (*worker, error) {
	binary, err := isolate.OpenBinary(s.o.Path, s.o.SHA256, s.o.Trusted)
	if err != nil {
		return nil, err
	}
	if err := s.checkArgs(); err != nil {
		_ = binary.Close()
		return nil, err
	}
	credential, err := s.credential(aw)
	if err != nil {
		_ = binary.Close()
		return nil, err
	}
	uid := os.Geteuid()
	if credential != nil {
		uid = int(credential.Uid)
	}
	log := s.log.With("account", aw.account.Name)
	w := &worker{started: time.Now(), stdout: newLineLog(log, "stdout"), stderr: newLineLog(log, "stderr")}
	w.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  plugin.Handshake(),
		Plugins:          plugin.Client(),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         s.o.TLS,
		SkipHostEnv:      true,
		StartTimeout:     s.o.Start,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: s.o.RunDir.Path},
		// Off, not merely quiet: go-plugin parses a worker's lines for any other level.
		Logger:     hclog.New(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard}),
		SyncStdout: w.stdout,
		SyncStderr: w.stderr,
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, dir string) (runner.Runner, error) {
			r, err := s.newPluginRunner(aw, w, binary, credential, spec.Env, dir)
			if err != nil {
				return nil, err
			}
			w.process = r
			return r, nil
		},
		GRPCDialOptions: dialOptions(func(ctx context.Context) (net.Conn, error) {
			socket, err := w.process.handshake()
			if err != nil {
				return nil, err
			}
			return w.conn.once(func() (net.Conn, error) { return dialAs(ctx, socket, uid) })
		}),
	})
	if err := w.connectInTime(s.o.Start, s.settings(aw)); err != nil {
		if w.process == nil {
			_ = binary.Close()
		} else if _, refused := w.process.handshake(); refused != nil {
			err = refused
		}
		w.stop()
		return nil, err
	}
	return w, nil
}

// newPluginRunner prepares the process of an accountWorker's worker. dir is the directory for its socket, env the part
// of its environment that go-plugin needs.
func (s *Supervisor) newPluginRunner(aw *accountWorker, w *worker, binary *os.File, credential *syscall.Credential, env []string, dir string) (*pluginRunner, error) {
	w.dir = dir
	r := newRunner(filepath.Base(binary.Name()), dir)
	r.tls = s.o.TLS
	o := isolate.ProcessOptions{
		Binary: binary, Args: s.o.Args, Env: s.environment(aw, env), Credential: credential, Spawner: s.o.Spawner,
		StartTimeout: s.o.Start, OnTimeout: w.conn.shut, Stdout: r.readStdout, Stderr: w.stderr.copyFrom,
	}
	if credential != nil {
		if err := os.Chown(dir, aw.account.UID, aw.account.GID); err != nil {
			return nil, fmt.Errorf("hand over the socket directory: %w", err)
		}
		r.handed = true
		if s.o.Cgroups != nil {
			var err error
			if w.group, err = s.o.Cgroups.Create(s.o.Memory); err != nil {
				return nil, err
			}
			o.Cgroup = w.group.Path
		}
	}
	r.Process = isolate.NewProcess(o)
	return r, nil
}

// credential returns as whom an accountWorker's worker runs; nil is the host's own user.
func (s *Supervisor) credential(aw *accountWorker) (*syscall.Credential, error) {
	switch {
	case s.o.Credential == nil:
		return nil, nil
	case aw.helper:
		return isolate.HelperCredential(aw.account)
	}
	return s.o.Credential(aw.account)
}

// settings returns what an accountWorker's worker is told: an account's is not told the helper's secrets.
func (s *Supervisor) settings(aw *accountWorker) map[string]any {
	if s.helper == nil || aw.helper {
		return s.o.Settings
	}
	out := maps.Clone(s.o.Settings)
	for _, m := range s.helper.described() {
		for _, name := range m.HelperSettings {
			delete(out, name)
		}
	}
	return out
}

// checkArgs checks the files that an interpreter is given.
func (s *Supervisor) checkArgs() error {
	if !s.o.Trusted {
		return nil
	}
	for _, arg := range s.o.Args {
		if !filepath.IsAbs(arg) {
			continue
		}
		if err := isolate.CheckTrusted(arg); err != nil {
			return err
		}
	}
	return nil
}

// environment is a worker's whole environment: what go-plugin needs, and no more.
func (s *Supervisor) environment(aw *accountWorker, handshake []string) []string {
	if !aw.helper {
		handshake = append(handshake, plugin.AccountEnv+"="+plugin.AccountWord(aw.account))
	}
	if s.o.Credential != nil {
		handshake = append(handshake, plugin.HardenEnv+"=1")
	}
	return append([]string{
		"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "TZ=" + os.Getenv("TZ"),
		// Hashing makes garbage fast from little live memory: collect later, with a bound.
		"GOMEMLIMIT=96MiB", "GOGC=400",
		// Hashing fills as many threads as there are processors for milliseconds; what
		// comes back from the disk or the host must not queue behind it.
		"GOMAXPROCS=" + strconv.Itoa(runtime.NumCPU()+2),
	}, handshake...)
}

// connectInTime connects within limit. go-plugin opens a stream
// without a deadline, and holds its lock meanwhile; only the end of the connection, which
// a grandchild may keep open, ends that.
func (w *worker) connectInTime(limit time.Duration, settings map[string]any) error {
	err := w.connect(limit, settings)
	if w.process != nil && !w.process.StopTimer() {
		return fmt.Errorf("the plugin did not start within %s", limit)
	}
	return err
}

func (w *worker) connect(limit time.Duration, settings map[string]any) error {
	protocolClient, err := w.client.Client()
	if err != nil {
		return fmt.Errorf("start the plugin: %w", clipped(err))
	}
	raw, err := protocolClient.Dispense(plugin.Name)
	if err != nil {
		return fmt.Errorf("start the plugin: %w", clipped(err))
	}
	w.rpc, w.ping = raw.(pluginpb.PluginClient), protocolClient.Ping
	ask, err := payload.EncodeSettings(settings)
	if err != nil {
		return fmt.Errorf("the plugin's settings: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	answer, err := w.rpc.Describe(ctx, &pluginpb.Payload{Msgpack: ask})
	if err != nil {
		return fmt.Errorf("the plugin does not describe itself: %w", clipped(err))
	}
	if w.modules, err = payload.DecodeModules(answer.GetMsgpack()); err != nil {
		return fmt.Errorf("the plugin's description: %w", err)
	}
	return nil
}

// dialOptions bound what a worker can make the host take, and leave it one way in: the
// broker, through which go-plugin would accept connections to anywhere, stays shut.
func dialOptions(dial func(context.Context) (net.Conn, error)) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }),
		grpc.WithStatsHandler(sentHandler{}),
		grpc.WithIdleTimeout(0), // A connection that gRPC closed could not be opened again.
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(protocol.MaxWorkerMessage), grpc.MaxCallSendMsgSize(protocol.MaxWorkerMessage)),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn,
			method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			if method == "/plugin.GRPCBroker/StartStream" {
				return nil, status.Error(codes.Unimplemented, "the host has no broker")
			}
			return streamer(ctx, desc, cc, method, opts...)
		}),
	}
}

// dead tells whether the process ended, or is not worth a call any more.
func (w *worker) dead() bool { return w.hung.Load() || w.process.Ended() }

// leave takes a worker that is ending out of service, and ends it if it does not end.
func (w *worker) leave() {
	if !w.hung.Swap(true) {
		time.AfterFunc(protocol.WorkerKillTimeout, func() { _ = w.process.Process.Kill() })
	}
}

// clear removes what the worker had: its folder, its control group.
func (w *worker) clear() {
	if w.dir != "" {
		if err := isolate.RemoveDir(w.dir); err != nil {
			w.stderr.line([]byte("remove its folder: " + err.Error()))
		}
	}
	if w.group != nil {
		w.group.End()
	}
}

// stop ends the worker: our SIGKILL first, then go-plugin's own end in the background.
// go-plugin alone waited half a minute for a stopped process (1.8.0).
func (w *worker) stop() {
	w.ending.Store(true)
	if w.process == nil || w.process.PID() == 0 {
		w.clear()
		return
	}
	if err := w.process.Process.Kill(); err != nil {
		w.stderr.line([]byte(err.Error()))
	}
	w.conn.shut()
	w.clear() // Before go-plugin removes its folder, which would follow what a tenant puts there.
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.client.Kill()
	}()
	select {
	case <-done:
	case <-time.After(protocol.WorkerKillTimeout):
	}
}
