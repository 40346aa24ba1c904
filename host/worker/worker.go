package worker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/plugin"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
	"github.com/liveapid/liveapid/protocol/plugin/pluginpb"
)

// worker is a plugin process that runs and has described its modules.
type worker struct {
	client  *goplugin.Client
	process *pluginRunner
	rpc     pluginpb.PluginClient
	ping    func() error
	modules []protocol.Module
	started time.Time
	ending  atomic.Bool    // The host stops the worker, so its exit is not a crash.
	hung    atomic.Bool    // The worker gets no more calls: it exits or is killed soon.
	dir     string         // Directory of the worker's socket.
	group   *isolate.Group // Control group of the worker; nil if there is none.
	conn    connection
	// stdout and stderr log the worker's standard output and standard error.
	stdout, stderr *lineLog
}

// startWorker starts the plugin for the account of aw and waits until the plugin has described its modules.
// It never takes much longer than Options.Start, even if the plugin is hostile.
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
	var secure *tls.Config
	var certificate []string
	if s.o.TLS {
		var variable string
		if secure, variable, err = mutualTLS(); err != nil {
			_ = binary.Close()
			return nil, err
		}
		certificate = []string{variable}
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
		TLSConfig:        secure, // go-plugin adds the worker's certificate, which handshake requires.
		SkipHostEnv:      true,
		StartTimeout:     s.o.Start,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: s.o.RunDir.Path},
		// The level must be Off: with any other level, go-plugin parses the lines that a worker prints.
		Logger:     hclog.New(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard}),
		SyncStdout: w.stdout,
		SyncStderr: w.stderr,
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, dir string) (runner.Runner, error) {
			r, err := s.newPluginRunner(aw, w, binary, credential, append(certificate, spec.Env...), dir)
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
		return nil, s.because(w, err, lastOutput)
	}
	return w, nil
}

// because adds to err, the error of a worker that has ended or is being killed, the last lines that the worker printed.
// It waits for them at most for the given time.
func (s *Supervisor) because(w *worker, err error, wait time.Duration) error {
	text := plainText(err)
	if w.process == nil || w.process.PID() == 0 {
		return err
	}
	if said := w.stderr.lastLines(wait); said != "" {
		text += "\n" + said
	}
	return &host.Cause{Text: protocol.Clip(text, protocol.MaxText), Err: err}
}

// rpcError is the start of the text of an error that a plugin returned by gRPC.
var rpcError = regexp.MustCompile(`rpc error: code = (Unknown|Internal) desc = `)

// plainText returns the text of err for the author of a module, without gRPC's code.
func plainText(err error) string {
	text := rpcError.ReplaceAllString(err.Error(), "")
	if path := strings.TrimPrefix(text, noDescription); strings.HasPrefix(path, "/") {
		return path // It begins with the script's path, which says enough.
	}
	return text
}

// noDescription begins the error of a plugin that does not describe its modules.
const noDescription = "the plugin did not describe its modules: "

// newPluginRunner prepares the process of an account's worker, without starting it. dir is the directory for
// the socket of the worker; env contains the environment variables that go-plugin needs.
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
			return nil, fmt.Errorf("give the socket's directory to the account: %w", err)
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

// credential returns the uid and gid for the worker of aw; nil means the host's own user.
func (s *Supervisor) credential(aw *accountWorker) (*syscall.Credential, error) {
	switch {
	case s.o.Credential == nil:
		return nil, nil
	case aw.helper:
		return isolate.HelperCredential(aw.account)
	}
	return s.o.Credential(aw.account)
}

// settings returns the plugin's settings for the worker of aw. The settings that HelperSettings lists may be
// secrets: if the plugin has a helper, only the helper gets these settings.
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

// checkArgs checks every argument that is an absolute path, because the binary may be an interpreter that
// runs the file. It checks nothing unless Options.Trusted is set.
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

// environment returns the whole environment of a worker: a few fixed variables, the host's time zone, and the
// variables that go-plugin and package plugin need. Nothing else is inherited from the host.
func (s *Supervisor) environment(aw *accountWorker, handshake []string) []string {
	if !aw.helper {
		handshake = append(handshake, plugin.AccountEnv+"="+plugin.AccountWord(aw.account))
	}
	if s.o.Credential != nil {
		handshake = append(handshake, plugin.HardenEnv+"=1")
	}
	return append([]string{
		"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "TZ=" + os.Getenv("TZ"),
		// A change reads and writes whole files, so it creates much garbage but little live memory. The higher GOGC is,
		// the less often the collector runs, and the more memory each of many workers holds. GOMEMLIMIT bounds both.
		"GOMEMLIMIT=96MiB", "GOGC=200",
		// Hashing keeps as many threads busy as there are processors, for milliseconds. Two more threads
		// allow goroutines that handle answers from the disk or the host to run meanwhile.
		"GOMAXPROCS=" + strconv.Itoa(runtime.NumCPU()+2),
	}, handshake...)
}

// connectInTime connects to the plugin and reads its description, within the given limit. go-plugin opens a
// stream without a deadline and holds its own lock during this time, so the timer of the process must also
// close the connection: it is not enough to kill the process, because a grandchild may keep the connection
// open.
func (w *worker) connectInTime(limit time.Duration, settings map[string]any) error {
	err := w.connect(limit, settings)
	if w.process != nil && !w.process.StopTimer() {
		return fmt.Errorf("%w: it did not start within %s", errSlow, limit)
	}
	return err
}

// errSlow means that a plugin did not describe its modules in time.
var errSlow = errors.New("the plugin waits or loops before it describes its modules")

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
		return fmt.Errorf("encode the plugin's settings: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	answer, err := w.rpc.Describe(ctx, &pluginpb.Payload{Msgpack: ask})
	if err != nil {
		return fmt.Errorf(noDescription+"%w", clipped(err))
	}
	if w.modules, err = payload.DecodeModules(answer.GetMsgpack()); err != nil {
		return fmt.Errorf("read the plugin's description: %w", err)
	}
	return nil
}

// dialOptions returns the gRPC options for the connection to a worker. They limit the size of messages in
// both directions and disable go-plugin's broker, which would accept connections from anywhere.
func dialOptions(dial func(context.Context) (net.Conn, error)) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }),
		grpc.WithStatsHandler(sentHandler{}),
		grpc.WithStaticStreamWindowSize(plugin.Window), grpc.WithStaticConnWindowSize(plugin.Window),
		grpc.WithIdleTimeout(0), // Never reconnects, so gRPC must not close idle connections.
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

// dead reports whether the process has ended or must not get any more calls.
func (w *worker) dead() bool { return w.hung.Load() || w.process.Ended() }

// leave marks a worker that is about to exit, so that it gets no more calls, and kills the worker if it does
// not exit in time.
func (w *worker) leave() {
	if !w.hung.Swap(true) {
		time.AfterFunc(protocol.WorkerKillTimeout, func() { _ = w.process.Process.Kill() })
	}
}

// clear removes the worker's directory and control group, and so kills all processes in the group.
func (w *worker) clear() {
	if w.dir != "" {
		if err := isolate.RemoveDir(w.dir); err != nil {
			w.stderr.line([]byte("remove the worker's directory: " + err.Error()))
		}
	}
	if w.group != nil {
		w.group.End()
	}
}

// stop kills the worker with SIGKILL, removes its directory and control group, and then stops the client of
// go-plugin, for which it waits at most protocol.WorkerKillTimeout. SIGKILL comes first, because go-plugin
// 1.8.0 waits half a minute for a process that is suspended (SIGSTOP).
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
	w.clear() // Before client.Kill, which would follow a tenant's links.
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
