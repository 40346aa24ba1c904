package worker_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/host/isolate/execas"
	"github.com/liveapid/liveapid/host/worker"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// TestMain is also every worker of these tests, good and bad. The program's name selects the worker, because
// a test can't choose a worker's environment and arguments.
func TestMain(m *testing.M) {
	execas.Main()
	name, ok := strings.CutPrefix(filepath.Base(os.Args[0]), "worker-")
	if ok {
		actWorker(name)
		return
	}
	if os.Getenv("WORKER_TEST_HOST") != "" {
		actHost()
		return
	}
	os.Exit(m.Run())
}

func actWorker(name string) {
	kind, arg, _ := strings.Cut(name, "-")
	switch kind {
	case "good":
		sdk.Serve(module())
	case "split":
		sdk.Serve(splitModule())
	case "hungry":
		sdk.Serve(hungry())
	case "litters": // Fills its directory before it serves.
		litter(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"))
		sdk.Serve(module())
	case "handshake": // Prints the content of the file next to the program.
		text, err := os.ReadFile(os.Args[0] + ".txt")
		if err != nil {
			panic(err)
		}
		fmt.Print(strings.ReplaceAll(string(text), "DIR", os.Getenv("PLUGIN_UNIX_SOCKET_DIR")))
		_ = syscall.Pause() // Stays until it is killed.
	case "mute": // Accepts connections and does not answer, or offers HTTP/2 without a stream.
		serveMute(arg)
	case "turncoat": // Serves, then replaces its socket by a link to another and hangs up.
		turncoat(arg)
	case "pages": // Returns a page of a list, whether or not the host asks for one.
		sdk.ServePlugin(pages{sdk.NewServer(module())})
	case "ends":
		fmt.Fprintln(os.Stderr, "this plugin is broken")
		os.Exit(3)
	case "noisy": // Prints text that would crash a host that lets go-plugin parse it, then serves.
		for _, line := range hostileLines() {
			fmt.Fprintln(os.Stderr, line)
		}
		if arg == "flood" {
			chunk := strings.Repeat("x", 1<<20)
			for range 64 {
				fmt.Fprint(os.Stderr, chunk)
			}
		}
		sdk.Serve(module())
	case "evil":
		_ = os.WriteFile(os.Args[0]+".ran", nil, 0o600)
	}
}

// litter creates files that could delay or mislead their removal.
func litter(dir string) {
	target, _ := os.ReadFile(os.Args[0] + ".txt")
	deep := filepath.Join(dir, "deep")
	for range 5 {
		_ = os.Mkdir(deep, 0o700)
		deep = filepath.Join(deep, "d")
	}
	_ = os.Symlink(string(target), filepath.Join(dir, "link"))
	_ = os.Mkdir(filepath.Join(dir, "shut"), 0)
	for i := range 200 {
		_ = os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o600)
	}
}

// hungry allocates memory until it is killed.
func hungry() *sdk.Module {
	m := module()
	m.Functions = append(m.Functions, sdk.Function{Function: protocol.Function{
		API: protocol.UAPI, Name: "eat", Roles: []protocol.Role{protocol.RoleAccount},
	}, Do: func(ctx context.Context, _ *sdk.Call) (any, error) {
		pace := time.NewTicker(2 * time.Millisecond) // At the speed of a leak, not of memory.
		defer pace.Stop()
		var held [][]byte
		for ctx.Err() == nil && len(held) < 4096 {
			piece := make([]byte, 1<<20)
			for i := 0; i < len(piece); i += 4096 { // Touches each page.
				piece[i] = 1
			}
			held = append(held, piece)
			<-pace.C
		}
		return len(held), nil
	}})
	return m
}

func serveMute(arg string) {
	socket := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "p")
	l, err := net.Listen("unix", socket)
	if err != nil {
		panic(err)
	}
	fmt.Printf("1|1|unix|%s|grpc|\n", socket)
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		if arg == "streams" { // A SETTINGS frame: MAX_CONCURRENT_STREAMS is 0.
			_, _ = conn.Write([]byte("\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00"))
			_, _ = conn.Write([]byte("\x00\x00\x00\x04\x01\x00\x00\x00\x00"))
		}
		go func() { _, _ = io.Copy(io.Discard, conn) }()
	}
}

