package account_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/account"
	"github.com/liveapid/liveapid/protocol"
)

func entry(uid int, more ...string) string {
	return fmt.Sprintf("uid = %d\ngid = %d\nhome = \"/home/x\"\ndomains = [\"u%d.example\"]\n%s", uid, uid, uid, strings.Join(more, "\n"))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".tmp", []byte(text), 0o644))
	require.NoError(t, os.Rename(path+".tmp", path))
}

// A broken file is named, and leaves the others working.
func TestDirectory(t *testing.T) {
	path := dir(t, map[string]string{
		"alice.toml": entry(1001), "bob.toml": entry(1002), "twin.toml": entry(1002), "gone.toml": entry(1003, "suspended = true"),
		"broken.toml": "uid = ", "nobody-here.toml": "domains = [\"x.example\"]", "README": "not an account",
	})
	d := account.NewDirectory(account.Sources{Files: path})
	_, err := d.ByUID(1001)
	require.ErrorIs(t, err, account.ErrUnknown, "nothing was read yet")
	ended, broken := d.Reload()
	require.Empty(t, ended)
	require.Len(t, broken, 3, "and a domain that is another's")
	require.ErrorContains(t, errors.Join(broken...), "broken.toml")
	require.ErrorContains(t, errors.Join(broken...), "nobody-here.toml")
	require.Equal(t, []string{"alice", "bob", "gone", "twin"}, d.Names())
	alice, err := d.ByUID(1001)
	require.NoError(t, err)
	require.Equal(t, "alice", alice.Name)
	_, err = d.ByUID(1002)
	require.ErrorContains(t, err, "accounts bob and twin share uid 1002")
	require.NotErrorIs(t, err, account.ErrUnknown)
	_, err = d.ByUID(1003)
	require.ErrorIs(t, err, account.ErrSuspended)
	_, err = d.ByUID(4711)
	require.ErrorIs(t, err, account.ErrUnknown)

	// T7: what ends an account, and what does not.
	write(t, filepath.Join(path, "alice.toml"), entry(1001, "[data]", "PLAN = \"big\""))
	require.NoError(t, os.Remove(filepath.Join(path, "twin.toml")))
	ended, _ = d.Reload()
	require.Equal(t, []string{"twin"}, ended)
	alice, err = d.ByName("alice")
	require.NoError(t, err)
	require.Equal(t, "big", alice.Data["PLAN"])
	write(t, filepath.Join(path, "alice.toml"), entry(1005))
	write(t, filepath.Join(path, "bob.toml"), entry(1002, "suspended = true"))
	ended, _ = d.Reload()
	require.Equal(t, []string{"alice", "bob"}, ended)
	ended, _ = d.Reload()
	require.Empty(t, ended, "it is said once")
	_, err = d.ByName("bob")
	require.ErrorIs(t, err, account.ErrSuspended)
}

func TestDirectoryOfCPanel(t *testing.T) {
	root := t.TempDir()
	users := filepath.Join(root, "users")
	require.NoError(t, os.Mkdir(users, 0o755))
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(users, "link")))
	for name, text := range map[string]string{
		"daemon": "USER=daemon\nDNS=Main.example\nDNS1=sub.example\nDNS2=stolen.example\nPLAN=gold\nSECRET=x\n",
		"bin":    "DNS=bin.example\nSUSPENDED=1\n", "system": "DNS=no.example\n", "no-such-user": "DNS=x.example\n", "mail": "PLAN=x\n",
		"big": strings.Repeat("x", 2<<20),
	} {
		write(t, filepath.Join(users, name), text)
	}
	owners := filepath.Join(root, "userdomains")
	write(t, owners, "main.example: daemon\nADDON.example: daemon\nstolen.example: bin\n*: nobody\n# comment\n\nbroken\n")
	d := account.NewDirectory(account.Sources{CPanelUsers: users, UserDomains: owners})
	_, broken := d.Reload()
	require.Len(t, broken, 3, "%v", broken)
	require.Equal(t, []string{"bin", "daemon"}, d.Names())
	a, err := d.ByName("daemon")
	require.NoError(t, err)
	require.Equal(t, []string{"main.example", "sub.example", "addon.example"}, a.Domains, "the domain that is another's is not its own")
	require.Equal(t, map[string]string{"PLAN": "gold"}, a.Data)
	require.Equal(t, 1, a.UID)
	_, err = d.ByName("bin")
	require.ErrorIs(t, err, account.ErrSuspended)

	write(t, owners, "x.example: daemon\nx.example: bin\n")
	ended, broken := d.Reload()
	require.ErrorContains(t, errors.Join(broken...), "two owners")
	require.Empty(t, ended, "one domain is no reason to end an account")
	a, err = d.ByName("daemon")
	require.NoError(t, err)
	require.NotContains(t, a.Domains, "x.example")
	require.Contains(t, a.Domains, "stolen.example", "nobody else claims it now")

	// A source that can't be read is what it was.
	require.NoError(t, os.Remove(owners))
	ended, broken = d.Reload()
	require.Empty(t, ended)
	require.NotEmpty(t, broken)
	require.Equal(t, []string{"bin", "daemon"}, d.Names())

	// An account whose file is broken is none, in no other source either.
	write(t, owners, "")
	path := dir(t, map[string]string{"daemon.toml": entry(1, "suspended = true"), "other.toml": "uid = 7\ngid = 7\nhome = \"/x\"\ndomains = [\"bin.example\", \"own.example\"]\n"})
	d = account.NewDirectory(account.Sources{Files: path, CPanelUsers: users, UserDomains: owners})
	_, _ = d.Reload()
	_, err = d.ByName("daemon")
	require.ErrorIs(t, err, account.ErrSuspended)
	write(t, filepath.Join(path, "daemon.toml"), "suspended =")
	_, broken = d.Reload()
	_, err = d.ByName("daemon")
	require.ErrorIs(t, err, account.ErrUnknown)
	// And a domain is one account's.
	require.ErrorContains(t, errors.Join(broken...), `account bin: its domain "bin.example" is the account other's`)
}

