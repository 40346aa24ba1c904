package tests

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/tests/ports"
)

// A single Dovecot with the printed configuration serves the files of many accounts: it asks the host, and
// reads no file that an account wrote.
func TestT33_MailServerOfManyAccounts(t *testing.T) {
	t.Parallel()
	const anna, bert = 20071, 20072
	w := hosttest.Server(t, anna, bert)
	refused, err := w.Command(t, "liveapi", "dovecot").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(refused), "set mail_door =")
	w.Set(t, "control  =", "mail_door = \"run/mail.sock\"\ncontrol  =")
	http := ports.Free(t)
	w.SetSecret(t, "# scheme", bySocket(filepath.Join(w.Dir, "doveadm"))+"kick = true\n# scheme")
	h := w.Serve(t)
	conf := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(conf), 0o755))
	require.NoError(t, os.Chmod(conf, 0o755))
	hosttest.Output(t, w.Command(t, "liveapi", "dovecot", "--write="+conf, "--queue="))
	m := startMailServer(t, filepath.Join(conf, "liveapi-dovecot.conf"), http)
	refusesCommands(t, filepath.Join(w.Dir, "doveadm"))

	const box = "user@u20071.example"
	require.True(t, m.login(box, sandboxPassword))
	require.True(t, m.login("user@u20072.example", sandboxPassword))
	require.False(t, m.login(box, "wrong"))
	require.False(t, m.login("nobody@u20071.example", sandboxPassword))
	require.False(t, m.login("user@elsewhere.example", sandboxPassword))
	require.Contains(t, ask(t, w, anna, "passwd_pop", `{"email":"user","password":"N3w for anna"}`), `"warnings":null`)
	require.True(t, m.login(box, "N3w for anna"), "at once: the login cache was told")
	require.False(t, m.login(box, sandboxPassword))
	require.True(t, m.login("user@u20072.example", sandboxPassword), "and nobody else's changed")

	require.Contains(t, m.deliver(box, 10), "Saved")
	require.Equal(t, "1", m.messages(box, "N3w for anna"))
	mail, err := filepath.Glob(filepath.Join(w.Home(anna), "mail", "u20071.example", "user", "*", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, mail)
	for _, path := range mail {
		st, err := os.Stat(path)
		require.NoError(t, err)
		require.EqualValues(t, anna, st.Sys().(*syscall.Stat_t).Uid, path)
	}
	require.Contains(t, ask(t, w, anna, "edit_pop_quota", `{"email":"user","domain":"u20071.example","quota":"1"}`), `"status":1`)
	require.Contains(t, m.deliver(box, 2_000_000), "Quota exceeded")
	require.Contains(t, ask(t, w, anna, "suspend_incoming", `{"email":"`+box+`"}`), `"warnings":null`)
	require.Contains(t, m.deliver(box, 10), "550 5.1.1")
	require.True(t, m.login(box, "N3w for anna"))
	require.Contains(t, ask(t, w, anna, "suspend_outgoing", `{"email":"`+box+`"}`), `"warnings":null`)
	require.False(t, m.mayUse("smtp", box, "N3w for anna"))
	require.True(t, m.mayUse("imap", box, "N3w for anna"))
	ended := m.session(box, "N3w for anna")
	require.Contains(t, ask(t, w, anna, "suspend_login", `{"email":"`+box+`"}`), `"warnings":null`)
	require.False(t, m.login(box, "N3w for anna"))
	require.Eventually(t, ended, hosttest.Patience, 10*time.Millisecond)

	// T33: Bert can't become another user with his shadow file. Its further fields are ignored, a hash that
	// takes seconds is rejected, and a file that blocks on opening blocks no other account.
	shadow := filepath.Join(w.Home(bert), "etc", "u20072.example", "shadow")
	hash := strings.ReplaceAll(hosttest.OldHash, "\n", "")
	for name, line := range map[string]string{
		"fields": "evil:" + hash + ":20000:::::user=" + box + " userdb_uid=0 userdb_mail_plugin_dir=/tmp\n",
		"quoted": `evil:"},"user":"` + box + `","x":{"y":"` + ":20000::::::\n",
		"costly": "evil:$6$rounds=900000000$saltsalt$" + hash[len("$6$saltsalt$"):] + ":20000::::::\n",
		"plain":  "evil:{PLAIN}open:20000::::::\n",
	} {
		require.NoError(t, os.WriteFile(shadow, []byte(line), 0o600))
		require.NoError(t, os.Chown(shadow, bert, bert))
		passwd := filepath.Join(filepath.Dir(shadow), "passwd")
		require.NoError(t, os.WriteFile(passwd, fmt.Appendf(nil, "evil:x:0:0::%s:/bin/false\n", w.Home(anna)), 0o600))
		require.NoError(t, os.Chown(passwd, bert, bert))
		hosttest.Output(t, w.Command(t, "/usr/bin/doveadm", "-c", m.conf, "auth", "cache", "flush"))
		works := m.login("evil@u20072.example", sandboxPassword)
		require.Equal(t, name == "fields", works, name)
		require.False(t, m.login("evil@u20072.example", "open"), name)
		if works {
			require.Equal(t, "0", m.messages("evil@u20072.example", sandboxPassword), "his own mail, which is none")
		}
		require.Contains(t, m.deliver("user@u20071.example", 10), "550", "and hers is as it was: %s", name)
	}
	require.NoError(t, os.Remove(shadow))
	require.NoError(t, syscall.Mkfifo(shadow, 0o600))
	require.NoError(t, os.Chown(shadow, bert, bert))
	require.False(t, m.login("user@u20072.example", sandboxPassword))
	require.Contains(t, ask(t, w, anna, "unsuspend_login", `{"email":"`+box+`"}`), `"status":1`)
	require.True(t, m.login(box, "N3w for anna"))

	// Bert stops his worker and asks for his mailbox without pause. Meanwhile Anna logs in.
	pid := workerPID(t, h, bert)
	require.NotZero(t, pid)
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	var stuck sync.WaitGroup
	for range 20 {
		stuck.Go(func() { m.login("user@u20072.example", sandboxPassword) })
	}
	for range 5 {
		hosttest.Output(t, w.Command(t, "/usr/bin/doveadm", "-c", m.conf, "auth", "cache", "flush"))
		require.True(t, m.login(box, "N3w for anna"))
	}
	stuck.Wait()
	_ = syscall.Kill(pid, syscall.SIGCONT)

	// A user without permission for this socket is disconnected, and accounts can't ask for hashes.
	conn, err := w.TryUID(anna)
	require.NoError(t, err)
	_ = conn.Close()
	_, err = hosttest.DialAs(filepath.Join(w.Dir, "run", "mail.sock"), anna)
	require.Error(t, err)
	require.Contains(t, ask(t, w, anna, "mail_server_lookup", `{"email":"`+box+`"}`), "Permission denied")
	require.NotContains(t, h.Log.String(), "$6$")

	// Mailboxes of a suspended account can't log in, and their mail waits. If the host ends, Dovecot gets an
	// error, not "no such user".
	hosttest.Output(t, w.Command(t, "liveapi", "account", "suspend", "u20071"))
	require.Eventually(t, func() bool {
		hosttest.Output(t, w.Command(t, "/usr/bin/doveadm", "-c", m.conf, "auth", "cache", "flush"))
		return !m.login(box, "N3w for anna")
	}, hosttest.Patience, 100*time.Millisecond)
	h.Stop(t)
	_, err = net.Dial("unix", filepath.Join(w.Dir, "run", "mail.sock"))
	require.Error(t, err)
	require.Contains(t, m.deliver("user@u20072.example", 10), "451", "mail is kept until the host is back")
}
