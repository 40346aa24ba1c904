package tests

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/cpaneldir"
	"github.com/liveapid/liveapid/host/hosttest"
)

// requireNoCPanel skips the test if the machine has a /usr/local/cpanel, and prevents other tests from
// installing one meanwhile.
func requireNoCPanel(t *testing.T) {
	t.Helper()
	hosttest.Alone(t, "package")
	if _, err := os.Lstat(cpaneldir.Root); err == nil {
		t.Skip(cpaneldir.Root, " exists")
	}
}

// copyBindings copies the bindings into dir, so that other users can read them.
func copyBindings(t *testing.T, dir string) {
	t.Helper()
	hosttest.Output(t, exec.Command("cp", "-r", filepath.Join(hosttest.Root(t), "bindings"), dir))
	hosttest.Output(t, exec.Command("chmod", "-R", "a+rX", filepath.Join(dir, "bindings")))
}

// programs are the first programs of cPanel's documentation for each language, by their file's name.
func firstPrograms(t *testing.T, dir string) map[string]string {
	t.Helper()
	programs := make(map[string]string)
	for name, text := range map[string]string{
		"first.live.php": "<?php\nrequire_once \"/usr/local/cpanel/php/cpanel.php\";\n$cpanel = new CPANEL();\n" +
			"$list = $cpanel->api2('Email', 'listpops');\nprint $list['cpanelresult']['data'][1]['email'] . \"\\n\";\n$cpanel->end();\n",
		"first.live.pl": "#!/usr/local/cpanel/3rdparty/bin/perl\nuse Cpanel::LiveAPI ();\nmy $cpanel = Cpanel::LiveAPI->new();\n" +
			"print \"Content-type: text/html\\r\\n\\r\\n\" if $ENV{GATEWAY_INTERFACE};\n" +
			"my $list = $cpanel->api2('Email', 'listpops');\nprint \"$list->{cpanelresult}{data}[1]{email}\\n\";\n$cpanel->end();\n",
		"inc.live.pl": "#!/usr/local/cpanel/3rdparty/bin/perl -T\nBEGIN { unshift @INC, '/usr/local/cpanel'; }\nuse Cpanel::LiveAPI ();\nmy $cpanel = Cpanel::LiveAPI->new();\n" +
			"print \"Content-type: text/html\\r\\n\\r\\n\" if $ENV{GATEWAY_INTERFACE};\n" +
			"my $list = $cpanel->uapi('Email', 'list_pops');\nprint \"$list->{cpanelresult}{result}{data}[1]{email}\\n\";\n$cpanel->end();\n",
	} {
		programs[name] = filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(programs[name], []byte(text), 0o755))
		require.NoError(t, os.Chmod(programs[name], 0o755))
	}
	return programs
}

// withoutLibraries removes PERL5LIB, which hosttest sets, so that programs must find the library themselves.
func withoutLibraries(cmd *exec.Cmd) *exec.Cmd {
	for i, pair := range cmd.Env {
		if strings.HasPrefix(pair, "PERL5LIB=") {
			cmd.Env = append(cmd.Env[:i:i], cmd.Env[i+1:]...)
			break
		}
	}
	return cmd
}

// The documentation's first programs run unchanged, without any setting, for root and for an ordinary user.
func TestFirstProgramsRunUnchanged(t *testing.T) {
	requireNoCPanel(t)
	for _, uid := range []int{0, 20431} {
		t.Run(fmt.Sprint("uid ", uid), func(t *testing.T) {
			w := hosttest.Sandbox(t)
			if uid != 0 {
				w = hosttest.SandboxAs(t, uid)
				copyBindings(t, filepath.Dir(w.Dir))
			}
			dir := filepath.Join(filepath.Dir(w.Dir), "pages")
			require.NoError(t, os.Mkdir(dir, 0o755))
			programs := firstPrograms(t, dir)
			base, client := startDev(t, withoutLibraries(w.Command(t, "liveapi", "dev", "--listen", "127.0.0.1:0", dir)))
			for name, path := range programs {
				words := []string{path}
				if strings.HasSuffix(name, ".php") {
					words = []string{"php", path}
				}
				run := withoutLibraries(w.Command(t, "liveapi", append([]string{"run", "--"}, words...)...))
				require.Equal(t, "user@example.com\n", hosttest.Output(t, run), name)
				page := withoutLibraries(w.Command(t, "liveapi", "page", path))
				require.Equal(t, "user@example.com\n", hosttest.Output(t, page), name)
				answer, err := client.Get(base + "/" + name)
				require.NoError(t, err)
				body, err := io.ReadAll(answer.Body)
				require.NoError(t, err)
				require.NoError(t, answer.Body.Close())
				require.True(t, strings.HasPrefix(string(body), "user@example.com\n"), "%s: %s", name, body)
			}
			status := withoutLibraries(w.Command(t, "liveapi", "run", "--", "sh", "-c", "grep CapEff /proc/self/status; id -u; exit 7"))
			out, err := status.Output()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			require.Equal(t, 7, exit.ExitCode())
			require.True(t, strings.HasSuffix(string(out), fmt.Sprintf("\n%d\n", uid)), "%s", out)
			if uid != 0 {
				require.Contains(t, string(out), "CapEff:\t0000000000000000\n", "no privilege is left in the namespace")
			}
			_, err = os.Lstat(cpaneldir.Root)
			require.ErrorIs(t, err, os.ErrNotExist, "the machine itself was not changed")
		})
	}
}