func turncoat(string) {
	target, err := os.ReadFile(os.Args[0] + ".txt")
	if err != nil {
		panic(err)
	}
	m := module()
	m.Functions = append(m.Functions, sdk.Function{Function: protocol.Function{
		API: protocol.UAPI, Name: "turn", Roles: []protocol.Role{protocol.RoleAccount},
	}, Do: func(context.Context, *sdk.Call) (any, error) {
		sockets, _ := filepath.Glob(filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "*"))
		for _, socket := range sockets {
			_ = os.Remove(socket)
			_ = os.Symlink(string(target), socket)
		}
		return os.Getpid(), nil
	}}, sdk.Function{Function: protocol.Function{
		API: protocol.UAPI, Name: "cut", Roles: []protocol.Role{protocol.RoleAccount},
	}, Do: func(context.Context, *sdk.Call) (any, error) {
		fds, _ := os.ReadDir("/proc/self/fd")
		for _, fd := range fds {
			if n, err := strconv.Atoi(fd.Name()); err == nil && n > 2 {
				_ = syscall.Shutdown(n, syscall.SHUT_RDWR)
			}
		}
		return nil, nil
	}})
	sdk.Serve(m)
}

func hostileLines() []string {
	return []string{
		`{"@message":1}`, `{"@level":"error","@message":"forged"}`, `{"@level":5,"@timestamp":[]}`, `{}`, `[]`, "null", "panic: x",
		"\x1b[31mred\x07", strings.Repeat("a", 100_000), "\xff\xfe\x00", "level=ERROR msg=forged", "",
	}
}

func module() *sdk.Module {
	fn := func(name string, do func(context.Context, *sdk.Call) (any, error)) sdk.Function {
		return sdk.Function{Function: protocol.Function{
			API: protocol.UAPI, Name: name, Roles: []protocol.Role{protocol.RoleAccount},
			Params: []protocol.Param{{Name: "text"}, {Name: "secret", Type: protocol.TypeSecret}},
		}, Do: do}
	}
	return &sdk.Module{Name: "Try", Help: "For tests.", Functions: []sdk.Function{
		fn("pid", func(context.Context, *sdk.Call) (any, error) { return os.Getpid(), nil }),
		fn("echo", func(_ context.Context, c *sdk.Call) (any, error) {
			return c.String("text") + c.Secret("secret").Reveal(), nil
		}),
		fn("crash", func(context.Context, *sdk.Call) (any, error) { os.Exit(7); return nil, nil }),
		fn("hang", func(_ context.Context, c *sdk.Call) (any, error) {
			if path := c.String("text"); path != "" {
				_ = os.WriteFile(path, nil, 0o600) // Tells the test that it is running.
			}
			select {}
		}),
		fn("big", func(context.Context, *sdk.Call) (any, error) { return strings.Repeat("x", 17<<20), nil }),
		fn("print", func(context.Context, *sdk.Call) (any, error) {
			fmt.Println("to standard output")
			fmt.Fprintln(os.Stderr, "to standard error")
			_, _ = syscall.Write(1, []byte("to descriptor 1\n"))
			return nil, nil
		}),
		fn("stdin", func(context.Context, *sdk.Call) (any, error) {
			in, err := io.ReadAll(os.Stdin)
			return len(in), err
		}),
		fn("process", func(context.Context, *sdk.Call) (any, error) { return describeProcess() }),
		fn("escape", func(context.Context, *sdk.Call) (any, error) {
			cmd := exec.Command("/bin/sleep", "300")
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			err := cmd.Start()
			return cmd.Process.Pid, err
		}),
		fn("grandchild", func(context.Context, *sdk.Call) (any, error) {
			cmd := exec.Command("/bin/sleep", "300")
			cmd.Stdout, cmd.Stderr = os.Stdout, os.NewFile(2, "stderr")
			err := cmd.Start()
			return cmd.Process.Pid, err
		}),
	}}
}

// describeProcess returns facts about the worker's own process.
func describeProcess() (any, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, err
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	var open []string
	for _, fd := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil {
			open = append(open, fd.Name()+" "+target)
		}
	}
	cwd, err := os.Getwd()
	return map[string]any{
		"status": string(status), "fds": open, "env": os.Environ(), "cwd": cwd, "uid": os.Getuid(), "gid": os.Getgid(),
	}, err
}

