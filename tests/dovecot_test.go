package tests

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/tests/ports"
)

// dovecot is a real Dovecot on loopback that reads a sandbox's store.
type dovecot struct {
	t    *testing.T
	addr string
	conf string
}

// The configurations of a Dovecot that reads a sandbox's store: of its own directory, the sandbox's, its auth cache's
// size, and the user of the mail.
const (
	storeDovecot23 = `
protocols = imap
auth_cache_size = %[3]s
mail_location = maildir:%[1]s/mail/%%d/%%n
passdb {
  driver = passwd-file
  args = scheme=CRYPT username_format=%%n %[2]s/vmail/%%d/shadow
}
userdb {
  driver = static
  args = uid=%[4]d gid=%[4]d home=%[1]s/mail/%%d/%%n
}
service auth {
  user = root
}
`
	storeDovecot24 = `
protocols = imap
auth_cache_size = %[3]s
mail_driver = maildir
mail_path = %[1]s/mail/%%{user | domain}/%%{user | username}
passdb passwd-file {
  passwd_file_path = %[2]s/vmail/%%{user | domain}/shadow
  auth_username_format = %%{user | username}
  default_password_scheme = CRYPT
}
userdb static {
  fields {
    uid = %[4]d
    gid = %[4]d
    home = %[1]s/mail/%%{user | domain}/%%{user | username}
  }
}
service auth {
  user = root
}
`
)

// startDovecot starts Dovecot on w's store. The userdb is static, so that uid and home never come from a file
// that the account owns.
func startDovecot(t *testing.T, w *hosttest.World, cache string) *dovecot {
	t.Helper()
	const vmail = 12345
	return runDovecot(t, func(dir string, port int) string {
		require.NoError(t, os.Mkdir(filepath.Join(dir, "mail"), 0o700))
		require.NoError(t, os.Chown(filepath.Join(dir, "mail"), vmail, vmail))
		return dovecotBase(t, dir, port) + fmt.Sprintf(ofVersion(t, storeDovecot23, storeDovecot24), dir, w.Dir, cache, vmail)
	})
}

// runDovecot starts Dovecot with a configuration for its directory and port.
func runDovecot(t *testing.T, configure func(dir string, port int) string) *dovecot {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("Dovecot's master process needs root")
	}
	_, err := exec.LookPath("dovecot")
	require.NoError(t, err, "install dovecot-imapd (make deps)")
	dir, err := os.MkdirTemp("", "ld")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	port := ports.Free(t)
	conf := filepath.Join(dir, "dovecot.conf")
	require.NoError(t, os.WriteFile(conf, []byte(configure(dir, port)), 0o644))
	cmd := exec.Command("dovecot", "-F", "-c", conf)
	out := &hosttest.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("%s\n%s", out, log)
		}
	})
	d := &dovecot{t: t, addr: ports.Address(port), conf: conf}
	ports.WaitFor(t, d.addr, ended)
	return d
}

// login reports whether IMAP LOGIN succeeds.
func (d *dovecot) login(user, password string) bool {
	d.t.Helper()
	conn, err := net.Dial("tcp", d.addr)
	require.NoError(d.t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(d.t, conn.SetDeadline(time.Now().Add(hosttest.Patience)))
	r := bufio.NewReader(conn)
	greeting, err := r.ReadString('\n')
	require.NoError(d.t, err)
	require.True(d.t, strings.HasPrefix(greeting, "* OK"), greeting)
	// A literal can contain any byte.
	_, err = fmt.Fprintf(conn, "a LOGIN {%d+}\r\n%s {%d+}\r\n%s\r\n", len(user), user, len(password), password)
	require.NoError(d.t, err)
	for {
		line, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return false // Dovecot ends the connection if the user is gone after the password was accepted.
		}
		require.NoError(d.t, err)
		switch {
		case strings.HasPrefix(line, "a OK"):
			return true
		case strings.HasPrefix(line, "a NO"):
			return false
		}
		require.True(d.t, strings.HasPrefix(line, "*"), line)
	}
}

// changed requires that the new password logs in, and the old one does not.
func (d *dovecot) changed(old, now string) {
	d.t.Helper()
	require.Eventually(d.t, func() bool { return d.login("user@example.com", now) }, hosttest.Patience, 50*time.Millisecond, "the new password logs in")
	require.False(d.t, d.login("user@example.com", old), "the old password does not")
}

const sandboxPassword = "Old.passw0rd-1"

const perlChange = `
use Cpanel::LiveAPI;
my $api = Cpanel::LiveAPI->new();
my $r = $api->api2('Email', 'passwdpop', {domain => 'example.com', email => 'user', password => $ENV{NEW}});
die "refused: $r->{cpanelresult}{error}" unless $r->{cpanelresult}{data}[0]{result} == 1;
$api->end();
`

const phpChange = `
require getenv('CPANEL_PHP');
$cpanel = new CPANEL();
$r = $cpanel->api2('Email', 'passwdpop', array('domain' => 'example.com', 'email' => 'user', 'password' => getenv('NEW')));
if ($r['cpanelresult']['data'][0]['result'] !== 1) { fwrite(STDERR, json_encode($r)); exit(1); }
$cpanel->end();
`

