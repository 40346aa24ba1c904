package isolate

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/isolate/execas"
	"github.com/liveapid/liveapid/protocol"
)

const (
	// maxFiles is the maximum number of descriptors of a process with another uid than the host.
	maxFiles = 1024
	// maxFileSize is the maximum size in bytes of each file that a process with another uid writes. The
	// largest file that is needed is that of a mail store, with at most 64 MiB.
	maxFileSize = 256 << 20
	// lastOutput is the maximum time for which the host still reads the output of a process after the process
	// has ended. Without this limit, the host could wait forever, because a grandchild may keep the pipes
	// open.
	lastOutput = 500 * time.Millisecond
)

// ProcessOptions describe a process that has not been started yet.
type ProcessOptions struct {
	Binary     *os.File            // The opened program. Process.Start closes it.
	Args, Env  []string            // The arguments after the program's name, and the whole environment.
	Credential *syscall.Credential // User of the process; nil means the host's own user.
	Cgroup     string              // Control group directory that the process enters; "": none.
	Spawner    *Spawner

	StartTimeout time.Duration // Kill the process unless StopTimer is called in time.
	OnTimeout    func()        // Called after StartTimeout has killed the process.
	// Stdout and Stderr read the output of the process until it ends. Each is called once, in a goroutine of
	// its own.
	Stdout, Stderr func(io.Reader)
}

// Process is an operating system process with its own session and process group. Its methods, except for
// Start, are safe for concurrent use.
type Process struct {
	o   ProcessOptions
	cmd *exec.Cmd

	pid    int
	pidfd  *os.File    // Readable when the process has ended, even under a tracer.
	timer  *time.Timer // Kills a process that starts too slowly; Start sets it.
	exited chan struct{}
	reaped chan struct{}

	mu    sync.Mutex // Guards the fields below, and the signal in Kill.
	gone  bool       // Whether the process has ended.
	how   syscall.WaitStatus
	known bool // Whether the process was reaped, so that how is set.
}

// NewProcess prepares a process; Start starts it. The standard input of the process is /dev/null, because the
// host's own standard input may belong to a session with a client.
func NewProcess(o ProcessOptions) *Process {
	p := &Process{o: o, exited: make(chan struct{}), reaped: make(chan struct{})}
	args := append([]string{o.Binary.Name()}, o.Args...)
	if o.Credential == nil {
		p.cmd = &exec.Cmd{
			Args: args, Env: o.Env, Dir: "/",
			SysProcAttr: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
		}
		return p
	}
	p.cmd = execas.Command(execas.Spec{
		Binary: o.Binary, Args: args, Env: o.Env, UID: int(o.Credential.Uid), GID: int(o.Credential.Gid),
		Files: maxFiles, FileSize: maxFileSize, Cgroup: o.Cgroup,
	})
	return p
}

// Start starts the process, or returns an error. It executes the file that is open as Binary, even if the
// path of that file meanwhile names another file. Start closes Binary in any case, and must be called only
// once.
func (p *Process) Start() error {
	defer func() { _ = p.o.Binary.Close() }()
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
		return err
	}
	p.pid = p.cmd.Process.Pid
	p.pidfd = os.NewFile(uintptr(*p.cmd.SysProcAttr.PidFD), "pidfd")
	_ = p.cmd.Process.Release() // reap waits for the process, not package os.
	p.timer = time.AfterFunc(p.o.StartTimeout, func() {
		_ = p.Kill()
		p.o.OnTimeout()
	})
	go func() {
		p.o.Stdout(stdout)
		_ = stdout.Close()
	}()
	go func() {
		p.o.Stderr(stderr)
		_ = stderr.Close()
	}()
	go p.reap(stdout, stderr)
	return nil
}

