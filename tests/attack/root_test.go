package attack

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/hosttest"
)

// The uids of these tests' accounts: the attacker, and another account.
const mallory, alice = 20011, 20012

// runAs returns root's liveapi run for an account.
func runAs(t testing.TB, w *hosttest.World, uid int, words ...string) *exec.Cmd {
	t.Helper()
	return w.Command(t, "liveapi", append([]string{"run", "--user", hosttest.Name(uid), "--"}, words...)...)
}

// T46: root's tools use the running host for an account, and start no host as the account. Their changes are
// in the audit log.
func TestT46_RootsToolsUseTheRunningHost(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, mallory, alice)
	for _, words := range [][]string{
		{"run", "--user", hosttest.Name(mallory), "--", "true"}, {"tag", "--user", hosttest.Name(mallory), "/dev/null"},
		{"page", "--user", hosttest.Name(mallory), "/dev/null"}, {"dev", "--user", hosttest.Name(mallory), "--listen", "127.0.0.1:0", "/"},
	} {
		out, err := w.Command(t, "liveapi", words...).CombinedOutput()
		require.Error(t, err, words)
		require.Contains(t, string(out), "no host listens on "+w.Socket, words)
	}
	w.Serve(t)
	const perl = `use Cpanel::LiveAPI; my $r = Cpanel::LiveAPI->new->api2("Email", "passwdpop",
		{domain => $ARGV[0], email => "user", password => "changed by run"}); print $r->{cpanelresult}{data}[0]{result} // $r->{cpanelresult}{error}`
	lib := "PERL5LIB=" + filepath.Join(hosttest.Root(t), "bindings", "perl", "lib")
	own, foreign := hosttest.Name(mallory)+".example", hosttest.Name(alice)+".example"
	require.Equal(t, "1", hosttest.Output(t, runAs(t, w, mallory, "env", lib, "perl", "-e", perl, own)))
	require.NotEqual(t, "1", hosttest.Output(t, runAs(t, w, mallory, "env", lib, "perl", "-e", perl, foreign)))

	// T44: the change is logged.
	audit, err := os.ReadFile(filepath.Join(w.Dir, "audit.log"))
	require.NoError(t, err)
	require.Contains(t, string(audit), `"account":"`+hosttest.Name(mallory)+`"`)
	require.Contains(t, string(audit), "passwdpop")
	require.NotContains(t, string(audit), "changed by run")

	// The program uses the host's socket, and no other host or worker runs for it.
	out := hosttest.Output(t, runAs(t, w, mallory, "sh", "-c", `echo "$CPANEL_CONNECT_SOCKET"; ps -eo uid=,args= | awk '$1 == `+fmt.Sprint(mallory)+`'`))
	require.Contains(t, out, w.Socket+"\n")
	require.NotContains(t, out, "liveapi run --user")
	require.NotContains(t, out, "liveapid ")
}

// T46: tags and pages are also run as the account and by the host.
func TestT46_TagsAndPages(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, mallory)
	w.Serve(t)
	dir := filepath.Join(w.Home(mallory), "pages")
	require.NoError(t, os.Mkdir(dir, 0o755))
	for name, text := range map[string]string{
		"tags.html":    `<cpanel print="$user"> <?cp Email::listpopswithdisk( [b]%[/b], email ) domain="$domain" ?>`,
		"page.live.pl": "print \"Content-Type: text/plain\\r\\n\\r\\n$< $ENV{CPANEL_CONNECT_SOCKET}\"",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
		require.NoError(t, os.Chown(filepath.Join(dir, name), mallory, mallory))
	}
	require.NoError(t, os.Chown(dir, mallory, mallory))
	name := hosttest.Name(mallory)
	require.Equal(t, name+" <b>Main Account</b><b>user@"+name+".example</b>", hosttest.Output(t, w.Command(t, "liveapi", "tag", "--user", name, filepath.Join(dir, "tags.html"))))
	require.Equal(t, fmt.Sprint(mallory)+" "+w.Socket, hosttest.Output(t, w.Command(t, "liveapi", "page", "--user", name, filepath.Join(dir, "page.live.pl"))))

	// The account's page can't include a file that only root can read.
	secret := filepath.Join(w.Dir, "secret.html")
	require.NoError(t, os.WriteFile(secret, []byte("root's own"), 0o600))
	out, err := w.Command(t, "liveapi", "tag", "--user", name, secret).CombinedOutput()
	require.Error(t, err)
	require.NotContains(t, string(out), "root's own")
}

