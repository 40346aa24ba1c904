package tests

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/cpaneldir"
	"github.com/liveapid/liveapid/host/hosttest"
)

// The packages of this machine's processor are built, checked and used.
func TestPackages(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("packages are installed by root")
	}
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("this is no Debian")
	}
	dir := t.TempDir()
	build := exec.Command(filepath.Join(hosttest.Root(t), "scripts", "packages.sh"), filepath.Join(hosttest.Root(t), "bin", "tools"), dir, "deb rpm", runtime.GOARCH)
	build.Env = append(os.Environ(), "COMPRESSION=gzip")
	files := strings.Fields(hosttest.Output(t, build))
	require.Len(t, files, 2)
	// With lintian and rpmlint, and an installation of the rpm into an empty root.
	hosttest.Output(t, exec.Command(filepath.Join(hosttest.Root(t), "scripts", "check-packages.sh"), files...))
	t.Run("deb", func(t *testing.T) { debianPackage(t, files[0]) })
	t.Run("systemd", func(t *testing.T) { underSystemd(t, files[0]) })
}

// debianPackage installs the package with dpkg as an administrator would; it serves, is upgraded and removed. If
// liveapid is installed already, the test is skipped.
func debianPackage(t *testing.T, deb string) {
	hosttest.Alone(t, "package")
	for _, path := range []string{"/usr/sbin/liveapid", "/etc/liveapid"} {
		if _, err := os.Lstat(path); err == nil {
			t.Skip(path, " is there: liveapid is installed on this machine")
		}
	}
	run := func(words ...string) string {
		t.Helper()
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LIVEAPID_CONFIG=")
		return hosttest.Output(t, cmd)
	}
	const user = "lwpackage"
	t.Cleanup(func() { // If the test failed. The package was not installed before.
		_ = exec.Command("dpkg", "--purge", "liveapid").Run()
		_ = exec.Command(hosttest.Bin(t, "liveapi"), "cpanel-paths", "remove").Run()
		for _, dir := range []string{"/etc/liveapid", "/var/log/liveapid", "/run/liveapid"} {
			_ = os.RemoveAll(dir)
		}
	})
	run("dpkg", "-i", deb)
	require.Contains(t, run("getent", "passwd", "liveapid"), "nologin")
	info, err := os.Stat("/usr/lib/liveapid/liveapi-email")
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o711), info.Mode().Perm())
	for _, page := range []string{"man1/liveapi.1.gz", "man1/liveapi-account-create.1.gz", "man8/liveapid.8.gz", "man8/liveapid-serve.8.gz", "man1/cpapi2.1.gz", "man1/uapi.1.gz", "man5/liveapid.toml.5.gz"} {
		require.FileExists(t, filepath.Join("/usr/share/man", page))
	}
	for _, name := range []string{"liveapi", "liveapid", "cpapi2", "uapi"} {
		run("bash", "-n", filepath.Join("/usr/share/bash-completion/completions", name))
		run("fish", "-n", filepath.Join("/usr/share/fish/vendor_completions.d", name+".fish"))
	}
	for _, name := range []string{"_liveapi", "_liveapid", "_uapi"} {
		run("zsh", "-n", filepath.Join("/usr/share/zsh/vendor-completions", name))
	}
	// As the unit starts it, except for the sockets.
	_ = exec.Command("userdel", "-r", user).Run()
	run("useradd", "-m", user)
	t.Cleanup(func() { _ = exec.Command("userdel", "-r", user).Run() })
	w := &hosttest.World{Dir: t.TempDir(), Config: "/etc/liveapid/liveapid.toml", Socket: "/run/liveapid/liveapi.sock"}
	require.NoError(t, os.MkdirAll("/var/log/liveapid", 0o700))
	cmd := exec.Command("/usr/bin/setpriv", "--bounding-set=-all,+setuid,+setgid,+chown,+kill", "--inh-caps=-all", "--no-new-privs", "/usr/sbin/liveapid", "serve")
	h := w.ServeCommand(t, cmd)
	require.Contains(t, run("liveapi", "account", "create", user, "--domain", "example.com", "--domain", "package.example"), "registered")
	require.Eventually(t, func() bool { return strings.Contains(run("liveapi", "status"), "accounts  1") }, hosttest.Patience, hosttest.Tick)
	require.Contains(t, run("uapi", "--user="+user, "--output=json", "Email", "add_pop", "email=one@package.example", "password=A g00d 0ne, really"), `"status":1`)
	// The account's own user can't read the configuration, but finds the host.
	own := hosttest.AsUser(t, exec.Command("/usr/bin/uapi", "--output=json", "Email", "verify_password", "email=one@package.example", "password=A g00d 0ne, really"), user)
	require.Contains(t, hosttest.Output(t, own), `"data":1`)
	require.Contains(t, run("liveapi", "doctor"), "well   plugin liveapi-email serves Email PasswdStrength NVData Personalization Quota")

	// The documentation's programs run as they are, for the account's user and for root.
	require.Contains(t, run("liveapi", "doctor"), "well   /usr/local/cpanel has liveapid's links")
	require.Contains(t, run("uapi", "--user="+user, "--output=json", "Email", "add_pop", "email=user@example.com", "password=A g00d 0ne, really", "quota=unlimited"), `"status":1`)
	require.Contains(t, run("uapi", "--user="+user, "--output=json", "Email", "delete_pop", "email=one@package.example"), `"status":1`)
	// The documentation's example passwords are weaker than the default policy requires.
	accountFile, err := os.OpenFile("/etc/liveapid/accounts/"+user+".toml", os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = accountFile.WriteString("[data]\nREQUIRED_STRENGTH = \"0\"\n")
	require.NoError(t, errors.Join(err, accountFile.Close(), h.Process.Signal(syscall.SIGHUP)))
	require.Eventually(t, func() bool {
		return strings.Contains(run("uapi", "--user="+user, "--output=json", "PasswdStrength", "get_required_strength", "app=pop"), `"strength":0`)
	}, hosttest.Patience, hosttest.Tick)
	for name, words := range documentedPrograms(t, "/home/"+user) {
		requireDocumented(t, name, hosttest.Output(t, hosttest.AsUser(t, exec.Command(words[0], words[1:]...), user)))
		requireDocumented(t, name, run(append([]string{"liveapi", "run", "--user", user, "--"}, words...)...))
		requireDocumented(t, name, run("liveapi", "page", "--user", user, "/home/"+user+"/"+name))
	}
	require.Contains(t, run("/usr/local/cpanel/bin/uapi", "--user="+user, "--output=json", "Email", "count_pops"), `"data":1`)
	h.Stop(t)

	// The operator's changes to the configuration survive an upgrade and a removal.
	config, err := os.ReadFile("/etc/liveapid/liveapid.toml")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile("/etc/liveapid/liveapid.toml", append(config, "# mine\n"...), 0o600))
	run("dpkg", "--force-confdef", "--force-confold", "-i", deb)
	require.FileExists(t, "/etc/liveapid/accounts/"+user+".toml")
	again, err := os.ReadFile("/etc/liveapid/liveapid.toml")
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(string(again), "# mine\n"))
	run("dpkg", "--remove", "liveapid")
	require.NoFileExists(t, "/usr/sbin/liveapid")
	require.NoDirExists(t, cpaneldir.Root)
	require.FileExists(t, "/etc/liveapid/liveapid.toml")
	require.NoError(t, os.Remove("/etc/liveapid/accounts/"+user+".toml"))
	run("dpkg", "--purge", "liveapid")
	require.NoDirExists(t, "/etc/liveapid")
	require.NoError(t, os.RemoveAll("/var/log/liveapid"))
	require.NoError(t, os.RemoveAll("/run/liveapid"))
}