// execute starts the command. If there is no launcher, execute copies the binary's descriptor to a number
// that is at least above; above must be higher than every descriptor number that the child needs.
func (p *Process) execute(above int) error {
	p.cmd.SysProcAttr.PidFD = new(int)
	if p.o.Credential != nil { // The launcher gets the binary as an extra file.
		return p.o.Spawner.Start(p.cmd)
	}
	// Before the child calls execve, Go moves one of its own pipes to the first free descriptor after the
	// standard streams. The binary's descriptor could have that number and would be overwritten, so it is
	// copied to a high number.
	fd, err := unix.FcntlInt(p.o.Binary.Fd(), unix.F_DUPFD_CLOEXEC, above)
	if err != nil {
		return err
	}
	// The path refers to the descriptor, which is still open in the child when the child calls execve.
	p.cmd.Path = "/proc/self/fd/" + strconv.Itoa(fd)
	err = p.o.Spawner.Start(p.cmd)
	_ = unix.Close(fd)
	return err
}

// StopTimer ends the time limit of the start. It returns false if the limit has already passed and the
// process is killed.
func (p *Process) StopTimer() bool { return p.timer == nil || p.timer.Stop() }

// reap waits for the end of the process, kills the rest of its process group, and stops reading the pipes,
// which a grandchild may still keep open. reap waits on the pidfd and not with wait4: if another process of
// the same user traces the process, wait4 does not return until the tracer detaches.
func (p *Process) reap(stdout, stderr *os.File) {
	defer func() { _ = p.pidfd.Close() }()
	if raw, err := p.pidfd.SyscallConn(); err != nil || raw.Read(hasEnded) != nil {
		p.waitBlocking()
	}
	// The group is killed before the process is reaped, because afterwards the kernel may reuse the pid and
	// the id of the group.
	_ = unix.Kill(-p.pid, unix.SIGKILL)
	reaped := p.collect()
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	close(p.exited)
	deadline := time.Now().Add(lastOutput)
	_ = stdout.SetReadDeadline(deadline)
	_ = stderr.SetReadDeadline(deadline)
	for !reaped {
		time.Sleep(time.Second) // The kernel does not announce when a tracer detaches: poll.
		reaped = p.collect()
	}
	close(p.reaped)
}

// hasEnded reports whether the process of the given pidfd has ended. It does not wait.
func hasEnded(pidfd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1
}

// waitBlocking waits for the end of the process without the pidfd, on kernels that can't poll a pidfd. It
// does not reap the process.
func (p *Process) waitBlocking() {
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// collect reaps the process if it has ended. It returns false if the process can't be reaped yet because a
// tracer is still attached.
func (p *Process) collect() bool {
	// The lock also protects Kill: wait4 frees the pid, and Kill must not send a signal to that pid before
	// gone is set.
	p.mu.Lock()
	defer p.mu.Unlock()
	var how syscall.WaitStatus
	pid, err := syscall.Wait4(p.pid, &how, syscall.WNOHANG, nil)
	if err == nil && pid == 0 || errors.Is(err, unix.EINTR) {
		return false
	}
	p.how, p.known, p.gone = how, err == nil, true
	return true
}

// PID returns the id of the process, or 0 before Start.
func (p *Process) PID() int { return p.pid }

// Exited returns a channel that is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Reaped returns a channel that is closed when the process has ended and was reaped, so that the kernel may
// reuse its pid. If another process traces the process, reaping is delayed until the tracer detaches.
func (p *Process) Reaped() <-chan struct{} { return p.reaped }

// Ended reports whether the process has ended. It asks the kernel, because a worker that was killed a moment
// ago may not be reaped yet, and must not get another call.
func (p *Process) Ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return true
	}
	ended := false
	raw, err := p.pidfd.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { ended = hasEnded(fd) })
	}
	return ended
}

// Status returns a short text that describes how the process ended.
func (p *Process) Status() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.known:
		return "exit status not known, because the process ended just now or a tracer holds it"
	case p.how.Signaled():
		return "signal: " + p.how.Signal().String()
	}
	return fmt.Sprintf("exit status %d", p.how.ExitStatus())
}

// Kill sends SIGKILL to the process and its group, and waits until the process has ended. It returns an error
// if that takes longer than protocol.WorkerKillTimeout.
func (p *Process) Kill() error {
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
