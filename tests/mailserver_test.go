package tests

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore/dbtest"
	"github.com/liveapid/liveapid/tests/ports"
)

// mailServer is a Dovecot with the configuration that liveapi dovecot printed, plus the test's ports and
// logs.
type mailServer struct {
	*dovecot
	lmtp string
	http int
}

const mailServerConfig = `
auth_cache_size = 10M
auth_cache_ttl = 1 hour
!include %[1]s
service lmtp {
  inet_listener lmtp {
    %[2]s = 127.0.0.1
    port = %[3]s
  }
}
doveadm_api_key = doveadm-key
service doveadm {
  inet_listener http {
    port = %[4]d
    ssl = no
  }
}
`

func startMailServer(t *testing.T, include string, http int) *mailServer {
	t.Helper()
	m := &mailServer{lmtp: fmt.Sprintf("127.0.0.1:%d", ports.Free(t)), http: http}
	m.dovecot = runDovecot(t, func(dir string, port int) string {
		_, lmtp, _ := strings.Cut(m.lmtp, ":")
		return dovecotBase(t, dir, port) + fmt.Sprintf(mailServerConfig, include, ofVersion(t, "address", "listen"), lmtp, http)
	})
	ports.Wait(t, m.lmtp)
	return m
}

// writtenDovecot lets liveapi dovecot write its files into a directory that Dovecot's users can enter, and returns the
// file to include.
func writtenDovecot(t *testing.T, w *hosttest.World, options ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lc")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o777))
	hosttest.Output(t, w.Command(t, "liveapi", append([]string{"dovecot", "--write=" + dir, "--queue="}, options...)...))
	return filepath.Join(dir, "liveapi-dovecot.conf")
}

// bySocket returns the settings of the plugin for a Dovecot that is told of changes over a socket.
func bySocket(path string) string {
	return fmt.Sprintf("doveadm = %q\nmail_timeout = \"1m\"\n", path)
}

