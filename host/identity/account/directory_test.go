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

	"github.com/liveapid/liveapid/host/identity/account"
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

// An invalid file is reported, and the other accounts work.
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

	// T7: changes that end an account, and changes that do not.
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

// T7: an account whose file is unreadable for a while ends for that time, and ends for good if it is gone or
// replaced afterwards.
func TestT07_AnAccountThatCantBeReadForAWhile(t *testing.T) {
	path := dir(t, map[string]string{"same.toml": entry(1001), "gone.toml": entry(1002), "other.toml": entry(1003)})
	d := account.NewDirectory(account.Sources{Files: path})
	_, _ = d.Reload()
	for _, name := range []string{"same", "gone", "other"} {
		write(t, filepath.Join(path, name+".toml"), "uid = ")
	}
	ended, _ := d.Reload()
	require.Equal(t, []string{"gone", "other", "same"}, ended)
	ended, _ = d.Reload()
	require.Empty(t, ended)
	require.True(t, d.Unreadable("same"))
	write(t, filepath.Join(path, "same.toml"), entry(1001))
	write(t, filepath.Join(path, "other.toml"), entry(1004))
	require.NoError(t, os.Remove(filepath.Join(path, "gone.toml")))
	ended, _ = d.Reload()
	require.Equal(t, []string{"gone", "other"}, ended)
	ended, _ = d.Reload()
	require.Empty(t, ended)
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
	require.ErrorContains(t, errors.Join(broken...), "assigns the domain \"x.example\" to two users")
	require.Empty(t, ended, "one domain is no reason to end an account")
	a, err = d.ByName("daemon")
	require.NoError(t, err)
	require.NotContains(t, a.Domains, "x.example")
	require.Contains(t, a.Domains, "stolen.example", "nobody else claims it now")

	// If a source is unreadable, its last state remains.
	require.NoError(t, os.Remove(owners))
	ended, broken = d.Reload()
	require.Empty(t, ended)
	require.NotEmpty(t, broken)
	require.Equal(t, []string{"bin", "daemon"}, d.Names())

	// An account with an invalid file does not exist in another source either.
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
	// A domain belongs to a single account, or to none.
	require.ErrorContains(t, errors.Join(broken...), `the domain "bin.example" is claimed by the accounts other, bin, and none of these accounts had the domain before`)
}

// T49: the owner of a domain does not depend on file names: the domain stays with the account that had it,
// across restarts and while the file is unreadable. If no account had it, none gets it.
func TestT49_ADomainStaysWhereItWas(t *testing.T) {
	claim := func(uid int, domains string) string {
		return fmt.Sprintf("uid = %d\ngid = %d\nhome = \"/home/x\"\ndomains = [%s]\n", uid, uid, domains)
	}
	path := dir(t, map[string]string{"zoe.toml": claim(1001, `"zoe.example", "shop.example"`)})
	sources := account.Sources{Files: path, Owners: filepath.Join(t.TempDir(), "domains.json")}
	look := func(d *account.Directory) (owner string, said string) {
		_, broken := d.Reload()
		require.NoError(t, d.SaveOwners())
		a, err := d.ByDomain("shop.example")
		if err != nil {
			return "", errors.Join(append(broken, err)...).Error()
		}
		return a.Name, fmt.Sprint(broken)
	}
	d := account.NewDirectory(sources)
	owner, _ := look(d)
	require.Equal(t, "zoe", owner)
	write(t, filepath.Join(path, "aaron.toml"), claim(1002, `"aaron.example", "SHOP.example"`))
	for range 2 { // In the running host, and in the next.
		owner, said := look(d)
		require.Equal(t, "zoe", owner)
		require.Contains(t, said, "claimed by the accounts aaron, zoe")
		a, err := d.ByName("aaron")
		require.NoError(t, err)
		require.Equal(t, []string{"aaron.example"}, a.Domains)
		write(t, filepath.Join(path, "zoe.toml"), "domains =") // Its file is invalid.
		owner, said = look(d)
		require.Empty(t, owner)
		require.Contains(t, said, "zoe")
		a, err = d.ByName("aaron")
		require.NoError(t, err)
		require.Equal(t, []string{"aaron.example"}, a.Domains, "a broken file gives its domains to nobody")
		d = account.NewDirectory(sources)
		owner, _ = look(d)
		require.Empty(t, owner, "nor does a restart meanwhile")
		write(t, filepath.Join(path, "zoe.toml"), claim(1001, `"zoe.example", "shop.example"`))
		d = account.NewDirectory(sources)
	}
	// Without the record of owners, no account gets the domain, and its mail waits.
	sources.Owners = ""
	owner, said := look(account.NewDirectory(sources))
	require.Empty(t, owner)
	require.Contains(t, said, "so none gets it")
	_, err := account.NewDirectory(sources).ByDomain("shop.example")
	require.ErrorIs(t, err, account.ErrUnknown)
	fresh := account.NewDirectory(sources)
	_, _ = fresh.Reload()
	_, err = fresh.ByDomain("shop.example")
	require.NotErrorIs(t, err, account.ErrUnknown)
	// When the domain is removed from a file, the other account gets it.
	write(t, filepath.Join(path, "zoe.toml"), claim(1001, `"zoe.example"`))
	owner, _ = look(d)
	require.Equal(t, "aaron", owner)
}

