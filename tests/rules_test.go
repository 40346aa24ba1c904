package tests

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// T3: the peer's pid may belong to another program by now, so it is used only in logs.
func TestT03_ThePeersPidIsForLogs(t *testing.T) {
	uses := 0
	for dir, files := range goFiles(t) {
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			for line := range strings.Lines(string(text)) {
				if strings.HasSuffix(file, "_test.go") || !regexp.MustCompile(`\bcred\.Pid\b`).MatchString(line) {
					continue
				}
				uses++
				require.Equal(t, "host/front/session", dir)
				require.Contains(t, line, "caller.From = fmt.Sprintf(", "nothing but the log has it")
			}
		}
	}
	require.Equal(t, 1, uses)
}

// T14: no password is in an argument, an environment, a temporary file or a log.
func TestT14_NoSecretLeaks(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	temp := t.TempDir()
	cmd := w.Command(t, "liveapid", "serve", "--log-level=debug")
	cmd.Env = append(cmd.Env, "TMPDIR="+temp)
	h := w.ServeCommand(t, cmd)
	c := w.Dial(t)
	const canary = "c4n4ry-Pa55w0rd"
	stop, seen := make(chan struct{}), make(chan string, 1)
	go func() {
		defer close(seen)
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, pid := range append(workersOf(h.Process.Pid), h.Process.Pid) {
				for _, file := range []string{"cmdline", "environ"} {
					if text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file)); strings.Contains(string(text), "c4n4ry") {
						seen <- file
						return
					}
				}
			}
		}
	}()
	for i := range 300 {
		require.Contains(t, c.Call("uapi", "Email", "passwd_pop", fmt.Sprintf(`{"email":"user","password":"%s%d"}`, canary, i)), `"status":1`)
		require.Contains(t, c.Call("2", "Email", "passwdpop", fmt.Sprintf(`{"domain":"example.com","email":"nobody","password":"%s%d"}`, canary, i)), "does not exist")
	}
	close(stop)
	require.Empty(t, <-seen)
	require.NotContains(t, h.Log.String(), "c4n4ry")
	require.NoError(t, filepath.WalkDir(filepath.Dir(w.Dir), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NotContains(t, string(text), "c4n4ry", path)
		}
		return nil
	}))
}

// T43: the systemd unit is tested like code: its restrictions are in place.
func TestT43_TheUnit(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(hosttest.Root(t), "packaging", "systemd", "liveapid.service"))
	require.NoError(t, err)
	for _, line := range []string{
		"NoNewPrivileges=yes", "ProtectSystem=strict", "LimitCORE=0", "Delegate=memory pids", "WatchdogSec=30", "Type=notify",
		"CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_CHOWN CAP_KILL", "SystemCallFilter=@system-service", "PrivateTmp=yes", "UMask=0077",
	} {
		require.Contains(t, string(text), "\n"+line+"\n")
	}
	require.Regexp(t, `\nTasksMax=\d+\n`, string(text))
	require.NotContains(t, string(text), "\nRestrictSUIDSGID=", "it takes openat2 away")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "liveapid.service"), text, 0o644))
	out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--no-pager", filepath.Join(dir, "liveapid.service")).CombinedOutput()
	if err != nil {
		t.Skip("no systemd-analyze that looks at files: ", string(out))
	}
	level := regexp.MustCompile(`exposure level for liveapid\.service: ([0-9.]+)`).FindStringSubmatch(string(out))
	require.NotNil(t, level, "%s", out)
	exposure, err := strconv.ParseFloat(level[1], 64)
	require.NoError(t, err)
	require.LessOrEqual(t, exposure, 3.5)
}

// T45: the toolchain must be new enough to have the security fixes.
func TestT45_Toolchain(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(hosttest.Root(t), "go.mod"))
	require.NoError(t, err)
	version := regexp.MustCompile(`(?m)^go 1\.(\d+)\.(\d+)$`).FindStringSubmatch(string(text))
	require.NotNil(t, version)
	minor, _ := strconv.Atoi(version[1])
	patch, _ := strconv.Atoi(version[2])
	require.True(t, minor > 26 || minor == 26 && patch >= 5, "Go 1.26.5 or newer")
}

// R15: clients that send single bytes slowly are disconnected, and do not delay others.
func TestR15_SlowClients(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	w.Limits(t, "frame_time = \"2s\"\naccount_sessions = 600")
	w.Serve(t)
	var slow sync.WaitGroup
	for range 300 {
		c := w.Dial(t)
		slow.Go(func() {
			pace := time.NewTicker(100 * time.Millisecond) // As slow as the client is.
			defer pace.Stop()
			for _, err := c.Write([]byte("100\n<")); err == nil; _, err = c.Write([]byte("c")) {
				<-pace.C
			}
		})
	}
	fast := w.Dial(t)
	for range 100 {
		require.Contains(t, fast.Call("uapi", "Email", "count_pops", `{}`), `"data":1`)
	}
	slow.Wait() // Each of them was disconnected.
}

// R17: a killed host leaves no worker, and no socket that prevents the next start.
func TestR17_KilledHosts(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, 20061)
	for range 20 {
		h := w.Serve(t)
		require.Contains(t, ask(t, w, 20061, "count_pops", `{}`), `"data":1`)
		workers := workersOf(h.Process.Pid)
		require.Len(t, workers, 2)
		require.NoError(t, h.Process.Kill())
		_ = h.Wait(t)
		for _, pid := range workers {
			require.Eventually(t, func() bool {
				status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
				return os.IsNotExist(err) || strings.Contains(string(status), "State:\tZ")
			}, hosttest.Patience, 5*time.Millisecond)
		}
	}
	h := w.Serve(t)
	left, err := filepath.Glob(filepath.Join(w.Dir, "run", "liveapid-host-*"))
	require.NoError(t, err)
	require.Len(t, left, 1, "the dead ones' directories are gone")
	h.Stop(t)
}

// R22: if the clock goes back an hour, a change is still newer than the previous change.
func TestR22_TheClockGoesBack(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	w.Serve(t)
	c := w.Dial(t)
	later := time.Now().Add(time.Hour)
	require.NoError(t, os.Chtimes(w.Shadow, later, later)) // Written before the clock was set back.
	for i := range 3 {
		before, err := os.Stat(w.Shadow)
		require.NoError(t, err)
		require.Contains(t, c.Call("uapi", "Email", "passwd_pop", fmt.Sprintf(`{"email":"user","password":"back then %d"}`, i)), `"status":1`)
		after, err := os.Stat(w.Shadow)
		require.NoError(t, err)
		require.GreaterOrEqual(t, after.Sys().(*syscall.Stat_t).Mtim.Sec, before.Sys().(*syscall.Stat_t).Mtim.Sec+1)
	}
}