// actHost is a host that is killed: it starts a worker, prints its pid and waits.
func actHost() {
	dir, err := isolate.NewRunDir(os.Getenv("WORKER_TEST_HOST"), 0o711)
	if err != nil {
		panic(err)
	}
	o := worker.Options{
		PluginOptions: worker.PluginOptions{Path: os.Getenv("WORKER_TEST_BINARY")}, RunDir: dir, Spawner: isolate.NewSpawner(), Log: slog.New(slog.DiscardHandler),
	}
	account := protocol.Account{Name: "alice"}
	if uid, err := strconv.Atoi(os.Getenv("WORKER_TEST_UID")); err == nil {
		o.Credential, o.TLS, account.UID, account.GID = isolate.Credential, true, uid, uid
	}
	s := worker.New(o)
	result, err := call(context.Background(), s, protocol.Caller{Account: account}, protocol.Call{API: protocol.UAPI, Module: "Try", Func: "pid"})
	if err != nil {
		panic(err)
	}
	fmt.Println(result.Data)
	select {}
}

// patience limits waits for events that are immediate except on a slow machine. It is half of go-plugin's own
// timeout for a silent worker, so that a wait for go-plugin fails the test.
const (
	patience = time.Minute
	slowest  = 25 * time.Second
)

// rig is a supervisor of a kind of worker.
type rig struct {
	t    *testing.T
	s    *worker.Supervisor
	log  *syncBuffer
	dir  string
	path string // The plugin's path.
}

// binary links this test program to a path whose name selects the kind of worker.
func binary(t *testing.T, dir, kind string) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	path := filepath.Join(dir, "worker-"+kind)
	if os.Link(self, path) == nil {
		return path
	}
	content, err := os.ReadFile(self)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, content, 0o755))
	return path
}

func newRig(t *testing.T, kind string, change ...func(*worker.Options)) *rig {
	t.Helper()
	r := &rig{t: t, log: &syncBuffer{}, dir: shortDir(t)}
	run, err := isolate.NewRunDir(r.dir, 0o700)
	require.NoError(t, err)
	spawner := isolate.NewSpawner()
	o := worker.Options{
		PluginOptions: worker.PluginOptions{Path: binary(t, t.TempDir(), kind)}, RunDir: run, Spawner: spawner,
		Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if !strings.HasPrefix(kind, "handshake") && !strings.HasPrefix(kind, "mute") { // These never start.
		o.Start = patience
	}
	for _, c := range change {
		c(&o)
	}
	r.s, r.path = worker.New(o), o.Path
	t.Cleanup(func() {
		r.s.Close()
		spawner.Close()
		require.NoError(t, run.Close())
		if t.Failed() {
			t.Log(r.log.String())
		}
	})
	return r
}

// shortDir is a temporary directory with a path short enough for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lw")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

var alice = protocol.Account{Name: "alice", UID: os.Getuid(), GID: os.Getgid()}

func (r *rig) call(ctx context.Context, name string, args map[string]any) (*protocol.Result, error) {
	return call(ctx, r.s, protocol.Caller{Account: alice, Role: protocol.RoleAccount},
		protocol.Call{API: protocol.UAPI, Module: "Try", Func: name, Args: protocol.Args{Named: args}})
}

// must runs a call that must succeed, and returns its data.
func (r *rig) must(name string, args map[string]any) any {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	result, err := r.call(ctx, name, args)
	require.NoError(r.t, err)
	require.Nil(r.t, result.Err)
	return result.Data
}

func (r *rig) pid() int { return int(toInt(r.must("pid", nil))) }

func toInt(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case uint64:
		return int64(v)
	}
	return -1
}

// gone waits until a process has ended.
func gone(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		// The leader may be a zombie while other threads still run.
		threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		return errors.Is(err, os.ErrNotExist) || strings.Contains(string(status), "State:\tZ") && len(threads) <= 1
	}, patience, 5*time.Millisecond, "process %d", pid)
}

// listenOutside listens on a socket that belongs to no worker. connected tells whether a client connected.
func listenOutside(t *testing.T) (path string, connected func() bool) {
	t.Helper()
	path = filepath.Join(shortDir(t), "outside.sock")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	hit := make(chan struct{}, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
			hit <- struct{}{}
		}
	}()
	return path, func() bool { return len(hit) > 0 }
}

func readLine(t *testing.T, r io.Reader) string {
	t.Helper()
	line, err := bufio.NewReader(r).ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(line)
}

// call runs a call like the host: with the function that the plugin describes.
func call(ctx context.Context, s *worker.Supervisor, caller protocol.Caller, call protocol.Call) (*protocol.Result, error) {
	r := host.Request{ID: "id1234", Caller: caller, Call: call}
	modules, err := s.Modules(ctx, caller.Account)
	if err != nil {
		return nil, err
	}
	for _, m := range modules {
		for _, fn := range m.Functions {
			if m.Name == call.Module && fn.API == call.API && fn.Name == call.Func {
				r.Function = fn
			}
		}
	}
	return s.Call(ctx, r)
}