// doors returns the ways to change a password, each as a function that changes the sandbox's mailbox to the
// given password.
func doors(t *testing.T, w *hosttest.World) map[string]func(password string) {
	run := func(cmd *exec.Cmd, stdin string, env ...string) {
		t.Helper()
		cmd.Stdin = strings.NewReader(stdin)
		cmd.Env = append(cmd.Env, env...)
		out := hosttest.Output(t, cmd)
		require.NotContains(t, out, `"result":0`)
		require.NotContains(t, out, `"status":0`)
	}
	binding := "CPANEL_PHP=" + filepath.Join(hosttest.Root(t), "bindings", "php", "cpanel.php")
	socket := "LIVEAPI_SOCKET=" + w.Socket
	return map[string]func(string){
		"cpapi2": func(p string) {
			run(w.Command(t, "cpapi2", "--user=demo", "--output=json", "Email", "passwdpop", "domain=example.com", "email=user", "password=-"), p+"\n")
		},
		"uapi": func(p string) {
			run(w.Command(t, "uapi", "--user=demo", "--output=json", "Email", "passwd_pop", "email=user@example.com", "password=-"), p+"\n")
		},
		"a hand-written client": func(p string) {
			answer := w.Dial(t).Call("2", "Email", "passwdpop", fmt.Sprintf(`{"domain":"example.com","email":"user","password":%q}`, p))
			require.Contains(t, answer, `"data":[{"reason":"","result":1}]`)
		},
		"Perl, socket": func(p string) { run(w.Command(t, "perl", "-e", perlChange), "", "NEW="+p, socket) },
		"Perl, stdio":  func(p string) { run(w.Command(t, "perl", "-e", perlChange), "", "NEW="+p) },
		"PHP, socket":  func(p string) { run(w.Command(t, "php", "-r", phpChange), "", "NEW="+p, socket, binding) },
		"PHP, stdio":   func(p string) { run(w.Command(t, "php", "-r", phpChange), "", "NEW="+p, binding) },
		"Perl, liveapi run": func(p string) {
			run(w.Command(t, "liveapi", "run", "--user", "demo", "--", "perl", "-e", perlChange), "", "NEW="+p)
		},
	}
}

// Every front door, verified with Dovecot, with its auth cache off and on.
func TestDovecotAgrees(t *testing.T) {
	t.Parallel()
	for _, cache := range []string{"0", "10M"} {
		t.Run("cache "+cache, func(t *testing.T) {
			t.Parallel()
			w := hosttest.Sandbox(t)
			w.Serve(t)
			d := startDovecot(t, w, cache)
			require.True(t, d.login("user@example.com", sandboxPassword))
			require.False(t, d.login("user@example.com", "wrong"))
			old := sandboxPassword
			for name, change := range doors(t, w) {
				now := "N3w " + name + ` "&:<é😀>\`
				change(now)
				d.changed(old, now)
				old = now
			}
		})
	}
}

// R6: several changes within a second, all with the same length on disk: only the last password logs in.
func TestR06_DovecotSeesChangesWithinASecond(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	w.Start(t)
	d := startDovecot(t, w, "10M")
	c := w.Dial(t)
	old := sandboxPassword
	for round := range 10 {
		var now string
		for i := range 3 {
			now = fmt.Sprintf("round %d change %d", round, i)
			require.Contains(t, c.Call("2", "Email", "passwdpop", fmt.Sprintf(`{"domain":"example.com","email":"user","password":%q}`, now)), `"result":1}]`)
			if i == 0 {
				d.login("user@example.com", now) // So that Dovecot has just read the file.
			}
		}
		d.changed(old, now)
		require.False(t, d.login("user@example.com", fmt.Sprintf("round %d change 0", round)))
		require.False(t, d.login("user@example.com", fmt.Sprintf("round %d change 1", round)))
		old = now
	}
}

// T28: every accepted password logs in, with every scheme. Similar passwords do not.
func TestT28_DovecotVerifiesWhatIsTaken(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"SHA512-CRYPT", "BLF-CRYPT", "ARGON2ID"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			w := hosttest.Sandbox(t)
			w.Set(t, `# scheme = "SHA512-CRYPT"`, fmt.Sprintf("scheme = %q", scheme))
			w.Start(t)
			d := startDovecot(t, w, "0")
			c := w.Dial(t)
			long := 256
			if scheme == "BLF-CRYPT" {
				long = 71
			}
			old := sandboxPassword
			for _, now := range []string{"x", `a:b"c'd\e&f%g h$i!{}[]`, "päß😀", strings.Repeat("y", long), " lead and trail "} {
				answer := c.Call("uapi", "Email", "passwd_pop", fmt.Sprintf(`{"email":"user","password":%q}`, now))
				require.Contains(t, answer, `"status":1`)
				d.changed(old, now)
				require.False(t, d.login("user@example.com", now+"!"))
				require.Contains(t, c.Call("uapi", "Email", "verify_password", fmt.Sprintf(`{"email":"user@example.com","password":%q}`, now)), `"data":1,`)
				old = now
			}
			require.Contains(t, c.Call("uapi", "Email", "passwd_pop", fmt.Sprintf(`{"email":"user","password":%q}`, strings.Repeat("y", long+1))), `"status":0`)
			d.changed("", old)
		})
	}
}

