package cpaneldir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// name is argument 0 of the process that prepares the mount namespace, by which Main recognizes it.
const name = "liveapi-cpaneldir"

// RefusedError means that the system does not let the running user have the namespaces.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("a mount namespace with the file can't be created (%v)", e.Err)
}

func (e *RefusedError) Unwrap() error { return e.Err }

// Command returns a command that runs this program again with the given arguments, in a mount namespace that
// contains t. An ordinary user also gets a user namespace, in which no privilege is left when the program
// runs. The program sees the user's own ids, and all files of the machine. In the user namespace, programs
// with the set-user-id bit, such as sudo, do not get their privileges.
//
// The caller must pass the error of cmd.Start to prepared, and wait for the command only if prepared returns
// nil. If the namespaces could not be prepared, prepared returns a RefusedError.
func (t Tree) Command(args []string) (cmd *exec.Cmd, prepared func(started error) error) {
	cmd = exec.Command("/proc/self/exe")
	if _, err := os.Stat(filepath.Join(t.Bindings, php)); err != nil {
		cmd.Err = fmt.Errorf("liveapid's PHP library is missing: %w", err)
	}
	// If this process is killed, the new one ends, too. The signal belongs to the thread that starts the
	// command, so the caller's goroutine stays on its thread.
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN} // For the mounts; Main gives it up again.
	}
	report, write, err := os.Pipe()
	if err != nil {
		return cmd, func(error) error { return err }
	}
	// The program inherits the descriptors of the caller, such as 3 of a job server, so the pipe has a high number.
	number, err := unix.FcntlInt(write.Fd(), unix.F_DUPFD, reportFD)
	if err != nil {
		return cmd, func(error) error { return errors.Join(err, write.Close(), report.Close()) }
	}
	cmd.Args = append([]string{name, t.Root, t.Bindings, t.Programs, strconv.Itoa(number), os.Args[0]}, args...)
	return cmd, func(started error) error {
		_ = errors.Join(write.Close(), unix.Close(number))
		defer func() { _ = report.Close() }()
		if started != nil {
			return &RefusedError{started}
		}
		// Main writes the reason of a failure. If it succeeds, the program that it executes has no copy of
		// the pipe, so the pipe is at its end.
		text, err := io.ReadAll(report)
		if len(text) > 0 {
			_ = cmd.Wait() // Returns the status of the failed preparation.
			return &RefusedError{errors.New(string(text))}
		}
		return err
	}
}

// reportFD is the lowest number of the descriptor of the pipe to which Main writes why it failed.
const reportFD = 100

// Main prepares the mount namespace and runs the program, if this process was started by Command; in that
// case it does not return. Otherwise it returns at once.
func Main() {
	if len(os.Args) < 6 || os.Args[0] != name {
		return
	}
	report, err := strconv.Atoi(os.Args[4])
	if err != nil {
		return
	}
	runtime.LockOSThread() // Capabilities belong to a thread.
	unix.CloseOnExec(report)
	t := Tree{Root: os.Args[1], Bindings: os.Args[2], Programs: os.Args[3]}
	err = t.mount()
	if err == nil {
		err = dropCapabilities()
	}
	if err == nil {
		err = syscall.Exec("/proc/self/exe", os.Args[5:], os.Environ())
	}
	_, _ = unix.Write(report, []byte(err.Error()))
	os.Exit(1)
}

// dropCapabilities gives up the capability for mounts, which an ordinary user has only in the namespace.
func dropCapabilities() error {
	if os.Geteuid() == 0 {
		return nil
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}

// mount adds the links to the file system of this process's mount namespace.
func (t Tree) mount() error {
	// Mounts of the rest of the system still appear here, but not the other way round.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("separate the mounts: %w", err)
	}
	existing := t.Root
	for {
		info, err := os.Stat(existing)
		if err == nil && info.IsDir() {
			break
		}
		if err == nil || existing == "/" {
			return fmt.Errorf("%s is not a directory", existing)
		}
		existing = filepath.Dir(existing)
	}
	if existing == "/" {
		return fmt.Errorf("%s does not exist", filepath.Dir(t.Root))
	}
	if err := cover(existing); err != nil {
		return err
	}
	// A directory that was there before is still the machine's own.
	for _, dir := range directories[1:] {
		path := filepath.Join(t.Root, dir)
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			continue
		}
		if err := cover(path); err != nil {
			return err
		}
	}
	if _, err := t.Install(); err != nil {
		return err
	}
	if t.State() == None {
		// The program would start itself again and again.
		return fmt.Errorf("the links could not be created below %s", t.Root)
	}
	return nil
}

// cover mounts a new file system on dir in which files can be added, with everything that was in dir before.
func cover(dir string) error {
	old, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	defer func() { _ = unix.Close(old) }()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if err := unix.Mount("liveapi", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=1m"); err != nil {
		return fmt.Errorf("mount on %s: %w", dir, err)
	}
	for _, e := range entries {
		from := filepath.Join("/proc/self/fd", strconv.Itoa(old), e.Name())
		if err := again(from, filepath.Join(dir, e.Name()), e.Type()); err != nil {
			return fmt.Errorf("mount %s: %w", filepath.Join(dir, e.Name()), err)
		}
	}
	return nil
}

// again makes the file at the path from appear at the path to.
func again(from, to string, kind fs.FileMode) error {
	switch {
	case kind&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case kind.IsDir():
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
	default:
		f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, "")
}
