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
	// maxFiles bounds the descriptors of a process with another uid.
	maxFiles = 1024
	// maxFileSize bounds each file that such a process writes, in bytes. The largest is a mail store's,
	// with 64 MiB at most.
	maxFileSize = 256 << 20
	// lastOutput is how long the output of a process is read after its end. A grandchild may keep the
	// pipes open for longer.
	lastOutput = 500 * time.Millisecond
)

// ProcessOptions describe a process before its start.
type ProcessOptions struct {
	Binary     *os.File            // The opened program. Start closes it.
	Args, Env  []string            // The arguments after the program's name, and the whole environment.
	Credential *syscall.Credential // The process's user; nil means the host's own.
	Cgroup     string              // Directory of the control group that the process enters; "" means none.
	Spawner    *Spawner

	StartTimeout time.Duration // The process is killed if StopTimer is not called in time.
	OnTimeout    func()        // Called after that kill.
	// Stdout and Stderr read the output until its end, each in a goroutine of its own.
	Stdout, Stderr func(io.Reader)
}

// Process is one process, with its own session and process group.
type Process struct {
	o   ProcessOptions
	cmd *exec.Cmd

	pid    int
	pidfd  *os.File    // Readable when the process has ended, even if another process traces it.
	timer  *time.Timer // Kills a process that takes too long to start; set by Start.
	exited chan struct{}
	reaped chan struct{}

	mu    sync.Mutex // Guards the fields below, and keeps the pid from reuse while it is signalled.
	gone  bool       // The process has ended.
	how   syscall.WaitStatus
	known bool // The process was reaped, so how it ended is known.
}

// NewProcess prepares a process; Start starts it. Its standard input is /dev/null, because the host's own
// standard input may carry a session.
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

// Start starts the process. The file that was opened as Binary is executed, even if its path names another
// file by now.
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
	_ = p.cmd.Process.Release() // The goroutine of reap waits for the process.
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

// execute starts the command. above is higher than any descriptor that the child needs.
func (p *Process) execute(above int) error {
	p.cmd.SysProcAttr.PidFD = new(int)
	if p.o.Credential != nil { // The launcher has the binary as an extra file.
		return p.o.Spawner.Start(p.cmd)
	}
	// In the child, Go moves a pipe of its own to the first free descriptor after the standard streams.
	// A copy of the binary with a high number is out of the way.
	fd, err := unix.FcntlInt(p.o.Binary.Fd(), unix.F_DUPFD_CLOEXEC, above)
	if err != nil {
		return err
	}
	// The path names the descriptor, which the child still holds when it calls execve.
	p.cmd.Path = "/proc/self/fd/" + strconv.Itoa(fd)
	err = p.o.Spawner.Start(p.cmd)
	_ = unix.Close(fd)
	return err
}

// StopTimer ends the time limit of the start. It returns false if the limit has passed.
func (p *Process) StopTimer() bool { return p.timer == nil || p.timer.Stop() }

// reap waits for the end of the process, kills the rest of its group, and stops reading its pipes, which
// a grandchild may still hold. It waits on the pidfd: wait4 does not return for a process that another
// process of the same user traces until the tracer detaches.
func (p *Process) reap(stdout, stderr *os.File) {
	defer func() { _ = p.pidfd.Close() }()
	if raw, err := p.pidfd.SyscallConn(); err != nil || raw.Read(hasEnded) != nil {
		p.waitBlocking()
	}
	// The group is killed before the process is reaped: until then neither the pid nor the group's id can
	// be reused.
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
		time.Sleep(time.Second) // The tracer still holds it, and the kernel does not announce when it lets go.
		reaped = p.collect()
	}
	close(p.reaped)
}

// hasEnded reports whether the process of a pidfd has ended.
func hasEnded(pidfd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1
}

// waitBlocking waits without the pidfd, for kernels that can't poll a pidfd.
func (p *Process) waitBlocking() {
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// collect reaps the process. It returns false if a tracer still holds it.
func (p *Process) collect() bool {
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

// PID returns the process's id, or 0 before its start.
func (p *Process) PID() int { return p.pid }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Reaped is closed when the kernel has forgotten the process. A tracer can delay that.
func (p *Process) Reaped() <-chan struct{} { return p.reaped }

// Ended reports whether the process has ended. It asks the kernel, so that a call does not go to a worker
// that was killed a moment ago and is not reaped yet.
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

// Status says in words how the process ended.
func (p *Process) Status() string {
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

// Kill sends SIGKILL to the process and its group and waits until the process has ended, for at most
// protocol.WorkerKillTimeout.
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
