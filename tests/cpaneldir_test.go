package tests

import (
	"bufio"
	"errors"
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

// documentedOutput holds the programs in testdata/documented, which make the calls of cPanel's documentation, with what
// each of them prints.
var documentedOutput = map[string][]string{
	"class.live.php":      {"<h1>Mailboxes</h1>", "mailbox user@example.com\n", "domain example.com\n", "quota unlimited\n", "account ", "feature yes\n", "</html>"},
	"interface.live.php":  {"<h1>My Plugin</h1>", "<p>Hello ", ", in en.</p>", "<p>mailboxes: 1</p>", "<p>setting: kept</p>", "</html>"},
	"module.live.pl":      {"<h1>Mailboxes</h1>", "mailbox user@example.com\n", "domain example.com\n", "quota unlimited\n", "account ", "feature yes\n", "</html>"},
	"passwdpop.live.php":  {"result 1 "},
	"passwdpop.live.pl":   {"result 1 "},
	"passwd_pop.live.php": {"data null\n"},
	"passwd_pop.live.pl":  {`"email" : "user@example.com"`},
	"taint.live.pl":       {"user@example.com\n"},
}

// taintProgram is a Perl program that runs with -T, so that it does not use PERL5LIB.
const taintProgram = "#!/usr/local/cpanel/3rdparty/bin/perl -T\nBEGIN { unshift @INC, '/usr/local/cpanel'; }\nuse Cpanel::LiveAPI ();\n" +
	"my $cpanel = Cpanel::LiveAPI->new();\nprint \"Content-type: text/html\\r\\n\\r\\n\" if $ENV{GATEWAY_INTERFACE};\n" +
	"my $list = $cpanel->uapi('Email', 'list_pops');\nprint \"$list->{cpanelresult}{result}{data}[1]{email}\\n\";\n$cpanel->end();\n"

// documentedPrograms copies the documented programs into dir, and returns the command line of each.
func documentedPrograms(t *testing.T, dir string) map[string][]string {
	t.Helper()
	lines := make(map[string][]string)
	for name := range documentedOutput {
		text := []byte(taintProgram)
		if name != "taint.live.pl" {
			var err error
			text, err = os.ReadFile(filepath.Join(hosttest.Root(t), "testdata", "documented", name))
			require.NoError(t, err)
		}
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, text, 0o755))
		require.NoError(t, os.Chmod(path, 0o755))
		lines[name] = []string{path} // By the line #!/usr/local/cpanel/3rdparty/bin/perl.
		if strings.HasSuffix(name, ".php") {
			lines[name] = []string{"php", path}
		}
	}
	return lines
}

// requireDocumented checks what a documented program has printed.
func requireDocumented(t *testing.T, name, out string) {
	t.Helper()
	for _, part := range documentedOutput[name] {
		require.Contains(t, out, part, name)
	}
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
			programs := documentedPrograms(t, dir)
			base, client := startDev(t, withoutLibraries(w.Command(t, "liveapi", "dev", "--listen", "127.0.0.1:0", dir)))
			for name, words := range programs {
				path := filepath.Join(dir, name)
				requireDocumented(t, name, hosttest.Output(t, withoutLibraries(w.Command(t, "liveapi", append([]string{"run", "--"}, words...)...))))
				requireDocumented(t, name, hosttest.Output(t, withoutLibraries(w.Command(t, "liveapi", "page", path))))
				answer, err := client.Get(base + "/" + name)
				require.NoError(t, err)
				body, err := io.ReadAll(answer.Body)
				require.NoError(t, err)
				require.NoError(t, answer.Body.Close())
				requireDocumented(t, name, string(body))
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

// A part of cPanel's directory that exists is not changed, and the program inherits its descriptors.
func TestPartOfTheDirectoryExists(t *testing.T) {
	requireNoCPanel(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can create the directory")
	}
	t.Cleanup(func() { _ = os.RemoveAll(cpaneldir.Root) })
	dirs := []string{"php", "bin", "3rdparty/bin", "Cpanel"}
	for _, dir := range dirs {
		require.NoError(t, os.MkdirAll(filepath.Join(cpaneldir.Root, dir), 0o755))
	}
	require.NoError(t, os.WriteFile(filepath.Join(cpaneldir.Root, "bin", "mine"), []byte("mine"), 0o644))
	for _, uid := range []int{0, 20433} {
		w := hosttest.Sandbox(t)
		if uid != 0 {
			w = hosttest.SandboxAs(t, uid)
			copyBindings(t, filepath.Dir(w.Dir))
		}
		cmd := withoutLibraries(w.Command(t, "liveapi", "run", "--", "sh", "-c", "cat <&3; cat /usr/local/cpanel/bin/mine; ls /usr/local/cpanel/php"))
		read, write, err := os.Pipe()
		require.NoError(t, err)
		cmd.ExtraFiles = []*os.File{read}
		_, err = write.WriteString("from descriptor 3, ")
		require.NoError(t, errors.Join(err, write.Close()))
		require.Equal(t, "from descriptor 3, minecpanel.php\n", hosttest.Output(t, cmd), "uid %d", uid)
		require.NoError(t, read.Close())
	}
	for dir, want := range map[string]int{"php": 0, "bin": 1, "3rdparty/bin": 0, "Cpanel": 0, ".": 4} {
		entries, err := os.ReadDir(filepath.Join(cpaneldir.Root, dir))
		require.NoError(t, err)
		require.Len(t, entries, want, dir)
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
	// The documentation's domain is example.com.
	require.NoError(t, os.Rename(filepath.Join(w.Home(uid), "etc", hosttest.Name(uid)+".example"), filepath.Join(w.Home(uid), "etc", "example.com")))
	text, err := os.ReadFile(w.AccountFile(uid))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(w.AccountFile(uid), []byte(strings.Replace(string(text), hosttest.Name(uid)+".example", "example.com", 1)), 0o644))
	w.Serve(t)
	dir := filepath.Join(filepath.Dir(w.Dir), "pages")
	require.NoError(t, os.Mkdir(dir, 0o755))
	for name, words := range documentedPrograms(t, dir) {
		run := append([]string{"run", "--user", hosttest.Name(uid), "--"}, words...)
		requireDocumented(t, name, hosttest.Output(t, withoutLibraries(w.Command(t, "liveapi", run...))))
		requireDocumented(t, name, hosttest.Output(t, withoutLibraries(w.Command(t, "liveapi", "page", "--user", hosttest.Name(uid), filepath.Join(dir, name)))))
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
	documentedPrograms(t, w.Dir)
	run := func(words ...string) (string, error) {
		cmd := withoutLibraries(w.Command(t, "setpriv", append([]string{"--bounding-set=-sys_admin", "--inh-caps=-all", hosttest.Bin(t, "liveapi")}, words...)...))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run("run", "--", "perl", filepath.Join(w.Dir, "module.live.pl"))
	require.NoError(t, err, out)
	requireDocumented(t, "module.live.pl", out)
	require.Contains(t, out, "To install it, run as root: liveapi cpanel-paths install")
	out, err = run("run", "--", "php", filepath.Join(w.Dir, "class.live.php"))
	require.Error(t, err)
	require.Contains(t, out, "Failed opening required")
	t.Cleanup(func() { _ = w.Command(t, "liveapi", "cpanel-paths", "remove").Run() })
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "cpanel-paths", "install")), "has liveapid's links")
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "doctor")), "well   /usr/local/cpanel has liveapid's links")
	out, err = run("run", "--", "php", filepath.Join(w.Dir, "class.live.php"))
	require.NoError(t, err, out)
	requireDocumented(t, "class.live.php", out)
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