// deliver delivers a message over LMTP and returns the server's last reply.
func (m *mailServer) deliver(to string, size int) string {
	m.t.Helper()
	conn, err := net.Dial("tcp", m.lmtp)
	require.NoError(m.t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(m.t, conn.SetDeadline(time.Now().Add(hosttest.Patience)))
	c := textproto.NewConn(conn)
	word := func() string {
		_, text, err := c.ReadResponse(0)
		if code, ok := err.(*textproto.Error); ok {
			return fmt.Sprintf("%d %s", code.Code, code.Msg)
		}
		require.NoError(m.t, err)
		return text
	}
	say := func(line string) string {
		require.NoError(m.t, c.PrintfLine("%s", line))
		_, text, err := c.ReadResponse(0)
		require.NoError(m.t, err)
		return text
	}
	_, _, err = c.ReadResponse(220)
	require.NoError(m.t, err)
	say("LHLO test")
	say("MAIL FROM:<sender@elsewhere.example>")
	require.NoError(m.t, c.PrintfLine("RCPT TO:<%s>", to))
	code, text, err := c.ReadResponse(0)
	require.NoError(m.t, err)
	if code != 250 {
		return fmt.Sprintf("%d %s", code, text)
	}
	require.NoError(m.t, c.PrintfLine("DATA"))
	_, _, err = c.ReadResponse(354)
	require.NoError(m.t, err)
	require.NoError(m.t, c.PrintfLine("Subject: test\r\n\r\n%s\r\n.", strings.Repeat(strings.Repeat("x", 70)+"\r\n", size/72+1)))
	return word()
}

// messages returns how many messages IMAP shows in the inbox.
func (m *mailServer) messages(user, password string) string {
	m.t.Helper()
	count := "no answer"
	for line := range strings.Lines(m.imap(fmt.Sprintf("a LOGIN %q %q\r\nb SELECT INBOX\r\nc FETCH 1 BODY[TEXT]\r\nd LOGOUT\r\n", user, password))) {
		if text, ok := strings.CutSuffix(strings.TrimSpace(line), " EXISTS"); ok {
			count = strings.TrimPrefix(text, "* ")
		}
	}
	return count
}

// imap sends commands, of which the last is LOGOUT, and returns all answers.
func (m *mailServer) imap(commands string) string {
	m.t.Helper()
	conn, err := net.Dial("tcp", m.addr)
	require.NoError(m.t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(m.t, conn.SetDeadline(time.Now().Add(hosttest.Patience)))
	_, err = conn.Write([]byte(commands))
	require.NoError(m.t, err)
	answers, err := io.ReadAll(conn)
	require.NoError(m.t, err)
	return string(answers)
}

// session logs in over IMAP and stays. ended reports whether the server ended the session.
func (m *mailServer) session(user, password string) (ended func() bool) {
	m.t.Helper()
	conn, err := net.Dial("tcp", m.addr)
	require.NoError(m.t, err)
	m.t.Cleanup(func() { _ = conn.Close() })
	_, err = fmt.Fprintf(conn, "a LOGIN %q %q\r\n", user, password)
	require.NoError(m.t, err)
	over := make(chan struct{})
	in := make(chan struct{})
	go func() {
		defer close(over)
		r := bufio.NewReader(conn)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if strings.HasPrefix(line, "a OK") {
				close(in)
			}
		}
	}()
	select {
	case <-in:
	case <-time.After(hosttest.Patience):
		m.t.Fatal("no login")
	}
	return func() bool {
		select {
		case <-over:
			return true
		default:
			return false
		}
	}
}

// mayUse reports whether a service accepts a password.
func (m *mailServer) mayUse(service, user, password string) bool {
	m.t.Helper()
	cmd := exec.Command("doveadm", "-c", m.conf, "auth", "test", "-x", "service="+service, user)
	cmd.Stdin = strings.NewReader(password + "\n")
	out, _ := cmd.CombinedOutput()
	require.Regexp(m.t, "auth (succeeded|failed)", string(out))
	return strings.Contains(string(out), "auth succeeded")
}

// uapiOK makes a UAPI call that must succeed, as a program of the world's user.
func uapiOK(t *testing.T, w *hosttest.World, words ...string) string {
	t.Helper()
	out := hosttest.Output(t, w.Command(t, "uapi", append([]string{"--user=demo", "--output=json", "Email"}, words...)...))
	require.Contains(t, out, `"status":1`, "%v", words)
	if words[0] != "delete_pop" { // With a database, the warning says that the mail stays.
		require.Contains(t, out, `"warnings":null`, "%v", words)
	}
	return out
}

// useMailbox uses a mailbox as its users do, on a server that shows each step. With files, Dovecot looks at
// them once a second. With a database, Dovecot uses its cache, and is told to flush it, so that changes are
// visible at once.
func useMailbox(t *testing.T, w *hosttest.World, m *mailServer, atOnce bool) {
	soon := func(is func() bool, what string) {
		t.Helper()
		if atOnce {
			require.True(t, is(), what)
			return
		}
		require.Eventually(t, is, hosttest.Patience, 50*time.Millisecond, what)
	}
	const box, first, second = "bob@example.com", "12345luggage", "A new passw0rd: 2"
	uapiOK(t, w, "add_pop", "email=bob", "password="+first, "quota=1")
	soon(func() bool { return m.login(box, first) }, "a new mailbox")
	require.Contains(t, m.deliver(box, 200_000), "Saved")
	require.Contains(t, m.deliver(box, 2_000_000), "Quota exceeded")
	require.Equal(t, "1", m.messages(box, first))
	require.Eventually(t, func() bool {
		return strings.Contains(uapiOK(t, w, "list_pops_with_disk", "email="+box), `"diskquota":"1.00","diskused":"0.19"`)
	}, hosttest.Patience, 50*time.Millisecond)
	uapiOK(t, w, "edit_pop_quota", "email=bob", "domain=example.com", "quota=4")
	require.Eventually(t, func() bool { return strings.Contains(m.deliver(box, 2_000_000), "Saved") }, hosttest.Patience, 100*time.Millisecond)
	require.Contains(t, m.deliver(box, 3_000_000), "Quota exceeded")
	require.Contains(t, m.deliver("nobody@example.com", 10), "550")

	uapiOK(t, w, "suspend_incoming", "email="+box)
	require.Eventually(t, func() bool { return strings.Contains(m.deliver(box, 10), "550 5.1.1") }, hosttest.Patience, 100*time.Millisecond)
	require.True(t, m.login(box, first), "what came is read")
	uapiOK(t, w, "unsuspend_incoming", "email="+box)
	require.Eventually(t, func() bool { return strings.Contains(m.deliver(box, 10), "Saved") }, hosttest.Patience, 100*time.Millisecond)

	uapiOK(t, w, "suspend_outgoing", "email="+box)
	require.Eventually(t, func() bool { return !m.mayUse("smtp", box, first) }, hosttest.Patience, 100*time.Millisecond)
	require.True(t, m.mayUse("imap", box, first))
	uapiOK(t, w, "unsuspend_outgoing", "email="+box)
	require.Eventually(t, func() bool { return m.mayUse("smtp", box, first) }, hosttest.Patience, 100*time.Millisecond)

	uapiOK(t, w, "suspend_login", "email="+box)
	soon(func() bool { return !m.login(box, first) }, "a login that is suspended")
	require.Contains(t, m.deliver(box, 10), "Saved", "mail still arrives")
	uapiOK(t, w, "passwd_pop", "email="+box, "password="+second)
	require.False(t, m.login(box, second))
	uapiOK(t, w, "unsuspend_login", "email="+box)
	soon(func() bool { return m.login(box, second) }, "the new password, now that logins are taken")
	require.False(t, m.login(box, first))
	ended := m.session(box, second)
	for i := range 3 {
		password := fmt.Sprintf("Changed aga1n: %d", i)
		uapiOK(t, w, "passwd_pop", "email="+box, "password="+password)
		soon(func() bool { return m.login(box, password) }, "a new password")
		require.False(t, m.login(box, second), "the auth cache forgot it")
	}
	if atOnce { // The mailbox's sessions are ended too.
		require.Eventually(t, ended, hosttest.Patience, 10*time.Millisecond, "sessions of the old password end")
	}
	if atOnce || !is24(t) {
		ended = m.session(box, "Changed aga1n: 2")
		uapiOK(t, w, "terminate_mailbox_sessions")
		require.Eventually(t, ended, hosttest.Patience, 10*time.Millisecond, "all sessions end when that is asked for")
	}
	uapiOK(t, w, "delete_pop", "email="+box)
	soon(func() bool { return !m.login(box, "Changed aga1n: 2") }, "a mailbox that is no more")
	require.Eventually(t, func() bool { return strings.Contains(m.deliver(box, 10), "550") }, hosttest.Patience, 100*time.Millisecond)
}

// The store of files, with a Dovecot that is configured by liveapi dovecot.
func TestT33_MailServerOnFiles(t *testing.T) {
	t.Parallel()
	w := hosttest.SandboxAs(t, vmailUID(t))
	http := ports.Free(t)
	w.SetSecret(t, "# scheme", bySocket(filepath.Join(w.Dir, "doveadm"))+"# scheme")
	if is24(t) { // There, ending sessions would need rights that the account must not have.
		refused, err := w.Command(t, "liveapi", "dovecot").CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(refused), "remove the setting")
		w.SetSecret(t, bySocket(filepath.Join(w.Dir, "doveadm")), "")
	}
	w.Serve(t)
	m := startMailServer(t, writtenDovecot(t, w), http)
	useMailbox(t, w, m, false)

	// T33: an account can't make its mailboxes other users by its file, nor give them another home or uid.
	content, err := os.ReadFile(w.Shadow)
	require.NoError(t, err)
	hash := strings.Split(strings.SplitN(string(content), "\n", 2)[0], ":")[1]
	for i, fields := range []string{"user=user@example.com", "login_user=user@example.com", "login_user=user@example.com userdb_master_user=x", "userdb_uid=0 userdb_gid=0 userdb_home=/tmp"} {
		name := fmt.Sprintf("evil%d", i)
		content = append(content, name+":"+hash+"::::::"+fields+"\n"...)
		require.NoError(t, os.WriteFile(w.Shadow, content, 0o640))
		require.Eventually(t, func() bool { return m.login(name+"@example.com", sandboxPassword) }, hosttest.Patience, 100*time.Millisecond)
		require.Contains(t, m.deliver("user@example.com", 10), "Saved")
		require.Equal(t, "0", m.messages(name+"@example.com", sandboxPassword), "it sees its own mail, not the user's: %s", fields)
	}
	require.NoDirExists(t, "/tmp/cur")

	// A Sieve plugin of the account must not be loaded, especially not by root.
	evil := filepath.Join(w.Dir, "home", "demo", "evil")
	require.NoError(t, os.MkdirAll(evil, 0o755))
	mark := filepath.Join(w.Dir, "home", "demo", "mark")
	source := fmt.Sprintf(`#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void load(void) { int f = open(%q, O_CREAT|O_WRONLY, 0644); if (f >= 0) close(f); }
void evil_plugin_init(void *m) { (void)m; }
void evil_plugin_deinit(void) {}
`, mark)
	require.NoError(t, os.WriteFile(filepath.Join(evil, "evil.c"), []byte(source), 0o644))
	out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", filepath.Join(evil, "lib20_evil_plugin.so"), filepath.Join(evil, "evil.c")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, os.Chmod(filepath.Join(w.Dir, "home", "demo"), 0o777))
	content = append(content, "plug:"+hash+"::::::userdb_mail_plugin_dir="+evil+" userdb_mail_plugins=evil userdb_mail_access_groups=root userdb_system_groups_user=root\n"...)
	require.NoError(t, os.WriteFile(w.Shadow, content, 0o640))
	require.Eventually(t, func() bool { return m.mayUse("imap", "plug@example.com", sandboxPassword) }, hosttest.Patience, 100*time.Millisecond)
	m.messages("plug@example.com", sandboxPassword)
	_ = m.deliver("plug@example.com", 10)
	require.NoFileExists(t, mark)
	for _, service := range []string{"auth", "imap", "lmtp", "indexer-worker"} {
		out, err := exec.Command("doveconf", "-c", m.conf, "-h", "service/"+service+"/user").Output()
		require.NoError(t, err)
		require.Equal(t, vmailUser, strings.TrimSpace(string(out)), service)
	}

	// Names with characters that Dovecot rejects by default, and a mailbox whose name is the start of
	// another.
	for i, name := range []string{"bob+sales", "a&b", "a=b"} {
		uapiOK(t, w, "add_pop", "email="+strings.NewReplacer("+", "%2B", "&", "%26", "=", "%3D").Replace(name), "password=12345luggage"+fmt.Sprint(i))
		require.Eventually(t, func() bool { return m.login(name+"@example.com", "12345luggage"+fmt.Sprint(i)) }, hosttest.Patience, 100*time.Millisecond, name)
		require.Contains(t, m.deliver(name+"@example.com", 10), "Saved")
		require.Equal(t, "1", m.messages(name+"@example.com", "12345luggage"+fmt.Sprint(i)), name)
	}

	postfix := hosttest.Output(t, w.Command(t, "liveapi", "postfix"))
	require.Contains(t, postfix, "virtual_mailbox_domains = example.com\n")
	postconf(t, t.TempDir(), postfix)
}

