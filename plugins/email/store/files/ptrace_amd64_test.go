package files

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// mark is a system call that a traced process makes at the beginning and at the end of its work; the call itself
// fails and does nothing.
func mark() { _, _, _ = unix.RawSyscall(unix.SYS_GETPRIORITY, 99, 0, 0) }

// fault is what happens instead of a system call.
type fault struct {
	errno unix.Errno // 0: the process is killed.
	at    int        // The number of the call, from 0.
}

// The system calls of a change. A kill before a call that writes nothing has the same effect as a kill before the
// next one, so only calls that write are cut off.
var (
	writing = map[uint64]string{
		unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite64", unix.SYS_FSYNC: "fsync", unix.SYS_SYNCFS: "syncfs", unix.SYS_RENAMEAT: "renameat",
		unix.SYS_RENAMEAT2: "renameat2", unix.SYS_MKDIRAT: "mkdirat", unix.SYS_UNLINKAT: "unlinkat", unix.SYS_FCHMOD: "fchmod",
		unix.SYS_FCHOWN: "fchown", unix.SYS_UTIMENSAT: "utimensat", unix.SYS_FSETXATTR: "fsetxattr", unix.SYS_FREMOVEXATTR: "fremovexattr",
		unix.SYS_OPENAT2: "openat2",
	}
	reading = map[uint64]string{
		unix.SYS_READ: "read", unix.SYS_FSTAT: "fstat", unix.SYS_NEWFSTATAT: "newfstatat", unix.SYS_STATX: "statx", unix.SYS_FGETXATTR: "fgetxattr",
		unix.SYS_FLOCK: "flock", unix.SYS_GETDENTS64: "getdents64", unix.SYS_OPENAT: "openat",
	}
)

const wNoThread = 0x20000000 // __WNOTHREAD: wait only for children of this thread.

// traced runs a program, which prints a byte and then waits for one before its work, and injects the fault into
// this work. It returns what the program printed, and the name of the call that failed, or "" if the program made
// fewer calls.
func traced(words, env []string, f fault) (output, failed string, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	from, out, err := os.Pipe()
	if err != nil {
		return "", "", err
	}
	defer func() { _ = from.Close() }()
	in, to, err := os.Pipe()
	if err != nil {
		return "", "", err
	}
	defer func() { _ = to.Close() }()
	pid, err := syscall.ForkExec(words[0], words, &syscall.ProcAttr{Env: env, Dir: "/", Files: []uintptr{in.Fd(), out.Fd(), 2}})
	_, _ = out.Close(), in.Close()
	if err != nil {
		return "", "", err
	}
	if _, err = from.Read(make([]byte, 1)); err == nil {
		err = seize(pid)
	}
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
		return "", "", err
	}
	if _, err := to.Write([]byte{'\n'}); err != nil {
		return "", "", err
	}
	failed, err = trace(pid, f)
	text, readErr := io.ReadAll(from)
	return string(text), failed, errors.Join(err, readErr)
}

// seize begins to trace all threads of a process, and stops each of them. A thread that is not traced yet may start
// another thread meanwhile, so seize repeats until it finds no new thread.
func seize(pid int) error {
	known := make(map[int]bool)
	for found := true; found; {
		found = false
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return err
		}
		for _, thread := range threads {
			tid, err := strconv.Atoi(thread.Name())
			if err != nil {
				return err
			}
			if known[tid] {
				continue
			}
			known[tid], found = true, true
			if err := seizeThread(tid); err != nil {
				return err
			}
		}
	}
	return nil
}

func seizeThread(tid int) error {
	err := unix.PtraceSeize(tid)
	if errors.Is(err, unix.EPERM) { // A traced thread has started it, so it is traced already.
		return nil
	}
	if err == nil {
		err = unix.PtraceInterrupt(tid)
	}
	if err == nil {
		_, err = unix.Wait4(tid, nil, unix.WALL|wNoThread, nil)
	}
	if err == nil {
		err = unix.PtraceSetOptions(tid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL)
	}
	if err == nil {
		err = unix.PtraceSyscall(tid, 0)
	}
	return err
}

