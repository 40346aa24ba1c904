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

// programName is argument 0 of a Program's launcher, by which Main recognizes it.
const programName = "liveapid-launch-program"

// Program is a program that root runs for an account, in an environment like a login of the account. A worker
// is a Spec and has less.
type Program struct {
	Words    []string // The program and its arguments. The program is looked up in Env's PATH, as the account.
	Env      []string // Its whole environment.
	UID, GID int      // The user that it gets; it has no further groups.
	Dir      string   // Its working directory if the account can enter it, otherwise Home, otherwise /.
	Home     string
}

// Command returns the command that starts p. The caller sets its standard streams, and gives it a session and
// a terminal of its own; see package terminal.
func (p Program) Command() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{programName, strconv.Itoa(p.UID), strconv.Itoa(p.GID), p.Dir, p.Home}, p.Words...)
	cmd.Env, cmd.Dir = p.Env, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// The highest limits of an account's program. Root's own may be unlimited: descriptors, processes, bytes of
// locked memory and of message queues, signals, and priorities.
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

// programMain replaces the launcher by the program. It returns only on failure.
func programMain(args []string) error {
	runtime.LockOSThread()
	uid, err1 := strconv.Atoi(args[0])
	gid, err2 := strconv.Atoi(args[1])
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if uid <= 0 || gid <= 0 {
		return errors.New("root starts no account's program as root")
	}
	// The program must not inherit descriptors that root's shell left open.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close descriptors: %w", err)
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
	// This happens as the account: root's working directory may be below a directory that the account can't
	// enter.
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

// dropPrivileges drops all privileges of root, in the only possible order. The calling goroutine is locked to
// its thread.
func dropPrivileges(uid, gid int) error {
	if err := ordinary(); err != nil {
		return err
	}
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	if err := syscall.Setresgid(gid, gid, gid); err != nil {
		return fmt.Errorf("gid: %w", err)
	}
	if err := syscall.Setresuid(uid, uid, uid); err != nil {
		return fmt.Errorf("uid: %w", err)
	}
	// A process has all rights to the keys in its session keyring, even to those of other users, so it gets a
	// new one. If the system has no keyrings or forbids them, there is nothing to leave.
	_, _, errno := unix.RawSyscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0)
	if errno != 0 && errno != unix.ENOSYS && errno != unix.EPERM {
		return fmt.Errorf("a session keyring of its own: %w", errno)
	}
	return nil
}

// ordinary resets the thread's scheduling to that of ordinary users: processor, disk, and the order in which
// the kernel kills processes when memory runs out.
func ordinary() error {
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0); err != nil {
		return fmt.Errorf("scheduling: %w", err)
	}
	const process, none = 1, 0 // IOPRIO_WHO_PROCESS, IOPRIO_CLASS_NONE
	if _, _, errno := unix.RawSyscall(unix.SYS_IOPRIO_SET, process, 0, none); errno != 0 && errno != unix.ENOSYS {
		return fmt.Errorf("scheduling of disks: %w", errno)
	}
	const score = "/proc/self/oom_score_adj"
	if now, err := os.ReadFile(score); err == nil && strings.HasPrefix(string(now), "-") {
		if err := os.WriteFile(score, []byte("0"), 0); err != nil {
			return fmt.Errorf("protection from the end by a lack of memory: %w", err)
		}
	}
	return nil
}

func lowerLimits() error {
	for _, l := range programLimits {
		var now unix.Rlimit
		if err := unix.Getrlimit(l.what, &now); err != nil {
			return fmt.Errorf("limits: %w", err)
		}
		hard := min(now.Max, l.hard)
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: min(now.Cur, l.soft, hard), Max: hard}); err != nil {
			return fmt.Errorf("limits: %w", err)
		}
	}
	return unix.Setpriority(unix.PRIO_PROCESS, 0, 0)
}

// kernelAction is the kernel's struct sigaction on the architectures for which liveapid is built. Its zero
// value is SIG_DFL.
type kernelAction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// resetSignals sets the default action of every ignored signal: a signal that root's shell ignores, for
// example under nohup, would be ignored by the program, too. execve resets handled signals but not ignored
// ones.
func resetSignals() error {
	for _, number := range ignoredSignals() {
		if err := defaultAction(number); err != nil {
			return fmt.Errorf("signal %d: %w", number, err)
		}
	}
	return nil
}

// ignoredSignals returns the signals that the process ignores, from the kernel.
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