// A suspended login stays suspended after a change. After unsuspending, the new password is valid.
func TestDovecotRefusesSuspendedMailboxes(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	w.Start(t)
	d := startDovecot(t, w, "0")
	edit := func(old, now string) {
		content, err := os.ReadFile(w.Shadow)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(w.Shadow, []byte(strings.Replace(string(content), old, now, 1)), 0o640))
		later := time.Now().Add(10 * time.Second)
		require.NoError(t, os.Chtimes(w.Shadow, later, later))
	}
	edit("user:", "user:!")
	require.Eventually(t, func() bool { return !d.login("user@example.com", sandboxPassword) }, hosttest.Patience, 50*time.Millisecond)
	// A second line of the mailbox changes nothing for Dovecot, nor for the host: the first one counts.
	content, err := os.ReadFile(w.Shadow)
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(content), "\n")
	second := strings.Replace(first, ":!", ":", 1)
	edit("\n", "\n"+second+"\n"+strings.Replace(second, "user:", "probe:", 1)+"\n")
	require.Eventually(t, func() bool { return d.login("probe@example.com", sandboxPassword) }, hosttest.Patience, 50*time.Millisecond)
	require.False(t, d.login("user@example.com", sandboxPassword))
	require.Contains(t, w.Dial(t).Call("uapi", "Email", "list_pops", "{}"), `"email":"user@example.com","login":"user@example.com","suspended_incoming":0,"suspended_login":1`)
	require.Contains(t, w.Dial(t).Call("2", "Email", "passwdpop", `{"domain":"example.com","email":"user","password":"Next"}`), `"result":1}]`)
	require.False(t, d.login("user@example.com", "Next"))
	require.False(t, d.login("user@example.com", sandboxPassword))
	content, err = os.ReadFile(w.Shadow)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(content), "user:!$6$"))
	require.Equal(t, 1, strings.Count("\n"+string(content), "\nuser:"))
	edit("user:!", "user:")
	require.NoError(t, os.Chtimes(w.Shadow, time.Now().Add(time.Minute), time.Now().Add(time.Minute)))
	d.changed(sandboxPassword, "Next")
}

// A mailbox without a password: ending its suspension says that it needs one, nobody can log in until it has
// one, and then it works.
func TestUnsuspendWithoutAPassword(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	w.Start(t)
	c := w.Dial(t)
	content, err := os.ReadFile(w.Shadow)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(w.Shadow, append(content, "empty:!:1::::::\n"...), 0o640))
	d := startDovecot(t, w, "0")
	require.Contains(t, c.Call("uapi", "Email", "unsuspend_login", `{"email":"empty@example.com"}`), `"warnings":["The mailbox has no password, so nobody can log in yet.`)
	require.True(t, d.login("user@example.com", sandboxPassword))
	for _, password := range []string{"*", "!", "", "x"} {
		require.False(t, d.login("empty@example.com", password))
	}
	require.Contains(t, c.Call("uapi", "Email", "passwd_pop", `{"email":"empty@example.com","password":"Now it has 1"}`), `"status":1`)
	require.Eventually(t, func() bool { return d.login("empty@example.com", "Now it has 1") }, hosttest.Patience, 50*time.Millisecond)
}

// Roundcube's password plugin, as Debian ships it, changes the password that Dovecot accepts. A PHP program
// calls its save().
func TestRoundcube(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	web := w.OpenHTTPS(t)
	d := startDovecot(t, w, "0")
	w.Serve(t)
	web.Wait(t)
	_, port, err := net.SplitHostPort(web.Webmail)
	require.NoError(t, err)
	save := func(current, next string) string {
		cmd := exec.Command("php", filepath.Join(hosttest.Root(t), "tests", "roundcube.php"), port, "user@example.com")
		cmd.Stdin = strings.NewReader(current + "\n" + next + "\n")
		return strings.TrimSpace(hosttest.Output(t, cmd))
	}
	const next = "By Röundcube & <co> 1"
	require.True(t, d.login("user@example.com", sandboxPassword))
	require.Equal(t, `{"code":0}`, save(sandboxPassword, next))
	require.Eventually(t, func() bool { return !d.login("user@example.com", sandboxPassword) }, hosttest.Patience, hosttest.Tick)
	require.Contains(t, hosttest.Output(t, verify(t, w, "user", next)), `"data":1,`)
	require.Equal(t, `{"code":2,"message":"Access denied"}`, save(sandboxPassword, "x"))
	require.Contains(t, hosttest.Output(t, verify(t, w, "user", next)), `"data":1,`)
	require.Equal(t, `{"code":0}`, save(next, "By Roundcube 2"))
	require.Eventually(t, func() bool { return d.login("user@example.com", "By Roundcube 2") }, hosttest.Patience, hosttest.Tick)
}
