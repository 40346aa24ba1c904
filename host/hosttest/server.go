package hosttest

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/protocol"
)

// Helper is the system user for the plugins' helpers in tests.
const Helper = "daemon"

// Server writes a sandbox in server mode, in a directory that only root can change, because the host requires
// that. It adds an account for each uid in uids. The account of uid 20001 is called u20001 and has the domain
// u20001.example with the mailbox user. The test must run as root; otherwise it is skipped.
func Server(t testing.TB, uids ...int) *World {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("server mode needs root")
	}
	// The directory is not below /tmp, because every user can write there and the host does not trust such
	// files.
	parent, err := os.MkdirTemp("/opt", "lw")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	require.NoError(t, os.Chmod(parent, 0o755))
	bin := filepath.Join(parent, "bin")
	require.NoError(t, os.Mkdir(bin, 0o755))
	CopyPrograms(t, bin, 0o711)
	dir := filepath.Join(parent, "s")
	w := newWorld(dir)
	w.bin = bin
	Output(t, w.Command(t, "liveapi", "sandbox", "--server", "--helper="+Helper, dir))
	w.Set(t, "required_strength = 25 ", "required_strength = 0 ")
	w.settle(t)
	for _, uid := range uids {
		w.AddAccount(t, uid)
	}
	return w
}

// CopyPrograms copies the built programs into dir and gives the copies the given mode.
func CopyPrograms(t testing.TB, dir string, mode os.FileMode) {
	t.Helper()
	for _, name := range []string{"liveapid", "liveapi", "liveapi-email", "liveapi-script", "liveapi-pam", "uapi", "cpapi2", "cpapi1", "whmapi1"} {
		text, err := os.ReadFile(Bin(t, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, mode))
		require.NoError(t, os.Chmod(filepath.Join(dir, name), mode))
	}
}

// Name returns the name of the account that Server and AddAccount create for uid.
func Name(uid int) string { return fmt.Sprintf("u%d", uid) }

// AddAccount adds an account with the given uid to a world in server mode. Only the account and root can open
// the account's home.
func (w *World) AddAccount(t testing.TB, uid int) {
	t.Helper()
	name := Name(uid)
	home := filepath.Join(filepath.Dir(w.Dir), "home", name)
	etc := filepath.Join(home, "etc", name+".example")
	require.NoError(t, os.MkdirAll(etc, 0o700))
	require.NoError(t, os.Chmod(filepath.Dir(home), 0o755))
	for file, text := range map[string]string{
		"passwd": fmt.Sprintf("user:x:%d:%d::%s/mail/%s.example/user:/bin/false\n", uid, uid, home, name), "shadow": "user:" + OldHash + ":20000::::::\n", "quota": "user:0\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(etc, file), []byte(text), 0o600))
	}
	require.NoError(t, filepath.Walk(home, func(path string, _ os.FileInfo, err error) error {
		require.NoError(t, err)
		return os.Lchown(path, uid, uid)
	}))
	require.NoError(t, os.Chmod(home, 0o700))
	text := fmt.Sprintf("uid = %d\ngid = %d\nhome = %q\ndomains = [\"%s.example\"]\n", uid, uid, home, name)
	temp := filepath.Join(w.Dir, "accounts", name+".tmp")
	require.NoError(t, os.WriteFile(temp, []byte(text), 0o644))
	require.NoError(t, os.Rename(temp, w.AccountFile(uid)))
}

// AccountFile returns the path of the file of the account with the given uid.
func (w *World) AccountFile(uid int) string {
	return filepath.Join(w.Dir, "accounts", Name(uid)+".toml")
}

// Home returns the home of the account with the given uid.
func (w *World) Home(uid int) string {
	return filepath.Join(filepath.Dir(w.Dir), "home", Name(uid))
}

// OldHash is the hash of the password Old.passw0rd-1.
const OldHash = "$6$saltsalt$Epo2xi3fNzX5pdhbo3oJ9W.TG1g3qDq97PvvMRUgZuJTOorXZWwG1VPMDPS5pTZF44i5p/Jbv64aFhvAH07E6/"

// As makes cmd run as the user uid, with the same number as group id and without supplementary groups. It
// returns cmd.
func As(cmd *exec.Cmd, uid int) *exec.Cmd {
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	return cmd
}

// AsUser is As for the system user called name.
func AsUser(t testing.TB, cmd *exec.Cmd, name string) *exec.Cmd {
	t.Helper()
	u, err := account.SystemUser(name)
	require.NoError(t, err)
	return As(cmd, u.UID)
}

// DialUID connects to the world's host as the user uid. The kernel reports the user of the connecting thread
// to the host.
func (w *World) DialUID(t testing.TB, uid int) *Conn {
	t.Helper()
	conn, err := dialUID(w.Socket, uid)
	require.NoError(t, err)
	return NewConn(t, conn)
}

// TryUID is DialUID for a connection that may fail: it returns the error.
func (w *World) TryUID(uid int) (net.Conn, error) { return dialUID(w.Socket, uid) }

// DialAs connects to the socket at path as the user uid.
func DialAs(path string, uid int) (net.Conn, error) { return dialUID(path, uid) }

func dialUID(path string, uid int) (net.Conn, error) {
	if len(path) > protocol.MaxSocketPath {
		return nil, fmt.Errorf("socket %s: too long", path)
	}
	return connectUID(uid, unix.AF_UNIX, nil, &unix.SockaddrUnix{Name: path})
}

// DialTCP connects to address, on this machine, as the user uid. If from is not "" and address is an IPv4
// address, the connection comes from the IPv4 address from.
func DialTCP(address, from string, uid int) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	if to.Addr().Is6() {
		return connectUID(uid, unix.AF_INET6, nil, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
	}
	var source unix.Sockaddr
	if from != "" {
		source = &unix.SockaddrInet4{Addr: netip.MustParseAddr(from).As4()}
	}
	return connectUID(uid, unix.AF_INET, source, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
}

// connectUID creates a socket and connects it to the address in the parameter to. Until the socket is
// connected, the effective user of the thread is uid, and the thread is locked to this goroutine. If the
// parameter from is not nil, the socket is first bound to the address in from.
func connectUID(uid, family int, from, to unix.Sockaddr) (net.Conn, error) {
	runtime.LockOSThread()
	const keep = ^uintptr(0)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keep, uintptr(uid), keep); errno != 0 {
		return nil, errno // The thread stays locked, so it ends with its goroutine.
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil && from != nil {
		err = unix.Bind(fd, from)
	}
	if err == nil {
		err = unix.Connect(fd, to)
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keep, 0, keep); errno != 0 {
		return nil, errno
	}
	runtime.UnlockOSThread()
	if fd < 0 {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "socket")
	defer func() { _ = file.Close() }()
	if err != nil {
		return nil, err
	}
	return net.FileConn(file)
}

// Alone prevents a test from running at the same time as other tests, also in other packages, that call Alone
// with the same value of what. what is the name of a part of the system that these tests change, for example
// "package". The lock is released at the end of the test.
func Alone(t testing.TB, what string) {
	t.Helper()
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "liveapid-test-"+what+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	require.NoError(t, err)
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	t.Cleanup(func() { _ = lock.Close() })
}

// SystemUser creates a system user that may have an account, and returns the user's name. The user is deleted
// at the end of the test.
func SystemUser(t testing.TB) string {
	t.Helper()
	const name = "liveapid-test"
	Alone(t, "package") // The test of the Debian package creates users, too.
	Output(t, exec.Command("useradd", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", name))
	t.Cleanup(func() { _ = exec.Command("userdel", name).Run() })
	return name
}
