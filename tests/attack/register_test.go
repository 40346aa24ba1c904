package attack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// cpmove writes an archive of an account with the given domains in its users file and, as a directory
// with a mailbox, in etc.
func cpmove(t *testing.T, name, users string, etc ...string) string {
	t.Helper()
	var b bytes.Buffer
	packed := gzip.NewWriter(&b)
	out := tar.NewWriter(packed)
	add := func(name, text string) {
		require.NoError(t, out.WriteHeader(&tar.Header{Name: "cpmove-" + name, Mode: 0o600, Size: int64(len(text)), Typeflag: tar.TypeReg}))
		_, err := out.Write([]byte(text))
		require.NoError(t, err)
	}
	add(name+"/cp/"+name, users)
	for _, domain := range etc {
		add(name+"/homedir/etc/"+domain+"/shadow", "user:"+hosttest.OldHash+":20000::::::\n")
	}
	require.NoError(t, out.Close())
	require.NoError(t, packed.Close())
	path := filepath.Join(t.TempDir(), "cpmove-"+name+".tar.gz")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	return path
}

// T49: the domains and users in an archive are not trusted: an archive takes over no domain, adds nothing to
// Postfix's configuration but valid domains, and registers no user that may not have an account. Nothing is
// unpacked before these checks.
func TestT49_WhatAnArchiveSays(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, alice)
	alices := hosttest.Name(alice) + ".example"
	home := t.TempDir()
	// These users belong to the system: the uids of daemon and games are too low for an account.
	attack := func(name, users, says string, etc ...string) {
		t.Helper()
		out, err := w.Command(t, "liveapi", "account", "import", "--home", home, cpmove(t, name, users, etc...)).CombinedOutput()
		require.Error(t, err, "%s", out)
		require.Contains(t, string(out), says)
		entries, err := os.ReadDir(home)
		require.NoError(t, err)
		require.Empty(t, entries, "nothing was unpacked")
		require.NoFileExists(t, filepath.Join(w.Dir, "accounts", name+".toml"))
	}
	attack("root", "DNS=root.example\n", "must be at least 500")
	attack("daemon", "DNS=daemon.example\n", "must be at least 500")
	attack("nobody", "DNS=nobody.example\n", "not 65534")
	attack("no-such-user", "DNS=a.example\n", "create the user before the account")
	user := hosttest.SystemUser(t)
	attack(user, "DNS=own.example\nDNS1="+alices+"\n", "belongs to the account "+hosttest.Name(alice))
	attack(user, "DNS=own.example\n", "belongs to the account "+hosttest.Name(alice), alices)
	for _, domain := range []string{"/home/x/list", "!c.example", "pcre:/etc/postfix/x", "*", "../../etc", "a b.example", "static:all", "$mydomain", "com"} {
		attack(user, "DNS="+domain+"\n", "not a domain")
		attack(user, "DNS=own.example\nDNS1="+domain+"\n", "not a domain")
	}
	// While a file is invalid, its domains are not known. A running host still knows them.
	h := w.Serve(t)
	file, err := os.ReadFile(w.AccountFile(alice))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(w.AccountFile(alice), []byte("domains = ["), 0o644))
	attack(user, "DNS="+alices+"\n", "can't be read and their domains are not known: "+hosttest.Name(alice))
	// An account that is added by hand can't take the domain either.
	require.NoError(t, os.WriteFile(filepath.Join(w.Dir, "accounts", "aaa.toml"), fmt.Appendf(nil, "uid = %d\ngid = %d\nhome = %q\ndomains = [%q]\n", mallory, mallory, home, alices), 0o644))
	require.Eventually(t, func() bool {
		return bytes.Contains([]byte(h.Log.String()), []byte("stays with its previous owner "+hosttest.Name(alice)))
	}, hosttest.Patience, hosttest.Tick)
	h.Stop(t)
	require.NoError(t, os.WriteFile(w.AccountFile(alice), file, 0o644))
	h = w.Serve(t)
	c := w.DialUID(t, mallory)
	require.Contains(t, c.Call("uapi", "Email", "passwd_pop", `{"email":"user@`+alices+`","password":"stolen once"}`), `"status":0`)
	c = w.DialUID(t, alice)
	require.Contains(t, c.Call("uapi", "Email", "passwd_pop", `{"email":"user@`+alices+`","password":"my own one"}`), `"status":1`)
	require.Contains(t, h.Log.String(), "stays with its previous owner "+hosttest.Name(alice), "it is remembered over a restart")

	// Postfix's list contains only valid domains, whatever a file says.
	require.NoError(t, os.WriteFile(filepath.Join(w.Dir, "accounts", "aaa.toml"), fmt.Appendf(nil, "uid = %d\ngid = %d\nhome = %q\ndomains = [\"!%s\", \"/etc/x\"]\n", mallory, mallory, home, alices), 0o644))
	w.Set(t, "control  = ", "mail_door = \"run/mail.sock\"\nmail_user = \"games\"\ncontrol  = ")
	out := hosttest.Output(t, w.Command(t, "liveapi", "postfix"))
	require.Contains(t, out, "virtual_mailbox_domains = "+alices+"\n")
}