// postconf checks a configuration with Postfix's postconf.
func postconf(t *testing.T, dir, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.cf"), []byte("compatibility_level = 3.6\n"+text), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "master.cf"), nil, 0o644))
	out, err := exec.Command("postconf", "-c", dir, "-n").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "warning", "%s", out)
}

// The store in a database, with a Dovecot that is configured by liveapi dovecot.
func TestMailServerOnDatabases(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("Dovecot's master process needs root")
	}
	for kind, start := range map[string]func(testing.TB) *dbtest.Server{"postgresql": dbtest.PostgreSQL, "mariadb": dbtest.MariaDB} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			dsn := server.Database()
			w := hosttest.Sandbox(t)
			http := ports.Free(t)
			doveadm := bySocket(filepath.Join(w.Dir, "doveadm"))
			if kind == "mariadb" && !is24(t) { // The HTTP API of 2.4 can't be told of changes.
				doveadm = fmt.Sprintf("doveadm = \"http://127.0.0.1:%d\"\ndoveadm_key = \"doveadm-key\"\nmail_timeout = \"1m\"\n", http)
			}
			w.SetSecret(t, "# scheme", fmt.Sprintf("store = %q\ndatabase = %q\n%skick = true\n# scheme", kind, dsn, doveadm))
			require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "store", "init")), "created mailbox")
			require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "store", "init")), "all tables exist")
			require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "store", "check")), "has all tables and columns")

			// The sandbox's mailbox is copied to the database, and back into an empty store.
			require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "store", "migrate", "--from=files", "--to=sql", "--dry-run")), "1 would be copied")
			require.Contains(t, uapiOK(t, w, "count_pops"), `"data":0`)
			require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "store", "migrate", "--from=files", "--to=sql")), "1 copied")
			require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "store", "migrate", "--from=files", "--to=sql")), "0 copied, 1 existed already")
			before, err := os.ReadFile(w.Shadow)
			require.NoError(t, err)
			require.NoError(t, os.RemoveAll(filepath.Join(w.Dir, "home", "demo", "etc")))
			require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "store", "migrate", "--from=sql", "--to=files", "--user=demo")), "1 copied")
			after, err := os.ReadFile(w.Shadow)
			require.NoError(t, err)
			require.Equal(t, string(before), string(after), "no hash changed")

			mail, conf := t.TempDir(), t.TempDir()
			require.NoError(t, os.Chown(mail, vmailUID(t), vmailUID(t)))
			for _, dir := range []string{mail, conf, filepath.Dir(mail)} {
				require.NoError(t, os.Chmod(dir, 0o755)) // Dovecot's processes need to enter it.
			}
			printed := hosttest.Output(t, w.Command(t, "liveapi", "dovecot", "--mail="+mail, "--owner="+vmailUser, "--queue="))
			printed += hosttest.Output(t, w.Command(t, "liveapi", "postfix"))
			require.NotContains(t, printed, dbtest.Password)
			hosttest.Output(t, w.Command(t, "liveapi", "dovecot", "--write="+conf, "--mail="+mail, "--owner="+vmailUser, "--queue="))
			info, err := os.Stat(filepath.Join(conf, "liveapi-dovecot-sql.conf.ext"))
			require.NoError(t, err)
			require.EqualValues(t, 0o600, info.Mode().Perm())
			w.Serve(t)
			m := startMailServer(t, filepath.Join(conf, "liveapi-dovecot.conf"), http)
			if kind == "postgresql" {
				refusesCommands(t, filepath.Join(w.Dir, "doveadm"))
			}
			require.True(t, m.login("user@example.com", sandboxPassword), "the mailbox that was copied")
			useMailbox(t, w, m, true)

			hosttest.Output(t, w.Command(t, "liveapi", "postfix", "--write="+conf))
			main, err := os.ReadFile(filepath.Join(conf, "liveapi-postfix.cf"))
			require.NoError(t, err)
			postconf(t, conf, string(main))
			query := func(table, key string) string {
				kind := map[string]string{"postgresql": "pgsql:", "mariadb": "mysql:"}[kind]
				out, _ := exec.Command("postmap", "-c", conf, "-q", key, kind+filepath.Join(conf, table)).CombinedOutput()
				return strings.TrimSpace(string(out))
			}
			require.Equal(t, "example.com", query("liveapi-postfix-domains.cf", "example.com"))
			require.Empty(t, query("liveapi-postfix-domains.cf", "example.org"))
			require.Equal(t, "example.com/user/", query("liveapi-postfix-mailboxes.cf", "user@example.com"))
			require.Equal(t, "user@example.com", query("liveapi-postfix-aliases.cf", "user@example.com"))
			uapiOK(t, w, "suspend_incoming", "email=user@example.com")
			require.Empty(t, query("liveapi-postfix-mailboxes.cf", "user@example.com"))

			server.Stop()
			answer := hosttest.Output(t, w.Command(t, "uapi", "--user=demo", "--output=json", "Email", "passwd_pop", "email=user", "password="+sandboxPassword))
			require.Contains(t, answer, `"errors":["The mail database can't be reached at the moment. Nothing was changed; try again later.`)
			server.Start()
			require.Eventually(t, func() bool {
				out, err := w.Command(t, "uapi", "--user=demo", "--output=json", "Email", "passwd_pop", "email=user", "password="+sandboxPassword).Output()
				return err == nil && strings.Contains(string(out), `"status":1`)
			}, hosttest.Patience, 100*time.Millisecond)
		})
	}
}

