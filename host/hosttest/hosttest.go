// Package hosttest provides tests with a real host: a sandbox in a temporary directory, the programs in bin/,
// and connections that use the wire format. The package mocks nothing. Only tests import it.
package hosttest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
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

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/daemon"
	"github.com/liveapid/liveapid/host/front/unixsock"
	"github.com/liveapid/liveapid/protocol/wire"
)

// Patience is the maximum time of every wait in a test. It is so long that only a test that hangs reaches it.
const Patience = 60 * time.Second

// Tick is the interval at which a test checks a condition until it is true.
const Tick = 20 * time.Millisecond

// Root returns the root directory of the Go module: the directory that contains go.mod.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		require.NotEqual(t, "/", dir, "no go.mod above the test")
		dir = filepath.Dir(dir)
	}
}

// Bin returns the path of the program called name in bin/. The test fails if the program was not built.
func Bin(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(Root(t), "bin", name)
	require.FileExists(t, path, "run make build first")
	return path
}

// World is a sandbox on disk, in which a test runs a host and other programs.
type World struct {
	Dir    string
	Config string
	Socket string
	Shadow string // The mailbox's shadow file, with the password hash.

	uid int     // Runs the programs, owns Dir; 0 is the test's own user.
	log *Buffer // The log for Start; nil means a new log.
	bin string  // Directory with copies of the programs; "" means bin/.
}

// SandboxAs writes a sandbox that belongs to the user uid. The programs run as that user. The test must run as
// root; otherwise it is skipped.
func SandboxAs(t testing.TB, uid int) *World {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a sandbox of another user needs root")
	}
	parent, err := os.MkdirTemp("", "lw")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	bin := filepath.Join(parent, "bin")
	require.NoError(t, os.Mkdir(bin, 0o755))
	CopyPrograms(t, bin, 0o755)
	require.NoError(t, os.Chmod(parent, 0o755))
	dir := filepath.Join(parent, "s")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.Chown(dir, uid, uid))
	w := newWorld(dir)
	w.uid, w.bin = uid, bin
	Output(t, w.Command(t, "liveapi", "sandbox", dir))
	w.settle(t)
	return w
}

func newWorld(dir string) *World {
	return &World{
		Dir: dir, Config: filepath.Join(dir, "liveapid.toml"), Socket: filepath.Join(dir, "run", "liveapi.sock"),
		Shadow: filepath.Join(dir, "home", "demo", "etc", "example.com", "shadow"),
	}
}

// Sandbox runs liveapi sandbox to write a sandbox in personal mode, and returns it. The sandbox is removed at
// the end of the test.
func Sandbox(t testing.TB) *World {
	t.Helper()
	parent, err := os.MkdirTemp("", "lw") // Short, because the length of a socket's path is limited.
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	return SandboxIn(t, parent)
}

// SandboxIn is like Sandbox, but creates the sandbox's directory below parent.
func SandboxIn(t testing.TB, parent string) *World {
	t.Helper()
	require.NoError(t, os.Chmod(parent, 0o755)) // Dovecot reads the sandbox as another user.
	dir := filepath.Join(parent, "s")
	out, err := exec.Command(Bin(t, "liveapi"), "sandbox", dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	w := newWorld(dir)
	// Most tests use short, weak passwords that are easy to tell apart.
	w.Set(t, "required_strength = 25 ", "required_strength = 0 ")
	w.settle(t)
	return w
}

// Set replaces old by text in the configuration file of w. The test fails if the file does not contain old.
func (w *World) Set(t testing.TB, old, text string) {
	t.Helper()
	config, err := os.ReadFile(w.Config)
	require.NoError(t, err)
	require.Contains(t, string(config), old)
	require.NoError(t, os.WriteFile(w.Config, []byte(strings.Replace(string(config), old, text, 1)), 0o644))
}

// SetSecret is Set for a text that contains a key or a password: it first makes the configuration file
// readable only by its owner, which the host requires.
func (w *World) SetSecret(t testing.TB, old, text string) {
	t.Helper()
	require.NoError(t, os.Chmod(w.Config, 0o600))
	w.Set(t, old, text)
}

const settings = "# The Email plugin" // The line before the plugin in the configuration.

// settle changes the configuration of a new sandbox for tests: it turns off the HTTPS API and gives workers
// much time to start, because many tests may run at once on a slow machine.
func (w *World) settle(t testing.TB) {
	t.Helper()
	w.closeWeb(t)
	w.Set(t, settings, fmt.Sprintf("[limits]\nworker_start = %q\n\n%s", Patience, settings))
}

// Limits adds lines to the section [limits] of the configuration.
func (w *World) Limits(t testing.TB, lines string) {
	t.Helper()
	w.Set(t, "[limits]\n", "[limits]\n"+lines+"\n")
}

// LockStore locks the store of the mailbox's domain, as another program does while it changes the store's
// files. Changes wait until unlock is called. The lock file exists only after the first change, so make a
// change before LockStore.
func (w *World) LockStore(t testing.TB) (unlock func()) {
	t.Helper()
	lock, err := os.OpenFile(filepath.Join(filepath.Dir(w.Shadow), ".liveapid.lock"), os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = lock.Close() })
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	return func() { require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_UN)) }
}