// trace follows all threads of a process until it ends.
func trace(pid int, f fault) (failed string, err error) {
	var (
		status  unix.WaitStatus
		within  bool                   // The process is between its two marks.
		inCall  = map[int]bool{}       // Threads that are in a system call.
		pending = map[int]unix.Errno{} // Threads whose system call fails at its end.
		seen    int
	)
	for {
		tid, err := unix.Wait4(-1, &status, unix.WALL|wNoThread, nil)
		if errors.Is(err, unix.ECHILD) {
			return failed, nil
		}
		if err != nil {
			return failed, err
		}
		deliver := 0
		switch {
		case !status.Stopped():
			continue // A thread ended.
		case status.StopSignal() == unix.SIGTRAP|0x80:
			var regs unix.PtraceRegs
			if err := unix.PtraceGetRegs(tid, &regs); err != nil {
				continue // Killed meanwhile.
			}
			// At the beginning of a call, the kernel sets the result to ENOSYS. A thread may have been in a call when
			// it was seized, so its first stop may be an end.
			if inCall[tid] = int64(regs.Rax) == -int64(unix.ENOSYS) && !inCall[tid]; inCall[tid] {
				if regs.Orig_rax == unix.SYS_GETPRIORITY && regs.Rdi == 99 {
					within = !within
				}
				name := ""
				if within && failed == "" {
					name = kindOf(tid, pid, &regs, f)
				}
				if name != "" {
					if seen == f.at {
						failed = name
						if f.errno == 0 {
							_ = unix.Kill(pid, unix.SIGKILL)
							continue
						}
						regs.Orig_rax = ^uint64(0) // No system call has this number, so nothing happens.
						if err := unix.PtraceSetRegs(tid, &regs); err != nil {
							return failed, err
						}
						pending[tid] = f.errno
					}
					seen++
				}
			} else if errno, fails := pending[tid]; fails {
				delete(pending, tid)
				regs.Rax = uint64(-int64(errno))
				if err := unix.PtraceSetRegs(tid, &regs); err != nil {
					return failed, err
				}
			}
		case status.StopSignal() == unix.SIGTRAP, status.StopSignal() == unix.SIGSTOP:
			// A new thread, or the report of one.
		default:
			deliver = int(status.StopSignal())
		}
		_ = unix.PtraceSyscall(tid, deliver) // Fails only if the thread was killed meanwhile.
	}
}

// kindOf returns the name of a thread's system call if the fault applies to it, and "" otherwise.
func kindOf(tid, pid int, regs *unix.PtraceRegs, f fault) string {
	name, writes := writing[regs.Orig_rax]
	if !writes {
		if f.errno != unix.EIO {
			return "" // Other errors do not happen to a program that reads.
		}
		if name = reading[regs.Orig_rax]; name == "" {
			return ""
		}
	}
	switch name {
	case "openat2":
		how := make([]byte, 8)
		if _, err := unix.PtracePeekData(tid, uintptr(regs.Rdx), how); err != nil || f.errno != unix.EIO && binary.LittleEndian.Uint64(how)&unix.O_CREAT == 0 {
			return ""
		}
	case "write", "read":
		// The runtime writes to descriptors of its own, which can't fail.
		if target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, regs.Rdi)); err != nil || !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "/sys/") || strings.HasPrefix(target, "/proc/") {
			return ""
		}
	case "openat":
		return "" // Of the runtime, or of the home directory itself.
	}
	return name
}

// canTrace skips the test if the machine does not allow a process to trace another.
func canTrace(t *testing.T) {
	t.Helper()
	if _, _, err := traced([]string{"/bin/sh", "-c", "echo; read x"}, nil, fault{at: -1}); err != nil {
		t.Skipf("this machine does not allow ptrace: %v", err)
	}
}
