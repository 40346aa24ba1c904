package web

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// The system's own password, with real PAM: an account in server mode signs in with it, but not when its user
// is locked. A session ends when the password changes.
func TestPAM(t *testing.T) {
	t.Parallel()
	hosttest.Alone(t, "package") // A package installs /etc/pam.d/liveapid too.
	w := hosttest.Server(t, 20611)
	name := fmt.Sprintf("lwpam%d", os.Getpid())
	const config = "/etc/pam.d/liveapid"
	text, err := os.ReadFile(filepath.Join(hosttest.Root(t), "packaging", "pam.deb"))
	require.NoError(t, err)
	if _, err := os.Stat(config); err != nil {
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.NoError(t, os.WriteFile(config, text, 0o644))
		t.Cleanup(func() { require.NoError(t, os.Remove(config)) })
	}
	hosttest.Output(t, exec.Command("useradd", "--no-create-home", "--uid", "20612", name))
	t.Cleanup(func() { hosttest.Output(t, exec.Command("userdel", name)) })
	set := func(password string) {
		cmd := exec.Command("chpasswd")
		cmd.Stdin = strings.NewReader(name + ":" + password + "\n")
		hosttest.Output(t, cmd)
	}
	set("The system's 1 & only")
	home := filepath.Join(filepath.Dir(w.Dir), "home", name)
	require.NoError(t, os.MkdirAll(filepath.Join(home, "etc", "pam.example"), 0o755))
	require.NoError(t, os.Chown(home, 20612, 20612))
	hosttest.Output(t, w.Command(t, "liveapi", "account", "create", name, "--domain", "pam.example", "--home", home))
	web := w.OpenHTTPS(t)
	w.Set(t, "[web]\n", "[web]\npasswords  = \"pam\"\n")
	host := w.Serve(t)
	web.Wait(t)
	ask := func(user, password string) int {
		return first(web.Ask(t, "GET", web.CPanel+"/execute/Email/list_mail_domains", "", "Authorization: "+basicAuth(user+":"+password)))
	}
	require.Equal(t, 200, ask(name, "The system's 1 & only"), "%s", host.Log)
	require.Equal(t, 401, ask(name, "the system's 1 & only"))
	require.Equal(t, 401, ask("u20611", "The system's 1 & only"), "an account without a system user has no password")
	// A client that disconnects while PAM delays its wrong password has still failed.
	for i := range 3 {
		conn, err := tls.Dial("tcp", web.WHM, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) //nolint:gosec // It signs itself.
		require.NoError(t, err)
		_, err = fmt.Fprintf(conn, "GET /json-api/version HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\n\r\n", basicAuth(fmt.Sprint("root:guess", i)))
		require.NoError(t, err)
		require.Eventually(t, func() bool { return asksPAM(t, host.Process.Pid) }, hosttest.Patience, time.Millisecond)
		require.NoError(t, conn.Close())
		require.Eventually(t, func() bool {
			return strings.Count(host.Log.String(), `msg="sign-in rejected" service=whm user=root`) == i+1
		}, hosttest.Patience, hosttest.Tick)
	}
	cookie, session := web.SignIn(t, web.CPanel, name, "The system's 1 & only")
	me := func() int { return first(web.Ask(t, "GET", web.CPanel+"/"+session+"/me.json", "", "Cookie: "+cookie)) }
	require.Equal(t, 200, me())
	set("Another one: 2")
	require.Equal(t, 401, me())
	require.Equal(t, 200, ask(name, "Another one: 2"))
	hosttest.Output(t, exec.Command("usermod", "--lock", name))
	require.Equal(t, 401, ask(name, "Another one: 2"))
	hosttest.Output(t, exec.Command("usermod", "--unlock", name))
	require.Equal(t, 200, ask(name, "Another one: 2"))
	hosttest.Output(t, exec.Command("chage", "--expiredate", "1", name))
	require.Equal(t, 401, ask(name, "Another one: 2"), "an account that has ended")
	out, err := w.Command(t, "liveapi", "password", "--user", name).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "passwd")
	require.NotContains(t, host.Log.String(), "The system's 1")
}

// asksPAM reports whether a host is running the program that asks PAM.
func asksPAM(t *testing.T, host int) bool {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, file := range files {
		stat, _ := os.ReadFile(file)
		if strings.Contains(string(stat), fmt.Sprintf(" (liveapi-pam) S %d ", host)) {
			return true
		}
	}
	return false
}
