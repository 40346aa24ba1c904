// Package execas is how root starts a program of another user, a worker (Spec) or what the user runs
// (Program): by way of a process of its own. A child of a Go program that changes its uid between fork and exec can be stopped by that
// uid's other processes, and stops the parent with it, whose thread waits for the exec; a
// process that was executed as root before it changed anything stops nobody but itself.
//
// The program that starts others calls Main first thing; it is its own launcher. Package launch
// knows no plugin and no account.
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

// name is the launcher's own: argument 0, by which Main knows it.
const name = "liveapid-launch"

// binaryFD is where the launcher has the program: behind the standard streams.
const binaryFD = 3

// Spec is a program to be started as another user.
type Spec struct {
	Binary   *os.File // The program itself: what its path names by then does not matter.
	Args     []string // Its arguments, its name first.
	Env      []string // Its whole environment.
	UID, GID int      // Whom it becomes; it has no further group.
	Files    uint64   // Descriptors at most; 0 leaves it.
	FileSize uint64   // Bytes of a file that it writes, at most; 0 leaves it.
	Cgroup   string   // Folder of a cgroup to enter first; "" enters none.
}

// Command returns the command that starts s. It dies with the thread that starts it.
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

// Main is the launcher, where the running process is one; it then does not return.
func Main() {
	if len(os.Args) >= 6 && os.Args[0] == programName {
		_, _ = fmt.Fprintf(os.Stderr, "run: %s\n", programMain(os.Args[1:]))
		os.Exit(127)
	}
	if len(os.Args) < 8 || os.Args[0] != name {
		return
	}
	runtime.LockOSThread() // What is set for one thread is for the one that executes.
	err := prepareWorker(os.Args[1:7])
	if err == nil {
		err = execute(os.Args[7:])
	}
	_, _ = fmt.Fprintf(os.Stderr, "launch: %s\n", err)
	os.Exit(127)
}

// prepareWorker gives up all that root has, in the order in which that is possible.
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
		return errors.New("root starts nothing as root")
	}
	if cgroup := words[5]; cgroup != "" {
		if err := os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("enter the cgroup: %w", err)
		}
	}
	if err := unix.CloseRange(binaryFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close descriptors: %w", err)
	}
	unix.Umask(0o077)
	if err := limit(files, size); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	if err := dropPrivileges(uid, gid); err != nil {
		return err
	}
	// A change of the uid takes the signal away that the host's end sends.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("die with the host: %w", err)
	}
	if os.Getppid() != parent {
		return errors.New("the host is gone")
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
		// Where the host has less, so have its workers.
		var now unix.Rlimit
		if err := unix.Getrlimit(l.what, &now); err != nil {
			return fmt.Errorf("limits: %w", err)
		}
		value := min(l.value, now.Max)
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("limits: %w", err)
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("limits: %w", err)
	}
	return nil
}

// execute turns the launcher into the program.
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
