// Package execas lets root start a program as another user: a worker (Spec), or a program that the user runs
// (Program). It does so through a launcher process. If a child of a Go program changes its uid between fork
// and exec, processes of that uid can stop it, and it stops its parent with it, because a thread waits for the
// exec. A launcher, which was executed as root before it changed its uid, can stop nothing but itself.
//
// The program that starts others calls Main first: it is its own launcher. The package knows no plugin and no
// account.
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

// name is the launcher's argument 0, by which Main recognizes it.
const name = "liveapid-launch"

// binaryFD is the launcher's descriptor of the program, the first after the standard streams.
const binaryFD = 3

// Spec is a program to start as another user.
type Spec struct {
	Binary   *os.File // The opened program. Its path may name another file by now.
	Args     []string // Its arguments, including its name.
	Env      []string // Its whole environment.
	UID, GID int      // The user that it gets; it has no further groups.
	Files    uint64   // The limit of descriptors; 0 leaves it unchanged.
	FileSize uint64   // The limit of each file that it writes, in bytes; 0 leaves it unchanged.
	Cgroup   string   // Directory of a control group to enter first; "" means none.
}

// Command returns the command that starts s. The program dies with the thread that starts it.
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

// Main runs the launcher if this process is one, and then does not return.
func Main() {
	if len(os.Args) >= 6 && os.Args[0] == programName {
		_, _ = fmt.Fprintf(os.Stderr, "run: %s\n", programMain(os.Args[1:]))
		os.Exit(127)
	}
	if len(os.Args) < 8 || os.Args[0] != name {
		return
	}
	runtime.LockOSThread() // Some settings apply to the current thread, which must be the one that executes.
	err := prepareWorker(os.Args[1:7])
	if err == nil {
		err = execute(os.Args[7:])
	}
	_, _ = fmt.Fprintf(os.Stderr, "launch: %s\n", err)
	os.Exit(127)
}

// prepareWorker limits the process and drops root's privileges, in the only possible order.
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
	// Changing the uid cleared the signal that the process gets when the host ends.
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
		// A worker's limit can't be higher than the host's.
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

// execute replaces the launcher by the program.
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