// T49: domains of an unreadable source are given to no other account, and nothing is registered until it is
// readable.
func TestT49_ASourceThatCantBeRead(t *testing.T) {
	root := t.TempDir()
	users, memory := filepath.Join(root, "users"), filepath.Join(root, "domains.json")
	require.NoError(t, os.Mkdir(users, 0o755))
	write(t, filepath.Join(users, "daemon"), "DNS=shop.example\n")
	files := dir(t, map[string]string{"other.toml": entry(1002)})
	sources := account.Sources{Files: files, CPanelUsers: users, Owners: memory}
	d := account.NewDirectory(sources)
	_, broken := d.Reload()
	require.Empty(t, broken)
	require.NoError(t, d.SaveOwners())
	saved, err := os.ReadFile(memory)
	require.NoError(t, err)
	require.NoError(t, os.Rename(users, users+".away"))
	write(t, filepath.Join(files, "thief.toml"), "uid = 1003\ngid = 1003\nhome = \"/x\"\ndomains = [\"shop.example\", \"own.example\"]\n")
	for range 2 {
		d = account.NewDirectory(sources)
		_, broken = d.Reload()
		require.NotEmpty(t, broken)
		require.NoError(t, d.SaveOwners())
		a, err := d.ByName("thief")
		require.NoError(t, err)
		require.Equal(t, []string{"own.example"}, a.Domains)
		_, err = d.ByDomain("shop.example")
		require.NotErrorIs(t, err, account.ErrUnknown, "its mail waits")
	}
	now, err := os.ReadFile(memory)
	require.NoError(t, err)
	require.Equal(t, string(saved), string(now))
	uid := 1004
	_, err = account.Registry{Dir: files, Sources: sources}.Register("new", account.File{UID: &uid, GID: &uid, Home: "/x", Domains: []string{"new.example"}}, "x")
	require.ErrorContains(t, err, "not all sources of accounts can be read")
	require.NoError(t, os.Rename(users+".away", users))
	d = account.NewDirectory(sources)
	_, _ = d.Reload()
	a, err := d.ByDomain("shop.example")
	require.NoError(t, err)
	require.Equal(t, "daemon", a.Name)
}