// vmailUser is a user of every Debian that owns the mail.
const vmailUser = "mail"

func vmailUID(t *testing.T) int {
	t.Helper()
	info, err := os.ReadFile("/etc/passwd")
	require.NoError(t, err)
	for _, line := range strings.Split(string(info), "\n") {
		if fields := strings.Split(line, ":"); fields[0] == vmailUser {
			var uid int
			_, err := fmt.Sscan(fields[2], &uid)
			require.NoError(t, err)
			return uid
		}
	}
	t.Fatal("no user " + vmailUser)
	return 0
}

// If the mail server can't be reached, the answer has a warning: the change was made.
func TestMailServerIsNotThere(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	w.SetSecret(t, "# scheme", "doveadm = \"http://127.0.0.1:9\"\ndoveadm_key = \"c4n4ry\"\nkick = true\n# scheme")
	host := w.Serve(t)
	c := w.Dial(t)
	const warning = "The change was made, but the mail server could not be notified. It may use the old state for a while."
	require.Contains(t, c.Call("uapi", "Email", "passwd_pop", `{"email":"user","password":"new one"}`), `"status":1,"warnings":["`+warning+`"]`)
	require.Contains(t, c.Call("2", "Email", "passwdpop", `{"domain":"example.com","email":"user","password":"newer one"}`), `"data":[{"reason":"`+warning+`","result":1}]`)
	require.Contains(t, c.Call("uapi", "Email", "verify_password", `{"email":"user@example.com","password":"newer one"}`), `"data":1`)
	require.Eventually(t, func() bool { return strings.Contains(host.Log.String(), "connection refused") }, hosttest.Patience, hosttest.Tick)
	require.NotContains(t, host.Log.String(), "c4n4ry")
}

// A mail server that hangs costs mail_timeout, but the call is answered: the change was made.
func TestMailServerThatHangs(t *testing.T) {
	t.Parallel()
	for setting, limit := range map[string]string{"200ms": "60s", "1m": "5s"} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0") // The kernel accepts, but nothing answers.
			require.NoError(t, err)
			defer func() { _ = l.Close() }()
			w := hosttest.Sandbox(t)
			w.Limits(t, fmt.Sprintf("call = %q", limit))
			w.SetSecret(t, "# scheme", fmt.Sprintf("doveadm = \"http://%s\"\ndoveadm_key = \"key\"\nmail_timeout = %q\n# scheme", l.Addr(), setting))
			w.Serve(t)
			c := w.Dial(t)
			require.Contains(t, c.Call("uapi", "Email", "count_pops", `{}`), `"data":1`) // The worker has started.
			require.Contains(t, c.Call("uapi", "Email", "passwd_pop", `{"email":"user","password":"new one"}`), `"status":1,"warnings":["The change was made, but the mail server could not be notified`)
		})
	}
}
