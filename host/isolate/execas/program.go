package execas

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// programName is argument 0 of a Program's launcher, by which Main recognizes the launcher.
const programName = "liveapid-launch-program"

// Program describes a program that root runs for an account, in an environment like that of a login of the
// account. A worker is started with a Spec instead, which gives the process fewer rights.
type Program struct {
	Words    []string // Program and arguments; the program is looked up in Env's PATH.
	Env      []string // The program's whole environment.
	UID, GID int      // The program's user, without supplementary groups.
	Dir      string   // Working directory; if it can't be entered, Home or "/".
	Home     string
}

// Command returns the command that starts p, in a new session. The caller sets the standard streams of the
// command and, if they are a terminal, gives the command a pseudo-terminal; see package terminal.
func (p Program) Command() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{programName, strconv.Itoa(p.UID), strconv.Itoa(p.GID), p.Dir, p.Home}, p.Words...)
	cmd.Env, cmd.Dir = p.Env, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// programLimits are the maximum resource limits of an account's program. The program would otherwise inherit
// root's limits, which may be unlimited: descriptors, processes, bytes of locked memory and of message
// queues, pending signals, stack, core files, and priorities.
var programLimits = []struct {
	what int
	soft uint64
	hard uint64
}{
	{unix.RLIMIT_NOFILE, 1024, 65536},
	{unix.RLIMIT_NPROC, 4096, 4096},
	{unix.RLIMIT_MEMLOCK, 8 << 20, 8 << 20},
	{unix.RLIMIT_MSGQUEUE, 819200, 819200},
	{unix.RLIMIT_SIGPENDING, 4096, 4096},
	{unix.RLIMIT_STACK, 8 << 20, 64 << 20},
	{unix.RLIMIT_CORE, 0, 0},
	{unix.RLIMIT_RTPRIO, 0, 0},
	{unix.RLIMIT_NICE, 0, 0},
}

// programMain prepares the launcher process and replaces it with the program. It returns only on failure.
func programMain(args []string) error {
	runtime.LockOSThread()
	uid, err1 := strconv.Atoi(args[0])
	gid, err2 := strconv.Atoi(args[1])
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if uid <= 0 || gid <= 0 {
		return errors.New("refused to start an account's program as root: uid and gid must not be 0")
	}
	// The program must not inherit descriptors that root's shell left open.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("set close-on-exec on file descriptors: %w", err)
	}
	unix.Umask(0o022)
	if err := lowerLimits(); err != nil {
		return err
	}
	if err := resetSignals(); err != nil {
		return err
	}
	if err := dropPrivileges(uid, gid); err != nil {
		return err
	}
	// The directory is entered after the privileges were dropped: root's working directory may be below a
	// directory that the account can't enter.
	for _, dir := range []string{args[2], args[3], "/"} {
		if dir != "" && os.Chdir(dir) == nil {
			break
		}
	}
	words := args[4:]
	path, err := exec.LookPath(words[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("execute %s: %w", words[0], syscall.Exec(path, words, os.Environ()))
}

// dropPrivileges drops all privileges of root. The order of the steps matters: after the change of the uid,
// the process may no longer change its groups or raise its priority. The calling goroutine must be locked to
// its thread, because some of the settings apply only to the current thread.
func dropPrivileges(uid, gid int) error {
	if err := ordinary(); err != nil {
		return err
	}
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("drop the supplementary groups: %w", err)
	}
	if err := syscall.Setresgid(gid, gid, gid); err != nil {
		return fmt.Errorf("set the gid: %w", err)
	}
	if err := syscall.Setresuid(uid, uid, uid); err != nil {
		return fmt.Errorf("set the uid: %w", err)
	}
	// A process may use all keys in its session keyring, even the keys of other users. So the process leaves
	// the keyring of root's session and gets a new one. If the kernel has no keyrings or forbids their use
	// (ENOSYS, EPERM), there is no keyring to leave.
	_, _, errno := unix.RawSyscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0)
	if errno != 0 && errno != unix.ENOSYS && errno != unix.EPERM {
		return fmt.Errorf("join a new session keyring: %w", errno)
	}
	return nil
}

// ordinary resets the scheduling of the thread to that of ordinary users: the processor and disk priorities,
// and the protection from being killed when memory runs out.
func ordinary() error {
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0); err != nil {
		return fmt.Errorf("reset the scheduling policy: %w", err)
	}
	const process, none = 1, 0 // IOPRIO_WHO_PROCESS, IOPRIO_CLASS_NONE
	if _, _, errno := unix.RawSyscall(unix.SYS_IOPRIO_SET, process, 0, none); errno != 0 && errno != unix.ENOSYS {
		return fmt.Errorf("reset the I/O priority: %w", errno)
	}
	const score = "/proc/self/oom_score_adj"
	if now, err := os.ReadFile(score); err == nil && strings.HasPrefix(string(now), "-") {
		if err := os.WriteFile(score, []byte("0"), 0); err != nil {
			return fmt.Errorf("reset oom_score_adj: %w", err)
		}
	}
	return nil
}

func lowerLimits() error {
	for _, l := range programLimits {
		var now unix.Rlimit
		if err := unix.Getrlimit(l.what, &now); err != nil {
			return fmt.Errorf("lower the resource limits: %w", err)
		}
		hard := min(now.Max, l.hard)
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: min(now.Cur, l.soft, hard), Max: hard}); err != nil {
			return fmt.Errorf("lower the resource limits: %w", err)
		}
	}
	return unix.Setpriority(unix.PRIO_PROCESS, 0, 0)
}

// kernelAction is the kernel's struct sigaction on the architectures for which liveapid is built. The zero
// value means SIG_DFL.
type kernelAction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// resetSignals sets the default action of every ignored signal. execve resets handled signals but not ignored
// signals, so the program would otherwise ignore every signal that root's shell ignores, for example under
// nohup.
func resetSignals() error {
	for _, number := range ignoredSignals() {
		if err := defaultAction(number); err != nil {
			return fmt.Errorf("reset the action of signal %d: %w", number, err)
		}
	}
	return nil
}

// ignoredSignals returns the signals that the process ignores, as the kernel reports them in
// /proc/self/status.
func ignoredSignals() []int {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil
	}
	var out []int
	for line := range strings.Lines(string(text)) {
		hex, ok := strings.CutPrefix(line, "SigIgn:")
		if !ok {
			continue
		}
		mask, _ := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		for number := 1; number <= 64; number++ {
			if mask&(1<<(number-1)) != 0 {
				out = append(out, number)
			}
		}
	}
	return out
}