// Env returns the environment for programs that run in the world. The environment contains the paths of this
// world and of the built programs, and nothing else of the test's environment except PATH. more is appended.
func (w *World) Env(t testing.TB, more ...string) []string {
	t.Helper()
	env := []string{
		"PATH=" + w.programs(t) + ":" + os.Getenv("PATH"), "HOME=" + w.Dir, "LANG=C.UTF-8",
		"LIVEAPID_CONFIG=" + w.Config, "LIVEAPID=" + Bin(t, "liveapid"),
		"PERL5LIB=" + filepath.Join(Root(t), "bindings", "perl", "lib"),
	}
	return append(env, more...)
}

// Command returns a command that runs in the world, with the environment of Env: the program called name in
// bin/, or, if bin/ does not contain it, any other program.
func (w *World) Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	if path := filepath.Join(w.programs(t), name); !strings.Contains(name, "/") {
		if _, err := os.Stat(path); err == nil {
			name = path
		}
	}
	cmd := exec.Command(name, args...)
	cmd.Env = w.Env(t)
	if w.uid != 0 {
		cmd.Dir = "/"
		cmd.Env = append(cmd.Env, "LIVEAPID="+filepath.Join(w.bin, "liveapid"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(w.uid), Gid: uint32(w.uid)}}
	}
	return cmd
}

// programs returns the directory that contains the programs of the world.
func (w *World) programs(t testing.TB) string {
	if w.bin == "" {
		return filepath.Join(Root(t), "bin")
	}
	return w.bin
}

// Output runs cmd and returns its standard output. The test fails if cmd fails.
func Output(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s\n%s%s", cmd, stdout.String(), stderr.String())
	return stdout.String()
}

// Host is a running process of liveapid serve.
type Host struct {
	Process *os.Process
	Log     *Buffer
	done    chan error
}

// Serve starts liveapid serve and waits until it accepts connections. The process is killed at the end of the
// test.
func (w *World) Serve(t testing.TB) *Host {
	t.Helper()
	return w.ServeCommand(t, w.Command(t, "liveapid", "serve"))
}

// ServeCommand is Serve with the command cmd instead of liveapid serve.
func (w *World) ServeCommand(t testing.TB, cmd *exec.Cmd) *Host {
	t.Helper()
	h := &Host{Log: &Buffer{}, done: make(chan error, 1)}
	cmd.Stderr = h.Log
	require.NoError(t, cmd.Start())
	h.Process = cmd.Process
	go func() { h.done <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = h.Process.Kill()
		<-h.done
	})
	w.WaitForSocket(t)
	return h
}

// Wait waits until the process has ended and returns its error. Call Wait at most once.
func (h *Host) Wait(t testing.TB) error {
	t.Helper()
	select {
	case err := <-h.done:
		h.done <- nil // The clean-up function receives it.
		return err
	case <-time.After(Patience):
		t.Fatal("the host does not end")
		return nil
	}
}

// Stop sends SIGTERM to the host, as an operator does, and waits for its end. The test fails unless the exit
// status is 0.
func (h *Host) Stop(t testing.TB) {
	t.Helper()
	require.NoError(t, h.Process.Signal(syscall.SIGTERM))
	require.NoError(t, h.Wait(t), "%s", h.Log)
}

// WaitForSocket waits until a host accepts connections on the socket of the world.
func (w *World) WaitForSocket(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("unix", w.Socket)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, Patience, 5*time.Millisecond, "nobody listens on %s", w.Socket)
}

