package tests

import (
	"fmt"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore/dbtest"
	"github.com/liveapid/liveapid/tests/ports"
)

const postfixMaster = `127.0.0.1:%d inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// startPostfix starts a Postfix in dir with the configuration that liveapi postfix wrote into conf, and
// returns its port. It discards mail to other hosts.
func startPostfix(t *testing.T, dir, conf string) (port int) {
	t.Helper()
	port = ports.Free(t)
	printed, err := os.ReadFile(filepath.Join(conf, "liveapi-postfix.cf"))
	require.NoError(t, err)
	main := fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/log
maillog_file_prefixes = /var
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.test.example
mydestination =
local_recipient_maps =
default_transport = discard
%[2]s`, dir, printed)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "data"), 0o700))
	hosttest.Output(t, exec.Command("chown", "postfix", filepath.Join(dir, "data")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.cf"), []byte(main), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "master.cf"), fmt.Appendf(nil, postfixMaster, port), 0o644))
	out, err := exec.Command("postfix", "-c", dir, "start").CombinedOutput()
	t.Cleanup(func() {
		_ = exec.Command("postfix", "-c", dir, "stop").Run()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("%s\n%s", out, log)
		}
	})
	require.NoError(t, err, "%s", out)
	ports.Wait(t, ports.Address(port))
	return port
}