// shell is root's shell with liveapi run: a process with a terminal, and a command in it.
func shell(t *testing.T, cmd *exec.Cmd) (terminal *os.File, seen *hosttest.Buffer, output func() string) {
	t.Helper()
	master, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 99})
	require.NoError(t, err)
	t.Cleanup(func() { _ = master.Close() })
	out := &hosttest.Buffer{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(out, master)
	}()
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "ready") }, hosttest.Patience, hosttest.Tick)
	return master, out, func() string {
		require.NoError(t, cmd.Wait())
		<-done
		return strings.ReplaceAll(out.String(), "\r\n", "\n")
	}
}

// T47: an account's program that root runs never gets root's terminal, neither as a descriptor nor as
// /dev/tty, because a program with the terminal can type commands into root's shell.
func TestT47_RootsTerminal(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, mallory)
	w.Serve(t)
	script := filepath.Join(w.Home(mallory), "type.pl")
	require.NoError(t, os.WriteFile(script, []byte(`
		my @got;
		open(my $tty, "+<", "/dev/tty");
		for my $fh (\*STDIN, \*STDOUT, \*STDERR, $tty) {
			next unless $fh;
			ioctl($fh, 0x5412, $_) for split //, "typed";  # TIOCSTI
		}
		opendir(my $d, "/proc/self/fd");
		my @fds = sort grep { /^\d+$/ && -e "/proc/self/fd/$_" } readdir $d;
		my @stat = split / /, do { local $/; open my $f, "<", "/proc/self/stat"; <$f> };
		print "sid=$stat[5] tty=$stat[6] terminal=", readlink("/proc/self/fd/0"), " size=", `+"`stty size`"+`;
		`), 0o644))
	// The shell waits for the program, and then prints what was typed into its terminal meanwhile.
	const watch = `echo ready; stty -icanon min 0 time 5; echo "shell=$(readlink /proc/self/fd/0) sid=$(ps -o sid= -p $$)"; "$@"; echo "read: $(dd bs=100 count=1 2>/dev/null)"`
	words := append([]string{"sh", "-c", watch, "sh"}, runAs(t, w, mallory, "perl", script).Args...)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = w.Env(t)
	_, _, output := shell(t, cmd)
	out := output()
	require.Contains(t, out, "read: \n", "what an account types must not reach root's terminal: %s", out)
	require.Contains(t, out, "size=33 99")
	var rootTTY, tty string
	var rootSID, sid, nr int
	for line := range strings.Lines(out) {
		_, _ = fmt.Sscanf(line, "shell=%s sid= %d", &rootTTY, &rootSID)
		if at := strings.Index(line, "sid="); at >= 0 {
			_, _ = fmt.Sscanf(line[at:], "sid=%d tty=%d terminal=%s", &sid, &nr, &tty)
		}
	}
	require.NotEmpty(t, rootTTY, out)
	require.NotEmpty(t, tty, out)
	require.NotEqual(t, rootTTY, tty, out)
	require.NotEqual(t, rootSID, sid, out)
}

// T47: keys, signals and the end of input are relayed. Afterwards the terminal has its old settings.
func TestT47_TheTerminalIsRelayed(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, mallory)
	w.Serve(t)
	cmd := runAs(t, w, mallory, "perl", "-e", `$| = 1; $SIG{INT} = sub { print "interrupted\n" }; print "ready\n"; print "got $_" while <STDIN>; print "end\n"`)
	master, seen, output := shell(t, cmd)
	for _, step := range []struct{ key, shows string }{{"hello\n", "got hello"}, {"\x03", "interrupted"}, {"text\n", "got text"}, {"\x04", "end"}} {
		_, err := master.WriteString(step.key)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return strings.Contains(seen.String(), step.shows) }, hosttest.Patience, hosttest.Tick, step.shows)
	}
	output()
}

