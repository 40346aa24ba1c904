package worker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/isolate/execas"
	"github.com/liveapid/liveapid/protocol"
)

// process is one plugin process, and go-plugin's view of it.
type process struct {
	cmd     *exec.Cmd
	binary  *os.File
	dir     string // The one directory its socket may lie in.
	tls     bool   // Its handshake must carry a certificate.
	handed  bool   // The directory is the worker's own until then.
	spawner *Spawner
	log     *lineLog
	start   time.Duration // Bounds its start.

	pid     int
	pidfd   *os.File       // Readable when the process has ended, whoever traces it.
	late    *time.Timer    // Ends a start that takes too long; set by Start.
	tooLate func()         // What it does beside killing the process.
	ready   *io.PipeReader // The checked handshake line, for go-plugin.
	exited  chan struct{}
	reaped  chan struct{}

	mu     sync.Mutex // Guards what follows, and keeps the pid from reuse while it is signalled.
	socket string     // Set once the handshake was checked.
	err    error      // Why the handshake was refused.
	gone   bool       // The process has ended.
	how    syscall.WaitStatus
	known  bool // How it ended is known: it was reaped.
}

var _ runner.Runner = (*process)(nil)

// newProcess prepares the process that executes binary itself, whatever its path names
// by then. env is the whole environment, args what follows the program's name. Its standard
// input stays nil, which is /dev/null: the host's own carries a session.
func newProcess(binary *os.File, args, env []string, dir string) *process {
	cmd := &exec.Cmd{
		Args: append([]string{binary.Name()}, args...), Env: env, Dir: "/",
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	}
	return &process{cmd: cmd, binary: binary, dir: dir, exited: make(chan struct{}), reaped: make(chan struct{})}
}

// as makes another user of the process, which the launcher then starts.
func (p *process) as(credential *syscall.Credential, cgroup string) {
	p.cmd = execas.Command(execas.Spec{
		Binary: p.binary, Args: p.cmd.Args, Env: p.cmd.Env, UID: int(credential.Uid), GID: int(credential.Gid),
		Files: maxFiles, FileSize: maxFileSize, Cgroup: cgroup,
	})
}

const (
	// maxFiles bounds a worker's descriptors, and maxFileSize the files it writes, in bytes: the
	// largest is a store's, of 64 MiB at most.
	maxFiles    = 1024
	maxFileSize = 256 << 20
)

// Start implements runner.Runner.
func (p *process) Start(context.Context) error {
	defer func() { _ = p.binary.Close() }()
	stdout, stdoutChild, err := os.Pipe()
	if err != nil {
		return err
	}
	stderr, stderrChild, err := os.Pipe()
	if err != nil {
		_ = stdout.Close()
		_ = stdoutChild.Close()
		return err
	}
	p.cmd.Stdout, p.cmd.Stderr = stdoutChild, stderrChild
	err = p.execute(int(max(stdoutChild.Fd(), stderrChild.Fd())) + 16)
	_ = stdoutChild.Close()
	_ = stderrChild.Close()
	if err != nil {
		_ = stdout.Close()
		_ = stderr.Close()
		return fmt.Errorf("start the plugin: %w", err)
	}
	p.pid = p.cmd.Process.Pid
	p.pidfd = os.NewFile(uintptr(*p.cmd.SysProcAttr.PidFD), "pidfd")
	_ = p.cmd.Process.Release() // It is reaped here.
	p.late = time.AfterFunc(p.start, func() {
		_ = p.kill()
		p.tooLate()
	})
	var handshake *io.PipeWriter
	p.ready, handshake = io.Pipe()
	go p.readStdout(stdout, handshake)
	go func() {
		p.log.copyFrom(stderr)
		_ = stderr.Close()
	}()
	go p.reap(stdout, stderr)
	return nil
}

// execute starts the command.
func (p *process) execute(above int) error {
	p.cmd.SysProcAttr.PidFD = new(int)
	if p.cmd.Path != "" { // The launcher's.
		return p.spawner.Start(p.cmd)
	}
	// In the child Go moves a pipe of its own to the descriptor behind the standard
	// streams', whatever that is; the binary must be out of its way.
	fd, err := unix.FcntlInt(p.binary.Fd(), unix.F_DUPFD_CLOEXEC, above)
	if err != nil {
		return err
	}
	// The path is the descriptor, which the child still holds when it calls execve.
	p.cmd.Path = "/proc/self/fd/" + strconv.Itoa(fd)
	err = p.spawner.Start(p.cmd)
	_ = unix.Close(fd)
	return err
}

// readStdout hands the checked handshake on and discards whatever follows.
func (p *process) readStdout(stdout *os.File, handshake *io.PipeWriter) {
	r := bufio.NewReaderSize(stdout, maxHandshake)
	line, err := readHandshake(r, p.dir, p.tls)
	p.mu.Lock()
	p.err = err
	if err == nil {
		p.socket = strings.Split(line, "|")[3]
	}
	p.mu.Unlock()
	if err == nil {
		_, _ = io.WriteString(handshake, line+"\n")
	}
	_ = handshake.Close()
	_, _ = io.Copy(io.Discard, r)
	_ = stdout.Close()
}