// startDev starts liveapi dev and returns the address of its pages, and a client that is signed in.
func startDev(t *testing.T, cmd *exec.Cmd) (base string, client *http.Client) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	errs := &hosttest.Buffer{}
	cmd.Stderr = errs
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, "%s", errs)
	start := strings.Fields(line)[2]
	base, _, _ = strings.Cut(start, "/?")
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client = &http.Client{Timeout: hosttest.Patience, Jar: jar}
	answer, err := client.Get(start)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	return base, client
}

// On a server with many accounts, root runs the programs for an account.
func TestFirstProgramsOfAnAccount(t *testing.T) {
	requireNoCPanel(t)
	const uid = 20432
	w := hosttest.Server(t, uid)
	copyBindings(t, filepath.Dir(w.Dir))
	w.Serve(t)
	for name, path := range firstPrograms(t, filepath.Dir(w.Dir)) {
		words := []string{"run", "--user", hosttest.Name(uid), "--", path}
		if strings.HasSuffix(name, ".php") {
			words = []string{"run", "--user", hosttest.Name(uid), "--", "php", path}
		}
		want := "user@" + hosttest.Name(uid) + ".example\n"
		require.Equal(t, want, hosttest.Output(t, withoutLibraries(w.Command(t, "liveapi", words...))), name)
		page := withoutLibraries(w.Command(t, "liveapi", "page", "--user", hosttest.Name(uid), path))
		require.Equal(t, want, hosttest.Output(t, page), name)
	}
}

// If the system allows no mount namespace, the message says what to do, and programs that do not need the
// files still run.
func TestNoMountNamespace(t *testing.T) {
	requireNoCPanel(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can drop the capability")
	}
	w := hosttest.Sandbox(t)
	programs := firstPrograms(t, w.Dir)
	run := func(words ...string) (string, error) {
		cmd := withoutLibraries(w.Command(t, "setpriv", append([]string{"--bounding-set=-sys_admin", "--inh-caps=-all", hosttest.Bin(t, "liveapi")}, words...)...))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run("run", "--", "perl", programs["first.live.pl"])
	require.NoError(t, err, out)
	require.Contains(t, out, "user@example.com\n")
	require.Contains(t, out, "To install it, run as root: liveapi cpanel-paths install")
	out, err = run("run", "--", "php", programs["first.live.php"])
	require.Error(t, err)
	require.Contains(t, out, "Failed opening required")
	t.Cleanup(func() { _ = w.Command(t, "liveapi", "cpanel-paths", "remove").Run() })
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "cpanel-paths", "install")), "has liveapid's links")
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "doctor")), "well   /usr/local/cpanel has liveapid's links")
	out, err = run("run", "--", "php", programs["first.live.php"])
	require.NoError(t, err, out)
	require.Equal(t, "user@example.com\n", out)
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "cpanel-paths", "remove")), "has no php/cpanel.php")
	require.NoDirExists(t, cpaneldir.Root)
}

// If the libraries are missing, a program still runs, and only once: the command does not start itself again
// and again.
func TestMissingLibraries(t *testing.T) {
	requireNoCPanel(t)
	w := hosttest.SandboxAs(t, 20434) // Its programs are copies without the libraries beside them.
	if _, err := os.Stat("/usr/share/liveapid/bindings"); err == nil {
		t.Skip("the libraries are installed")
	}
	out, err := withoutLibraries(w.Command(t, "liveapi", "run", "--", "echo", "once")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, 1, strings.Count(string(out), "once"))
	require.Contains(t, string(out), "Set the configuration key bindings")
}
