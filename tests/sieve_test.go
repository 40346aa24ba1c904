package tests

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore/dbtest"
	"github.com/liveapid/liveapid/tests/ports"
)

// putScript stores and activates a Sieve script over ManageSieve, as a mail program does.
func putScript(t *testing.T, address, user, password, script string) {
	t.Helper()
	ports.Wait(t, address)
	c, err := textproto.Dial("tcp", address)
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	answer := func() {
		t.Helper()
		for {
			line, err := c.ReadLine()
			require.NoError(t, err)
			require.False(t, strings.HasPrefix(line, "NO") || strings.HasPrefix(line, "BYE"), line)
			if strings.HasPrefix(line, "OK") {
				return
			}
		}
	}
	answer() // The capabilities.
	for _, command := range []string{
		fmt.Sprintf("AUTHENTICATE \"PLAIN\" %q", base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password))),
		fmt.Sprintf("PUTSCRIPT \"rules\" {%d+}\r\n%s", len(script), script),
		"SETACTIVE \"rules\"",
	} {
		require.NoError(t, c.PrintfLine("%s", command))
		answer()
	}
}

// The printed configuration with --sieve, for each kind of store: a mailbox gets a script over ManageSieve, which
// files the next message, and reads messages that another server compressed.
func TestSieveAndCompressedMail(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("Dovecot's master process needs root")
	}
	for kind, start := range map[string]func(*testing.T) (w *hosttest.World, user, mail string, options []string){
		"files": func(t *testing.T) (*hosttest.World, string, string, []string) {
			w := hosttest.SandboxAs(t, vmailUID(t))
			w.Serve(t)
			return w, "user@example.com", filepath.Join(w.Dir, "home", "demo", "mail", "example.com", "user"), nil
		},
		"many accounts": func(t *testing.T) (*hosttest.World, string, string, []string) {
			const anna = 20091
			w := hosttest.Server(t, anna)
			w.Set(t, "control  =", "mail_door = \"run/mail.sock\"\ncontrol  =")
			w.Serve(t)
			return w, "user@u20091.example", filepath.Join(w.Home(anna), "mail", "u20091.example", "user"), nil
		},
		"postgresql": func(t *testing.T) (*hosttest.World, string, string, []string) {
			w := hosttest.Sandbox(t)
			w.SetSecret(t, "# scheme", fmt.Sprintf("store = \"postgresql\"\ndatabase = %q\n# scheme", dbtest.PostgreSQL(t).Database()))
			hosttest.Output(t, w.Command(t, "liveapi", "store", "init"))
			hosttest.Output(t, w.Command(t, "liveapi", "store", "migrate", "--from=files", "--to=sql"))
			mail := t.TempDir()
			require.NoError(t, os.Chown(mail, vmailUID(t), vmailUID(t)))
			require.NoError(t, os.Chmod(filepath.Dir(mail), 0o755))
			return w, "user@example.com", filepath.Join(mail, "example.com", "user"), []string{"--mail=" + mail, "--owner=" + vmailUser}
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w, user, mail, options := start(t)
			include := writtenDovecot(t, w, append(options, "--sieve")...)
			port := ports.Free(t)
			extra := filepath.Join(t.TempDir(), "sieve.conf")
			require.NoError(t, os.WriteFile(extra, fmt.Appendf(nil, "!include %s\nservice managesieve-login {\n  inet_listener sieve {\n    port = %d\n  }\n}\n", include, port), 0o644))
			m := startMailServer(t, extra, ports.Free(t))
			require.Contains(t, m.deliver(user, 10), "Saved")
			putScript(t, ports.Address(port), user, sandboxPassword, "require [\"fileinto\", \"mailbox\"];\nif header :contains \"subject\" \"test\" { fileinto :create \"Filed\"; }\n")
			require.Contains(t, m.deliver(user, 10), "Saved")
			require.Contains(t, m.imap(fmt.Sprintf("a LOGIN %q %q\r\nb SELECT Filed\r\nd LOGOUT\r\n", user, sandboxPassword)), "* 1 EXISTS")
			require.Equal(t, "1", m.messages(user, sandboxPassword), "the first message")

			var packed bytes.Buffer
			z := gzip.NewWriter(&packed)
			const text = "Subject: packed\r\n\r\nA text that another server compressed.\r\n"
			_, err := z.Write([]byte(text))
			require.NoError(t, err)
			require.NoError(t, z.Close())
			owner, err := os.Stat(filepath.Join(mail, "cur"))
			require.NoError(t, err)
			file := filepath.Join(mail, "new", fmt.Sprintf("1700000000.M1P1.old,S=%d", len(text)))
			require.NoError(t, os.WriteFile(file, packed.Bytes(), 0o600))
			ids := owner.Sys().(*syscall.Stat_t)
			require.NoError(t, os.Chown(file, int(ids.Uid), int(ids.Gid)))
			require.Eventually(t, func() bool {
				return strings.Contains(m.imap(fmt.Sprintf("a LOGIN %q %q\r\nb SELECT INBOX\r\nc FETCH 1:* BODY[TEXT]\r\nd LOGOUT\r\n", user, sandboxPassword)), "A text that another server compressed.")
			}, hosttest.Patience, hosttest.Tick)
		})
	}
}