// Start serves the world inside the process of the test, so that the race detector checks the host, and
// returns the host. Workers are separate processes. The functions in change may modify the configuration
// first. The host is closed at the end of the test.
func (w *World) Start(t testing.TB, change ...func(*config.Config)) *daemon.Runtime {
	t.Helper()
	c, err := config.Load(w.Config)
	require.NoError(t, err)
	for i := range c.Plugins {
		c.Plugins[i].Path = Bin(t, filepath.Base(c.Plugins[i].Path))
	}
	c.ScriptWorker, c.Bindings = Bin(t, "liveapi-script"), filepath.Join(Root(t), "bindings")
	for _, f := range change {
		f(c)
	}
	log := w.log
	if log == nil {
		log = &Buffer{}
	}
	rt, err := daemon.New(c, slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	l, err := unixsock.Listen(c.Socket, 0o600)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- rt.Serve(ctx, l, 5*time.Second) }()
	var web sync.WaitGroup
	if c.Web.On() {
		require.NoError(t, rt.OpenHTTPS())
		web.Go(func() { rt.ServeHTTPS(ctx, 5*time.Second) })
	}
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-served)
		web.Wait()
		rt.Close()
		require.NotContains(t, log.String(), "panic in a call")
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return rt
}

// Conn is a client's connection to a host. The test chooses each byte that is sent; a failure of the
// connection fails the test.
type Conn struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

// Dial connects to the socket of the world's host.
func (w *World) Dial(t testing.TB) *Conn {
	t.Helper()
	conn, err := net.Dial("unix", w.Socket)
	require.NoError(t, err)
	return NewConn(t, conn)
}

// NewConn returns a Conn for conn, and closes conn at the end of the test. Each read and each write may take
// at most Patience.
func NewConn(t testing.TB, conn net.Conn) *Conn {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	return &Conn{t: t, Conn: conn, r: bufio.NewReader(conn)}
}

func (c *Conn) patience() {
	c.t.Helper()
	require.NoError(c.t, c.SetDeadline(time.Now().Add(Patience)))
}

// Raw sends text unchanged, without a frame.
func (c *Conn) Raw(text string) {
	c.t.Helper()
	c.patience()
	_, err := io.WriteString(c.Conn, text)
	require.NoError(c.t, err)
}

// Send sends payload in a frame of the wire format.
func (c *Conn) Send(payload string) {
	c.t.Helper()
	c.Raw(string(wire.AppendFrame(nil, []byte(payload))))
}

// Answer reads an answer and returns the JSON in it. The test fails unless the text around the JSON is
// exactly that of the wire format.
func (c *Conn) Answer() string {
	c.t.Helper()
	body := c.AnswerText()
	require.NotContains(c.t, body, "<")
	require.True(c.t, json.Valid([]byte(body)), "%s", body)
	return body
}

// AnswerText is Answer for an answer that does not contain JSON: it returns the text between the tags.
func (c *Conn) AnswerText() string {
	c.t.Helper()
	c.patience()
	head, err := c.r.ReadString('\n')
	require.NoError(c.t, err, "%q", head)
	require.Equal(c.t, "<?xml version=\"1.0\" ?>\n", head)
	line, err := c.r.ReadString('\n')
	require.NoError(c.t, err, "%q", line)
	body, ok := strings.CutPrefix(line, "<cpanelresult>")
	require.True(c.t, ok, "%q", line)
	body, ok = strings.CutSuffix(body, "</cpanelresult>\n")
	require.True(c.t, ok, "%q", line)
	return body
}

// Frame reads an answer of a session that uses MessagePack, and returns the bytes in the frame.
func (c *Conn) Frame() string {
	c.t.Helper()
	c.patience()
	line, err := c.r.ReadString('\n')
	require.NoError(c.t, err, "%q", line)
	size, err := strconv.Atoi(strings.TrimSuffix(line, "\n"))
	require.NoError(c.t, err)
	body := make([]byte, size)
	_, err = io.ReadFull(c.r, body)
	require.NoError(c.t, err)
	return string(body)
}

// Ask sends payload in a frame and returns the JSON of the answer.
func (c *Conn) Ask(payload string) string {
	c.t.Helper()
	c.Send(payload)
	return c.Answer()
}

// Call calls a function and returns the JSON of the answer. api is the number of the API version, args is the
// JSON of the arguments.
func (c *Conn) Call(api, module, function, args string) string {
	c.t.Helper()
	return c.Ask(Action(api, module, function, args))
}

// Action returns the payload with which Call calls a function. Its parameters are those of Call.
func Action(api, module, function, args string) string {
	return fmt.Sprintf("<cpanelaction>\n{\"reqtype\":\"exec\",\"module\":%q,\"func\":%q,\"apiversion\":%q,\"args\":%s}\n</cpanelaction>", module, function, api, args)
}

// Ended waits until the host closes the session. The test fails if the host sends any byte before that.
func (c *Conn) Ended() {
	c.t.Helper()
	c.patience()
	rest, err := io.ReadAll(c.r)
	require.NoError(c.t, err)
	require.Empty(c.t, string(rest))
}

// Buffer is a log in memory. A test may read it while the host writes to it.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns what has been written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
