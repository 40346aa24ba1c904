// Package execas lets root start a program as another user: a worker (Spec), or a program that the user runs
// (Program). The program is started by a launcher process, because a Go program waits in a thread until its
// child has called exec. If the child changed its uid between fork and exec, other processes of that uid
// could suspend the child (SIGSTOP), and the parent would wait forever. The launcher is executed as root
// first and changes its uid afterwards, so a suspended launcher blocks nothing else.
//
// A program that uses this package must call Main first, because the launcher is the same executable
// (/proc/self/exe), started again. The package does not handle plugins or accounts.
package execas

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// name is argument 0 of a worker's launcher, by which Main recognizes the launcher.
const name = "liveapid-launch"

// binaryFD is the launcher's descriptor of the program to execute: the first one after the standard streams.
const binaryFD = 3

// Spec describes a program, usually a worker, that is started as another user.
type Spec struct {
	Binary   *os.File // The open file that is executed, even if its path changes.
	Args     []string // The program's arguments, including its name.
	Env      []string // The program's whole environment.
	UID, GID int      // The program's user, without supplementary groups.
	Files    uint64   // Maximum number of descriptors; 0 leaves the limit unchanged.
	FileSize uint64   // Maximum bytes of each written file; 0: limit unchanged.
	Cgroup   string   // Directory of the control group to enter; "" means none.
}

// Command returns the command that starts s. The kernel kills the program when the OS thread that started the
// command ends, so a Spawner should start the command.
func Command(s Spec) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{
		name, strconv.Itoa(s.UID), strconv.Itoa(s.GID), strconv.Itoa(os.Getpid()),
		strconv.FormatUint(s.Files, 10), strconv.FormatUint(s.FileSize, 10), s.Cgroup,
	}, s.Args...)
	cmd.Env, cmd.Dir, cmd.ExtraFiles = s.Env, "/", []*os.File{s.Binary}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Main runs the launcher if this process was started as a launcher; in that case it does not return.
// Otherwise it returns at once.
func Main() {
	if len(os.Args) >= 6 && os.Args[0] == programName {
		_, _ = fmt.Fprintf(os.Stderr, "run: %s\n", programMain(os.Args[1:]))
		os.Exit(127)
	}
	if len(os.Args) < 8 || os.Args[0] != name {
		return
	}
	runtime.LockOSThread() // Some settings apply only to the thread that calls execve.
	err := prepareWorker(os.Args[1:7])
	if err == nil {
		err = execute(os.Args[7:])
	}
	_, _ = fmt.Fprintf(os.Stderr, "launch: %s\n", err)
	os.Exit(127)
}

// prepareWorker limits the launcher process and drops root's privileges. The order of the steps matters:
// entering the control group needs root, and the signal for the host's end must be set after the change of
// the uid.
func prepareWorker(words []string) error {
	var n [5]uint64
	for i := range n {
		var err error
		if n[i], err = strconv.ParseUint(words[i], 10, 64); err != nil {
			return fmt.Errorf("argument %d: %w", i+1, err)
		}
	}
	uid, gid, parent, files, size := int(n[0]), int(n[1]), int(n[2]), n[3], n[4]
	if uid <= 0 || gid <= 0 {
		return errors.New("refused to start a worker as root: uid and gid must not be 0")
	}
	if cgroup := words[5]; cgroup != "" {
		if err := os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("enter the cgroup: %w", err)
		}
	}
	if err := unix.CloseRange(binaryFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("set close-on-exec on file descriptors: %w", err)
	}
	unix.Umask(0o077)
	if err := limit(files, size); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if err := dropPrivileges(uid, gid); err != nil {
		return err
	}
	// The change of the uid cleared the parent-death signal, which kills the process when the host ends, so
	// set this signal again.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("set the parent-death signal: %w", err)
	}
	if os.Getppid() != parent {
		return errors.New("the host ended before the worker was started")
	}
	return nil
}

func limit(files, size uint64) error {
	for _, l := range []struct {
		what  int
		value uint64
	}{{unix.RLIMIT_NOFILE, files}, {unix.RLIMIT_FSIZE, size}} {
		if l.value == 0 {
			continue
		}
		// Never raise a worker's limit above the host's own limit.
		var now unix.Rlimit
		if err := unix.Getrlimit(l.what, &now); err != nil {
			return fmt.Errorf("set resource limits: %w", err)
		}
		value := min(l.value, now.Max)
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("set resource limits: %w", err)
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("set resource limits: %w", err)
	}
	return nil
}

// execute replaces the launcher with the program. It returns only on failure.
func execute(args []string) error {
	argv, err := syscall.SlicePtrFromStrings(args)
	if err != nil {
		return err
	}
	env, err := syscall.SlicePtrFromStrings(os.Environ())
	if err != nil {
		return err
	}
	empty, _ := syscall.BytePtrFromString("")
	_, _, errno := syscall.RawSyscall6(unix.SYS_EXECVEAT, binaryFD, uintptr(unsafe.Pointer(empty)),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env[0])), unix.AT_EMPTY_PATH, 0)
	return fmt.Errorf("execute %s: %w", args[0], errno)
}