// Mail that a mailbox sends is held, counted, deleted and released, with a Postfix that is configured as
// printed and the agent for its queue.
func TestHeldMail(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("Postfix's master process needs root")
	}
	w := hosttest.Sandbox(t)
	require.Contains(t, uapiAnswerOf(t, w, "get_held_message_count", "email=user@example.com"), `"data":0`, "without a queue, nothing is held")
	refused := uapiAnswerOf(t, w, "delete_held_messages", "email=user@example.com")
	require.Contains(t, refused, "its operator has not set the socket of liveapi postfix agent (setting queue)")
	socket := filepath.Join(w.Dir, "run", "queue.sock")
	w.SetSecret(t, "# scheme", fmt.Sprintf("store = \"postgresql\"\ndatabase = %q\nqueue = %q\n# scheme", dbtest.PostgreSQL(t).Database(), socket))
	hosttest.Output(t, w.Command(t, "liveapi", "store", "init"))
	dir, err := os.MkdirTemp("/var/spool", "lwpostfix")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	conf, mail := t.TempDir(), t.TempDir()
	require.NoError(t, os.Chown(mail, vmailUID(t), vmailUID(t)))
	for _, path := range []string{dir, conf, mail, filepath.Dir(conf)} {
		require.NoError(t, os.Chmod(path, 0o755)) // Dovecot's processes need to enter it.
	}
	hosttest.Output(t, w.Command(t, "liveapi", "postfix", "--write="+conf))
	hosttest.Output(t, w.Command(t, "liveapi", "dovecot", "--write="+conf, "--mail="+mail, "--owner="+vmailUser, "--queue="+dir+"/queue"))
	// Dovecot's sockets come first, because an smtpd without them waits a minute.
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "queue", "private"), 0o755))
	hosttest.Output(t, exec.Command("chown", "postfix", filepath.Join(dir, "queue", "private")))
	require.NoError(t, os.Chmod(filepath.Join(dir, "queue", "private"), 0o700))
	m := startMailServer(t, filepath.Join(conf, "liveapi-dovecot.conf"), ports.Free(t))
	port := startPostfix(t, dir, conf)
	for _, name := range []string{"bob", "eve"} {
		uapiOK(t, w, "add_pop", "email="+name, "password=12345luggage")
	}
	const bob = "bob@example.com"
	require.Contains(t, uapiAnswerOf(t, w, "get_held_message_count", "email="+bob), "The mail queue can't be read or changed at the moment")

	agent := w.Command(t, "liveapi", "postfix", "agent", "--socket="+socket, "--for=root", "--postfix="+dir)
	log := &hosttest.Buffer{}
	agent.Stderr = log
	require.NoError(t, agent.Start())
	t.Cleanup(func() {
		_ = agent.Process.Kill()
		_ = agent.Wait()
	})
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "listening") }, hosttest.Patience, hosttest.Tick)

	mailTo := func(from, to string) error {
		return smtp.SendMail(fmt.Sprintf("127.0.0.1:%d", port), nil, from, []string{to}, []byte("Subject: test\r\n\r\ntext\r\n"))
	}
	send := func(from string) {
		t.Helper()
		require.NoError(t, mailTo(from, "x@elsewhere.example"))
	}
	// Mail from another host arrives in the mailbox through Postfix and Dovecot.
	require.NoError(t, mailTo("x@elsewhere.example", bob))
	require.ErrorContains(t, mailTo("x@elsewhere.example", "nobody@example.com"), "550")
	require.Eventually(t, func() bool { return m.messages(bob, "12345luggage") == "1" }, hosttest.Patience, hosttest.Tick)
	queued := func() string { return hosttest.Output(t, exec.Command("postqueue", "-c", dir, "-j")) }
	require.Contains(t, uapiOK(t, w, "get_held_message_count", "email="+bob), `"data":0`)
	require.Contains(t, uapiOK(t, w, "delete_held_messages", "email="+bob), `"data":0`)
	uapiOK(t, w, "hold_outgoing", "email="+bob)
	send(bob)
	send("Bob@Example.com")
	send("eve@example.com")
	require.Contains(t, uapiOK(t, w, "get_held_message_count", "email="+bob), `"data":2`)
	require.Contains(t, uapiOK(t, w, "get_held_message_count", "email=eve@example.com"), `"data":0`)
	require.Contains(t, uapiAnswerOf(t, w, "get_held_message_count", "email=nobody@example.com"), "does not exist")
	require.Contains(t, uapiAnswerOf(t, w, "get_held_message_count", "email=bob@elsewhere.example"), "do not have access")
	require.Eventually(t, func() bool { return strings.Count(queued(), "\n") == 2 }, hosttest.Patience, hosttest.Tick, "hers went")

	require.Contains(t, uapiOK(t, w, "delete_held_messages", "email="+bob), `"data":2`)
	require.Contains(t, uapiOK(t, w, "get_held_message_count", "email="+bob), `"data":0`)
	require.Empty(t, queued())
	send(bob)
	require.Contains(t, uapiOK(t, w, "get_held_message_count", "email="+bob), `"data":1`)
	require.Contains(t, uapiOK(t, w, "release_outgoing", "email="+bob), `"warnings":null`)
	require.Eventually(t, func() bool { return queued() == "" }, hosttest.Patience, hosttest.Tick, "what was held is sent")
	send(bob)
	require.Contains(t, uapiOK(t, w, "get_held_message_count", "email="+bob), `"data":0`)

	// Other users are disconnected, and invalid requests are rejected.
	_, err = hosttest.DialAs(socket, 20081)
	require.Error(t, err)
	for _, line := range []string{"x\n", `{"do":"delete","sender":"ALL"}` + "\n", `{"do":"rm","sender":"` + bob + `"}` + "\n", `{"do":"count","sender":"a@b -d ALL"}` + "\n", `{"do":"count","sender":"a@b","x":1}` + "\n"} {
		conn, err := net.Dial("unix", socket)
		require.NoError(t, err)
		_, err = conn.Write([]byte(line))
		require.NoError(t, err)
		answer := make([]byte, 200)
		n, err := conn.Read(answer)
		require.NoError(t, err)
		_ = conn.Close()
		if !strings.Contains(line, "rm") { // If no mail is held, there is nothing to do.
			require.Contains(t, string(answer[:n]), "no request", line)
		}
	}
}

// uapiAnswerOf returns the answer of a call, even of a failed call.
func uapiAnswerOf(t *testing.T, w *hosttest.World, words ...string) string {
	t.Helper()
	return hosttest.Output(t, w.Command(t, "uapi", append([]string{"--user=demo", "--output=json", "Email"}, words...)...))
}
