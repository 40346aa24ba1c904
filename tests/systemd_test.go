package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// bootRefused is the exit status of testdata/boot.sh on a machine that does not allow its mounts.
const bootRefused = 77

// machine is a real systemd that runs on a copy of this machine's files.
type machine struct {
	t    *testing.T
	pid  int    // Of systemd.
	Dir  string // The directory that is /run/handed there.
	boot *hosttest.Buffer
}

// bootMachine boots the machine, which ends with the test. If this machine does not allow that, it says so and skips
// the test.
func bootMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, Dir: t.TempDir(), boot: &hosttest.Buffer{}}
	mark := "handed-" + filepath.Base(filepath.Dir(m.Dir))
	require.NoError(t, os.WriteFile(filepath.Join(m.Dir, mark), nil, 0o644))
	cmd := exec.Command("bash", filepath.Join(hosttest.Root(t), "tests", "testdata", "boot.sh"), m.Dir)
	cmd.Stdout, cmd.Stderr = m.boot, m.boot
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		if m.pid != 0 {
			if process, err := os.FindProcess(m.pid); err == nil {
				_ = process.Kill() // The first process of its namespace: all others end with it.
			}
		}
		<-ended
		if t.Failed() {
			t.Log(m.boot.String())
		}
	})
	over := false
	require.Eventually(t, func() bool {
		select {
		case <-ended:
			over = true
			return true
		default:
		}
		marks, _ := filepath.Glob("/proc/[0-9]*/root/run/handed/" + mark)
		for _, path := range marks {
			var pid int
			if _, err := fmt.Sscanf(path, "/proc/%d/", &pid); err != nil {
				continue
			}
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			if string(name) == "systemd\n" && strings.Contains(string(status), fmt.Sprintf("NSpid:\t%d\t1\n", pid)) {
				m.pid = pid
				return true
			}
		}
		return false
	}, hosttest.Patience, hosttest.Tick, "systemd does not start: %s", m.boot)
	if over {
		if cmd.ProcessState.ExitCode() == bootRefused {
			t.Skip("not tested under a real systemd, because this machine does not allow the mounts: ", m.boot)
		}
		t.Fatal("systemd ended: ", m.boot)
	}
	require.Eventually(t, func() bool {
		out, _ := m.command("systemctl", "is-active", "liveapid-test.target").Output()
		return string(out) == "active\n"
	}, hosttest.Patience, hosttest.Tick, "%s", m.boot)
	return m
}