// reap waits for the process's end, ends what it left in its group, and closes the pipes that a
// grandchild may still hold. It waits by the descriptor: of a process that another one of its
// user traces, the parent hears nothing by waiting until the tracer lets go.
func (p *process) reap(stdout, stderr *os.File) {
	defer func() { _ = p.pidfd.Close() }()
	if raw, err := p.pidfd.SyscallConn(); err != nil || raw.Read(ended) != nil {
		p.waitBlocking()
	}
	// Before it is reaped: until then the pid, and so the group's id, can't be reused.
	_ = unix.Kill(-p.pid, unix.SIGKILL)
	reaped := p.collect()
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	close(p.exited)
	// What was printed last is still in the pipes; half a second reads it.
	deadline := time.Now().Add(500 * time.Millisecond)
	_ = stdout.SetReadDeadline(deadline)
	_ = stderr.SetReadDeadline(deadline)
	for !reaped {
		time.Sleep(time.Second) // Its tracer still has it, and nothing tells when it lets go.
		reaped = p.collect()
	}
	close(p.reaped)
}

// ended tells whether the process behind a descriptor has ended.
func ended(pidfd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1
}

// waitBlocking is for a kernel whose descriptors of processes can't be waited for otherwise.
func (p *process) waitBlocking() {
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// collect reaps the process, if its tracer lets that happen.
func (p *process) collect() bool {
	var how syscall.WaitStatus
	pid, err := syscall.Wait4(p.pid, &how, syscall.WNOHANG, nil)
	if err == nil && pid == 0 || errors.Is(err, unix.EINTR) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.how, p.known = how, err == nil
	return true
}

// ended tells whether the process has ended, also where it was not reaped yet: a call
// must not go to a worker that was killed a moment ago.
func (p *process) ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return true
	}
	is := false
	raw, err := p.pidfd.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { is = ended(fd) })
	}
	return is
}

// handshake returns the worker's socket, or why its handshake was refused.
func (p *process) handshake() (socket string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.socket, p.err
}

// status says how the process ended, for the log.
func (p *process) status() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.known:
		return "just now, or held by a tracer"
	case p.how.Signaled():
		return "signal: " + p.how.Signal().String()
	}
	return fmt.Sprintf("exit status %d", p.how.ExitStatus())
}

// kill ends the process and its group at once and waits for the end, at most
// protocol.WorkerKillTimeout.
func (p *process) kill() error {
	p.mu.Lock()
	if !p.gone {
		_ = unix.Kill(-p.pid, unix.SIGKILL)
	}
	p.mu.Unlock()
	select {
	case <-p.exited:
		return nil
	case <-time.After(protocol.WorkerKillTimeout):
		return fmt.Errorf("plugin process %d did not end within %s of SIGKILL", p.pid, protocol.WorkerKillTimeout)
	}
}

// Kill implements runner.Runner.
func (p *process) Kill(context.Context) error { return p.kill() }

// Wait implements runner.Runner.
func (p *process) Wait(context.Context) error {
	<-p.exited
	return nil
}

// Stdout implements runner.Runner with the checked handshake alone.
func (p *process) Stdout() io.ReadCloser { return p.ready }

// Stderr implements runner.Runner with nothing: go-plugin parses what it reads there,
// and one JSON line of the right form ends the host.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements runner.Runner.
func (p *process) Name() string { return filepath.Base(p.binary.Name()) }

// ID implements runner.Runner.
func (p *process) ID() string { return strconv.Itoa(p.pid) }

// Diagnose implements runner.Runner.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.Runner: the socket from the handshake, nothing else.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || filepath.Dir(address) != p.dir {
		return "", "", errors.New("the plugin's socket lies outside its directory")
	}
	if p.handed {
		// It has made its socket, and there is nothing else to make.
		if err := takeBack(p.dir); err != nil {
			return "", "", err
		}
	}
	var st unix.Stat_t
	if err := unix.Lstat(address, &st); err != nil {
		return "", "", fmt.Errorf("the plugin's socket: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return "", "", errors.New("the plugin's socket is no socket")
	}
	if p.handed {
		// Who may connect goes by the file's owner; who listens stays who it was.
		if err := os.Lchown(address, os.Geteuid(), os.Getegid()); err != nil {
			return "", "", fmt.Errorf("the plugin's socket: %w", err)
		}
	}
	return network, address, nil
}

// HostToPlugin implements runner.Runner. The host offers a plugin no address.
func (p *process) HostToPlugin(string, string) (string, string, error) {
	return "", "", errors.New("the host serves nothing to plugins")
}