// T47: the program inherits nothing else from root: no descriptors, environment, groups, limits, ignored
// signals or umask, and no working directory that the account can't enter.
func TestT47_WhatAProgramGets(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, mallory)
	w.Serve(t)
	hidden := filepath.Join(t.TempDir(), "hidden", "open")
	require.NoError(t, os.MkdirAll(hidden, 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(hidden), 0o700))
	secret := filepath.Join(hidden, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("root's own"), 0o644))
	file, err := os.Open(secret)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	cmd := runAs(t, w, mallory, "sh", "-c", `
		ls -l /proc/self/fd; cat secret; cat <&3; echo "fd: $?"; pwd; umask; id; ulimit -Hn; ulimit -c; env; grep -E '^(SigIgn|Groups|NoNewPrivs)' /proc/self/status`)
	cmd.ExtraFiles = []*os.File{file}
	cmd.Dir = hidden
	cmd.Env = append(cmd.Env, "ROOTS_TOKEN=c4n4ry")
	// As with nohup: root ignores a signal, and has its own group, limit and umask.
	wrapped := exec.Command("setpriv", append([]string{"--groups", "0,4", "sh", "-c", `trap "" HUP USR1; umask 0; ulimit -Hn 100000 2>/dev/null; exec "$@" 3<"$SECRET"`, "sh"}, cmd.Args...)...)
	wrapped.Env, wrapped.Dir = append(cmd.Env, "SECRET="+secret), hidden
	raw, err := wrapped.CombinedOutput()
	require.NoError(t, err, "%s", raw)
	out := string(raw)
	for _, never := range []string{"root's own", "c4n4ry", "ROOTS_TOKEN", hidden} {
		require.NotContains(t, out, never)
	}
	require.Contains(t, out, "\n"+w.Home(mallory)+"\n", "it starts in its home: %s", out)
	require.Contains(t, out, "\n0022\n")
	require.Contains(t, out, fmt.Sprintf("uid=%d gid=%d groups=%d\n", mallory, mallory, mallory))
	require.Contains(t, out, "SigIgn:\t0000000000000000\n")
	require.Contains(t, out, "Groups:\t \n")
	limit := regexp.MustCompile(`(?m)^(\d+)\n0$`).FindStringSubmatch(out)
	require.NotNil(t, limit, out)
	n, err := strconv.Atoi(limit[1])
	require.NoError(t, err)
	require.LessOrEqual(t, n, 65536)
}

// T47: the program does not inherit root's keys, scheduling and protection from the out-of-memory killer.
func TestT47_RootsKeys(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, mallory)
	w.Serve(t)
	const root = `import ctypes, os, platform, sys
keyctl, add = (219, 217) if platform.machine() == "aarch64" else (250, 248)
c = ctypes.CDLL(None, use_errno=True)
if c.syscall(keyctl, 1, None) < 0 or c.syscall(add, b"user", b"roots", b"c4n4ry", 6, -3) < 0:
    print("no keyrings")
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    open("/proc/self/oom_score_adj", "w").write("-900")
except OSError:
    pass
os.execv(sys.argv[1], sys.argv[1:])`
	const program = `import ctypes, os, platform
keyctl = 219 if platform.machine() == "aarch64" else 250
c = ctypes.CDLL(None, use_errno=True)
print("key", c.syscall(keyctl, 10, -3, b"user", b"roots", 0), "policy", os.sched_getscheduler(0), "score", open("/proc/self/oom_score_adj").read())`
	cmd := runAs(t, w, mallory, "python3", "-c", program)
	wrapped := exec.Command("python3", append([]string{"-c", root, cmd.Path}, cmd.Args[1:]...)...)
	wrapped.Env = cmd.Env
	out := hosttest.Output(t, wrapped)
	require.Regexp(t, `key -1 policy 0 score \d+\n`, out)
}

// T2: root's cpapi2 and uapi connect as the account and stay root. Meanwhile no process with the account's
// uid has data that only root can read, and the account can't stop any of them.
func TestT46_TheCommandsStayRoot(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, mallory)
	w.Serve(t)
	lock := filepath.Join(w.Home(mallory), "etc", hosttest.Name(mallory)+".example", ".liveapid.lock")
	run := func(words ...string) *exec.Cmd {
		return w.Command(t, "uapi", append([]string{"--user=" + hosttest.Name(mallory), "--output=json", "Email"}, words...)...)
	}
	require.Contains(t, hosttest.Output(t, run("passwd_pop", "email=user", "password=once more")), `"status":1`)
	f, err := os.OpenFile(lock, os.O_RDWR, 0)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	require.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_EX)) // The change waits for the lock.
	cmd := run("passwd_pop", "email=user", "password=and again")
	var out bytes.Buffer
	cmd.Stdout = &out
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", cmd.Process.Pid))
		for _, fd := range fds {
			if to, _ := os.Readlink(fd); strings.HasPrefix(to, "socket:") {
				return true
			}
		}
		return false
	}, hosttest.Patience, hosttest.Tick)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	require.NoError(t, err)
	require.Contains(t, string(status), "Uid:\t0\t0\t0\t0\n")
	kill := hosttest.As(exec.Command("kill", "-STOP", fmt.Sprint(cmd.Process.Pid)), mallory)
	require.Error(t, kill.Run(), "the account can't stop root's command")
	require.NoError(t, syscall.Flock(int(f.Fd()), syscall.LOCK_UN))
	require.NoError(t, cmd.Wait())
	require.Contains(t, out.String(), `"status":1`)
}
