package execas

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	tenant   = 20061
	rootsKey = "liveapid-test-of-keys"
)

// TestMain is also the launcher, and a host with more privileges than its workers may get.
func TestMain(m *testing.M) {
	Main()
	if os.Getenv("LAUNCH_TEST_HOST") != "" {
		os.Exit(actHost())
	}
	os.Exit(m.Run())
}

// actHost starts a program as the tenant, through the launcher.
func actHost() int {
	binary, err := os.Open("/bin/cat")
	if err != nil {
		return 3
	}
	// A process inherits the keys and the scheduling of the thread that starts it.
	runtime.LockOSThread()
	_, _, joined := unix.RawSyscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0)
	_, noKey := unix.AddKey("user", rootsKey, []byte("c4n4ry"), unix.KEY_SPEC_SESSION_KEYRING)
	errs := []error{unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_BATCH}, 0), noKey}
	if joined != 0 {
		errs = append(errs, joined)
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Println("not all could be given:", err) // If the system forbids it.
	}
	args := []string{"cat", "/proc/self/status", "/proc/self/stat"}
	if _, err := os.Stat("/proc/keys"); err == nil {
		args = append(args, "/proc/keys")
	}
	cmd := Command(Spec{Binary: binary, Args: args, UID: tenant, GID: tenant, Files: 1 << 40})
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 4
	}
	return 0
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("becoming another user needs root")
	}
}

// T9: a started program has only its own groups, keys and scheduling, whatever the host has.
func TestT09_WhatTheHostHasEnds(t *testing.T) {
	needsRoot(t)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "LAUNCH_TEST_HOST=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 0, Gid: 0, Groups: []uint32{0, 4, 27}}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	id := strconv.Itoa(tenant)
	for _, line := range []string{"Uid:\t" + id + "\t" + id + "\t" + id + "\t" + id + "\n", "Gid:\t" + id + "\t" + id + "\t" + id + "\t" + id + "\n", "Groups:\t \n", "NoNewPrivs:\t1\n", "CapEff:\t0000000000000000\n"} {
		require.Contains(t, string(out), line)
	}
	require.NotContains(t, string(out), rootsKey)
	stat := regexp.MustCompile(`(?m)^\d+ \(cat\) (.*)$`).FindStringSubmatch(string(out))
	require.NotNil(t, stat, "%s", out)
	require.Equal(t, "0", strings.Fields(stat[1])[38], "SCHED_NORMAL, by proc_pid_stat(5)")
}

// T11: a launcher whose host has ended starts nothing, because nothing would end the program.
func TestT11_NothingStartsWithoutItsHost(t *testing.T) {
	needsRoot(t)
	self, err := os.Executable()
	require.NoError(t, err)
	launch := func(parent int) (string, error) {
		binary, err := os.Open("/bin/echo")
		require.NoError(t, err)
		defer func() { _ = binary.Close() }()
		cmd := exec.Command(self)
		cmd.Args = []string{name, strconv.Itoa(tenant), strconv.Itoa(tenant), strconv.Itoa(parent), "0", "0", "", "echo", "started"}
		cmd.ExtraFiles = []*os.File{binary}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := launch(os.Getpid())
	require.NoError(t, err, out)
	require.Equal(t, "started\n", out)
	out, err = launch(os.Getpid() + 1)
	require.Error(t, err)
	require.Contains(t, out, "the host ended before")
	require.NotEqual(t, "started\n", out)
}
