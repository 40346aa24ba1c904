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

// programName is argument 0 of the launcher of a Program, by which Main knows it.
const programName = "liveapid-launch-program"

// Program is a program that root runs for an account, with what a login of the account would have. A
// worker is a Spec and has less.
type Program struct {
	Words    []string // The program, looked up in Env's PATH as the account, and its arguments.
	Env      []string // Its whole environment.
	UID, GID int      // Whom it becomes; it has no further group.
	Dir      string   // Where it starts, if the account may enter it; else in Home, else in /.
	Home     string
}

// Command returns the command that starts p. The caller sets its standard streams, and gives it a
// session and a terminal of its own: see package terminal.
func (p Program) Command() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{programName, strconv.Itoa(p.UID), strconv.Itoa(p.GID), p.Dir, p.Home}, p.Words...)
	cmd.Env, cmd.Dir = p.Env, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// The highest limits that an account's program gets from root, whose own may have none: descriptors,
// processes, bytes of locked memory and of message queues, signals, and priorities.
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

// programMain turns the launcher into the program; it returns only on failure.
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
	// Descriptors that root's shell left open must not pass on.
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
	// As the account: a directory that root is in may lie below one that the account can't enter.
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

// dropPrivileges gives up all of root's identity, in the order in which that is possible. The calling
// goroutine is locked to its thread.
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
	// Whoever has a session keyring has all rights to the keys in it, whoever's they are. Where the system
	// offers no keyrings, or forbids them, there is nothing to leave.
	_, _, errno := unix.RawSyscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0)
	if errno != 0 && errno != unix.ENOSYS && errno != unix.EPERM {
		return fmt.Errorf("a session keyring of its own: %w", errno)
	}
	return nil
}

// ordinary has the thread scheduled as everybody's are, whatever root has for itself: processor, disk, and
// who is ended first when memory runs out.
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

// kernelAction is the kernel's struct sigaction of the architectures that liveapid is built for. Zero
// is SIG_DFL.
type kernelAction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// resetSignals has every signal do what it does by default: what root's shell ignores, as nohup
// does, the program would ignore, too. execve resets those that are handled, and no others.
func resetSignals() error {
	for _, number := range ignoredSignals() {
		if err := defaultAction(number); err != nil {
			return fmt.Errorf("signal %d: %w", number, err)
		}
	}
	return nil
}

// ignoredSignals reads from the kernel which signals the process ignores.
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