// command returns a command that runs on the machine.
func (m *machine) command(words ...string) *exec.Cmd {
	enter := []string{"-t", fmt.Sprint(m.pid), "-m", "-p", "-u", "-i", "-n", "-C", "--"}
	cmd := exec.Command("nsenter", append(enter, words...)...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LANG=C.UTF-8", "HOME=/root"}
	return cmd
}

// run runs a command on the machine, and returns its output.
func (m *machine) run(words ...string) string {
	m.t.Helper()
	return hosttest.Output(m.t, m.command(words...))
}

// callLoop calls the host without pause until the file stop exists, and prints how many calls succeeded, and the first
// failure.
const callLoop = `
use Cpanel::LiveAPI;
my ($made, $failed) = (0, '');
until (-e '/run/handed/stop') {
    my $answer = eval {
        my $api = Cpanel::LiveAPI->new();
        my $answer = $api->uapi('Email', 'count_pops');
        $api->end();
        $answer;
    };
    if (ref $answer && $answer->{cpanelresult}{result}{status}) { $made++ }
    else { $failed ||= $@ || 'status 0' }
    if ($made == 1) { open my $f, '>', '/run/handed/calling' or die }
}
print "made $made failed $failed\n";
`

// underSystemd installs the package on a machine with a real systemd. The units start as they are, an upgrade refuses no
// connection, and a removal stops them.
func underSystemd(t *testing.T, deb string) {
	m := bootMachine(t)
	text, err := os.ReadFile(deb)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(m.Dir, "liveapid.deb"), text, 0o644))
	require.NoError(t, os.Chmod(m.Dir, 0o777))
	// A cPanel server is left alone.
	m.run("sh", "-c", "mkdir -p /usr/local/cpanel && touch /usr/local/cpanel/version")
	refused, err := m.command("dpkg", "-i", "/run/handed/liveapid.deb").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(refused), "this is a cPanel server")
	m.run("sh", "-c", "test ! -e /usr/bin/uapi && rm -r /usr/local/cpanel")
	m.run("dpkg", "-i", "/run/handed/liveapid.deb")
	units := []string{"liveapid.service", "liveapid.socket", "liveapid-queue.service"}
	verify, err := m.command(append([]string{"systemd-analyze", "verify"}, units...)...).CombinedOutput()
	require.NoError(t, err, "%s", verify)
	for line := range strings.Lines(string(verify)) {
		require.NotContains(t, line, "liveapid", "of other units it may complain")
	}
	require.Equal(t, "active\nactive\n", m.run("systemctl", "is-active", "liveapid.socket", "liveapid.service"))
	require.Equal(t, "enabled\nenabled\n", m.run("systemctl", "is-enabled", "liveapid.socket", "liveapid.service"))

	const user = "lwsystemd"
	m.run("useradd", "-m", user)
	require.Contains(t, m.run("liveapi", "account", "create", user, "--domain", "systemd.example"), "registered")
	require.Eventually(t, func() bool { return strings.Contains(m.run("liveapi", "status"), "accounts  1") }, hosttest.Patience, hosttest.Tick)
	call := func(words ...string) string {
		t.Helper()
		return m.run(append([]string{"uapi", "--user=" + user, "--output=json", "Email"}, words...)...)
	}
	require.Contains(t, call("add_pop", "email=one@systemd.example", "password=A g00d 0ne, really"), `"status":1`)
	require.Contains(t, call("count_pops"), `"data":1`)

	// Calls without pause, while the package is installed again.
	before := m.run("systemctl", "show", "-P", "MainPID", "liveapid.service")
	loop := m.command("setpriv", "--reuid", user, "--regid", user, "--clear-groups", "perl", "-e", callLoop)
	said := &hosttest.Buffer{}
	loop.Stdout, loop.Stderr = said, said
	require.NoError(t, loop.Start())
	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Join(m.Dir, "calling"))
		return err == nil
	}, hosttest.Patience, hosttest.Tick, "%s", said)
	m.run("dpkg", "-i", "/run/handed/liveapid.deb")
	require.Eventually(t, func() bool {
		return m.run("systemctl", "show", "-P", "MainPID", "liveapid.service") != before && strings.Contains(call("count_pops"), `"data":1`)
	}, hosttest.Patience, hosttest.Tick)
	require.NoError(t, os.WriteFile(filepath.Join(m.Dir, "stop"), nil, 0o644))
	require.NoError(t, loop.Wait(), "%s", said)
	require.Regexp(t, `^made [1-9][0-9]* failed \n$`, said.String())
	t.Logf("while the host was replaced: %s", said)

	m.run("systemctl", "start", "liveapid-queue.service")
	require.Eventually(t, func() bool {
		return strings.Contains(m.run("journalctl", "--no-pager", "-u", "liveapid-queue.service"), "listening")
	}, hosttest.Patience, hosttest.Tick)
	require.Equal(t, "active\n", m.run("systemctl", "is-active", "liveapid-queue.service"))

	// After a removal, a new installation serves as before.
	m.run("systemctl", "enable", "liveapid-queue.service")
	m.run("dpkg", "-r", "liveapid")
	m.run("dpkg", "-i", "/run/handed/liveapid.deb")
	require.Equal(t, "active\nactive\n", m.run("systemctl", "is-active", "liveapid.socket", "liveapid.service"))
	require.Equal(t, "enabled\nenabled\nenabled\n", m.run(append([]string{"systemctl", "is-enabled"}, units...)...))
	m.run("systemctl", "start", "liveapid-queue.service")
	// A host that the administrator has disabled stays so.
	m.run("systemctl", "disable", "--now", "liveapid.service", "liveapid.socket")
	m.run("dpkg", "-i", "/run/handed/liveapid.deb")
	disabled, _ := m.command("systemctl", "is-enabled", "liveapid.socket", "liveapid.service").Output()
	require.Equal(t, "disabled\ndisabled\n", string(disabled))

	m.run("dpkg", "-r", "liveapid")
	left, _ := m.command("systemctl", "is-active", "liveapid.socket", "liveapid.service", "liveapid-queue.service").Output()
	require.Equal(t, "inactive\ninactive\ninactive\n", string(left))
	m.run("dpkg", "-P", "liveapid")
	require.Equal(t, "gone\n", m.run("sh", "-c", "test -e /run/liveapid/liveapi.sock || echo gone"))
}