// T49: a domain is written into configurations and names a directory, so only valid domains are accepted.
func TestT49_Domains(t *testing.T) {
	for _, good := range []string{"a.example", "A-1.Example.COM", "xn--bcher-kva.example", strings.Repeat("a", 63) + ".b"} {
		domain, err := account.ParseDomain(good)
		require.NoError(t, err, good)
		require.Equal(t, strings.ToLower(good), domain)
	}
	for _, bad := range []string{
		"", "localhost", "/home/x/list", "!c.example", "pcre:/etc/x", "*", "*.example.com", "../x.example", "a..b", ".a.example", "a.example.", "-a.example", "a-.example",
		"a.example b.example", "a.example\nrelay_domains=*", "a_b.example", "b\u00fccher.example", "10.0.0.1", "a.1", "a@b.example", "hash:x.example", "static:all.example", "$myhostname.example",
		"\u212aelvin.example", "\u0130.example", "a,b.example", "a.exa\x00mple", strings.Repeat("a", 64) + ".b", strings.Repeat("a.", 127) + "ab",
	} {
		_, err := account.ParseDomain(bad)
		require.Error(t, err, bad)
		d := account.NewDirectory(account.Sources{Files: dir(t, map[string]string{"m.toml": fmt.Sprintf("uid = 1\ngid = 1\nhome = \"/x\"\ndomains = [\"m.example\", %q]\n", bad)})})
		_, broken := d.Reload()
		require.NotEmpty(t, broken, bad)
		if a, err := d.ByName("m"); err == nil { // A control character makes the file invalid.
			require.Equal(t, []string{"m.example"}, a.Domains)
		}
	}
}

func TestT49_Register(t *testing.T) {
	id := func(n int) *int { return &n }
	path := dir(t, map[string]string{"zoe.toml": entry(1001)})
	r := account.Registry{Dir: path, Sources: account.Sources{Files: path}, Credential: func(a protocol.Account) error {
		if a.UID < 500 {
			return errors.New("uid too low")
		}
		return nil
	}}
	good := func() account.File {
		return account.File{UID: id(1002), GID: id(1002), Home: "/home/y", Domains: []string{"New.example"}}
	}
	for says, change := range map[string]func(*account.File){
		"the domain u1001.example belongs to the account zoe": func(f *account.File) { f.Domains = []string{"new.example", "U1001.example"} },
		"not a domain":                        func(f *account.File) { f.Domains = []string{"/home/x/list"} },
		"the account has no domain":           func(f *account.File) { f.Domains = nil },
		"uid too low":                         func(f *account.File) { f.UID = id(0) },
		"uid or gid is not set":               func(f *account.File) { f.UID = nil },
		"uid 1001 belongs to the account zoe": func(f *account.File) { f.UID = id(1001) },
	} {
		f := good()
		change(&f)
		_, err := r.Register("new", f, "x")
		require.ErrorContains(t, err, says)
	}
	for _, name := range []string{"", "../x", "a/b", "-x", "a b"} {
		_, err := r.Register(name, good(), "x")
		require.ErrorContains(t, err, "not a valid account name", name)
	}
	write(t, filepath.Join(path, "broken.toml"), "domains = [")
	_, err := r.Register("new", good(), "x")
	require.ErrorContains(t, err, "broken", "its domains are not known: new.example may be one")
	require.NoError(t, os.Remove(filepath.Join(path, "broken.toml")))
	r.Served = func(domains []string) (map[string]string, error) { return map[string]string{"new.example": "old"}, nil }
	_, err = r.Register("new", good(), "x")
	require.ErrorContains(t, err, "in the running host, the domain new.example belongs to the account old")
	r.Served = func([]string) (map[string]string, error) { return nil, nil }
	entries, err := os.ReadDir(path)
	require.NoError(t, err)
	require.Len(t, entries, 1, "the account that was there")
	// Of concurrent registrations, only one gets the domain.
	results := make(chan error, 8)
	for i := range 8 {
		go func() {
			f := good()
			f.UID = id(2000 + i)
			_, err := r.Register(fmt.Sprintf("new%d", i), f, "Account new.")
			results <- err
		}()
	}
	registered := 0
	for range 8 {
		if err := <-results; err == nil {
			registered++
		} else {
			require.ErrorContains(t, err, "the domain new.example belongs to the account new")
		}
	}
	require.Equal(t, 1, registered)
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
			do() // Repeats until the watch is active.
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

// The look-ups for each connection and each call do not get slower with more accounts.
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