func TestDirectoryOfTheSystem(t *testing.T) {
	d := account.NewDirectory(account.Sources{Files: dir(t, map[string]string{"alice.toml": entry(65534)}), SystemFrom: 60000})
	_, broken := d.Reload()
	require.Empty(t, broken)
	a, err := d.ByUID(65534)
	require.NoError(t, err)
	require.Equal(t, "alice", a.Name, "a file counts before the system")
	d = account.NewDirectory(account.Sources{SystemFrom: 60000})
	_, _ = d.Reload()
	a, err = d.ByUID(65534)
	require.NoError(t, err)
	require.Equal(t, "nobody", a.Name)
	require.Empty(t, a.Domains)
}

func TestWatch(t *testing.T) {
	root := t.TempDir()
	path := dir(t, map[string]string{"alice.toml": entry(1001)})
	users := filepath.Join(root, "users")
	require.NoError(t, os.Mkdir(users, 0o755))
	owners := filepath.Join(root, "userdomains")
	write(t, owners, "")
	d := account.NewDirectory(account.Sources{Files: path + "/", CPanelUsers: users, UserDomains: owners})
	_, _ = d.Reload()
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan struct{}, 100)
	done := make(chan error, 1)
	go func() { done <- d.Watch(ctx, func() { _, _ = d.Reload(); seen <- struct{}{} }) }()
	change := func(do func()) {
		t.Helper()
		for {
			do() // Until the watch is on.
			select {
			case <-seen:
				return
			case <-time.After(time.Second):
			case <-t.Context().Done():
				t.Fatal("not seen")
			}
		}
	}
	change(func() { write(t, filepath.Join(path, "bob.toml"), entry(1002)) })
	require.Eventually(t, func() bool { return len(d.Names()) == 2 }, 10*time.Second, 10*time.Millisecond)
	change(func() { _ = os.Remove(filepath.Join(path, "bob.toml")); write(t, filepath.Join(path, "x"), "") })
	require.Eventually(t, func() bool { return len(d.Names()) == 1 }, 10*time.Second, 10*time.Millisecond)
	change(func() { write(t, filepath.Join(users, "daemon"), "DNS=d.example\n") })
	change(func() { write(t, owners, "e.example: daemon\n") })
	require.Eventually(t, func() bool {
		a, err := d.ByName("daemon")
		return err == nil && len(a.Domains) == 2
	}, 10*time.Second, 10*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	require.Error(t, account.NewDirectory(account.Sources{Files: filepath.Join(root, "none")}).Watch(t.Context(), func() {}))
}

// What a host asks for each connection and each call does not grow with the accounts.
func BenchmarkByUID(b *testing.B) {
	path := filepath.Join(b.TempDir(), "accounts")
	require.NoError(b, os.Mkdir(path, 0o755))
	for i := range 5000 {
		require.NoError(b, os.WriteFile(filepath.Join(path, fmt.Sprintf("u%d.toml", i)), []byte(entry(10000+i)), 0o644))
	}
	d := account.NewDirectory(account.Sources{Files: path})
	start := time.Now()
	_, broken := d.Reload()
	require.Empty(b, broken)
	b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/reload-of-5000")
	var a protocol.Account
	for b.Loop() {
		a, _ = d.ByUID(12345)
	}
	require.NotEmpty(b, a.Name)
}
