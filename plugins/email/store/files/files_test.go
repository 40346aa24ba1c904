package files

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/plugins/email/store"
)

const domain = "example.com"

// world is a home with a store for one domain.
type world struct {
	home, dir, shadow string
}

func newWorld(t *testing.T, shadow string) world {
	t.Helper()
	home := t.TempDir()
	w := world{home: home, dir: filepath.Join(home, "etc", domain)}
	w.shadow = filepath.Join(w.dir, "shadow")
	require.NoError(t, os.MkdirAll(w.dir, 0o755))
	require.NoError(t, os.WriteFile(w.shadow, []byte(shadow), 0o640))
	return w
}

func (w world) read(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(w.shadow)
	require.NoError(t, err)
	return string(content)
}

func box(t *testing.T, localpart string) store.Address {
	t.Helper()
	a, err := store.NewAddress(localpart, domain)
	require.NoError(t, err)
	return a
}

const oneUser = "user:$6$old:19000::::::\n"

func TestSetHashAndHash(t *testing.T) {
	w := newWorld(t, oneUser+"off:!$6$off:1::::::\n")
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, "passwd"), []byte("user:x:1:1::/m:/s\nfresh:x:1:1::/m:/s\n"), 0o644))
	s := New(w.home)
	require.NoError(t, s.SetHash(t.Context(), box(t, "user"), "$6$new"))
	hash, suspended, err := s.Hash(t.Context(), box(t, "user"))
	require.NoError(t, err)
	require.Equal(t, "$6$new", hash)
	require.False(t, suspended)

	require.NoError(t, s.SetHash(t.Context(), box(t, "off"), "$6$on"))
	hash, suspended, err = s.Hash(t.Context(), box(t, "off"))
	require.NoError(t, err)
	require.Equal(t, "$6$on", hash)
	require.True(t, suspended)

	_, suspended, err = s.Hash(t.Context(), box(t, "fresh"))
	require.NoError(t, err)
	require.True(t, suspended, "a mailbox without a password lets nobody in")
	require.NoError(t, s.SetHash(t.Context(), box(t, "fresh"), "$6$first"))
	require.Contains(t, w.read(t), "\nfresh:$6$first:")

	require.ErrorIs(t, s.SetHash(t.Context(), box(t, "nobody"), "$6$new"), store.ErrNoMailbox)
	_, _, err = s.Hash(t.Context(), box(t, "nobody"))
	require.ErrorIs(t, err, store.ErrNoMailbox)

	other, err := store.NewAddress("user", "example.org")
	require.NoError(t, err)
	require.ErrorIs(t, s.SetHash(t.Context(), other, "$6$new"), store.ErrNoMailbox)
	_, _, err = s.Hash(t.Context(), other)
	require.ErrorIs(t, err, store.ErrNoMailbox)

	require.ErrorIs(t, s.SetHash(t.Context(), box(t, "user"), "a:b"), store.ErrUnsafe)
	require.Equal(t, []string{".liveapid.lock", "passwd", "shadow"}, names(t, w.dir))
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// T13: a file that is not a plain file of the owner is neither read nor written, and opening a FIFO does not
// block.
func TestT13_OnlyPlainFilesOfTheOwner(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "victim")
	require.NoError(t, os.WriteFile(outside, []byte(oneUser), 0o644))
	replace := func(make func(path string) error) func(*testing.T, world) {
		return func(t *testing.T, w world) {
			require.NoError(t, os.Remove(w.shadow))
			require.NoError(t, make(w.shadow))
		}
	}
	for _, c := range []struct {
		name  string
		spoil func(*testing.T, world)
	}{
		{"a link out", replace(func(p string) error { return os.Symlink(outside, p) })},
		{"a link within", func(t *testing.T, w world) {
			require.NoError(t, os.Rename(w.shadow, w.shadow+"2"))
			require.NoError(t, os.Symlink("shadow2", w.shadow))
		}},
		{"a dangling link", replace(func(p string) error { return os.Symlink("/nowhere/at/all", p) })},
		{"a link to the process's own descriptors", replace(func(p string) error { return os.Symlink("/proc/self/fd/0", p) })},
		{"a hard link", func(t *testing.T, w world) { require.NoError(t, os.Link(w.shadow, w.shadow+"2")) }},
		{"a FIFO", replace(func(p string) error { return unix.Mkfifo(p, 0o644) })},
		{"a directory", replace(func(p string) error { return os.Mkdir(p, 0o755) })},
		{"a socket", replace(func(p string) error {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			defer func() { _ = unix.Close(fd) }()
			return unix.Bind(fd, &unix.SockaddrUnix{Name: p})
		})},
		{"a sparse file of 5 GiB", replace(func(p string) error {
			if err := os.WriteFile(p, nil, 0o644); err != nil {
				return err
			}
			return os.Truncate(p, 5<<30)
		})},
		{"the domain's directory as a link", func(t *testing.T, w world) {
			require.NoError(t, os.Rename(w.dir, w.dir+"2"))
			require.NoError(t, os.Symlink(domain+"2", w.dir))
		}},
		{"etc as a link", func(t *testing.T, w world) {
			require.NoError(t, os.Rename(filepath.Join(w.home, "etc"), filepath.Join(w.home, "etc2")))
			require.NoError(t, os.Symlink("etc2", filepath.Join(w.home, "etc")))
		}},
		{"a lock file that is a symbolic link", func(t *testing.T, w world) {
			require.NoError(t, os.Symlink(outside, filepath.Join(w.dir, lockName)))
		}},
		{"a lock file that is a FIFO", func(t *testing.T, w world) { require.NoError(t, unix.Mkfifo(filepath.Join(w.dir, lockName), 0o644)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, oneUser)
			c.spoil(t, w)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			require.ErrorIs(t, New(w.home).SetHash(ctx, box(t, "user"), "$6$new"), store.ErrUnsafe)
			if !strings.Contains(c.name, "lock") {
				_, _, err := New(w.home).Hash(ctx, box(t, "user"))
				require.ErrorIs(t, err, store.ErrUnsafe)
			}
			victim, err := os.ReadFile(outside)
			require.NoError(t, err)
			require.Equal(t, oneUser, string(victim))
		})
	}
}

// needRoot skips tests that need other owners, which only root can set.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away and mount file systems")
	}
}

func TestT13_AnotherOwner(t *testing.T) {
	needRoot(t)
	for _, spoil := range []func(w world) string{
		func(w world) string { return w.shadow }, func(w world) string { return w.dir },
	} {
		w := newWorld(t, oneUser)
		require.NoError(t, os.Chown(spoil(w), 12345, 12345))
		require.ErrorIs(t, New(w.home).SetHash(t.Context(), box(t, "user"), "$6$new"), store.ErrUnsafe)
	}
	w := newWorld(t, "")
	require.NoError(t, os.Remove(w.shadow))
	require.NoError(t, unix.Mknod(w.shadow, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5)))) // /dev/zero
	require.ErrorIs(t, New(w.home).SetHash(t.Context(), box(t, "user"), "$6$new"), store.ErrUnsafe)
}

// T13: names that are replaced all the time never lead outside.
func TestT13_SwapRace(t *testing.T) {
	w := newWorld(t, oneUser)
	outside := filepath.Join(t.TempDir(), "victim")
	require.NoError(t, os.WriteFile(outside, []byte(oneUser), 0o644))
	link, plain := filepath.Join(w.home, "link"), filepath.Join(w.home, "plain")
	stop := make(chan struct{})
	var swaps sync.WaitGroup
	swaps.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Symlink(outside, link)
			_ = os.WriteFile(plain, []byte(oneUser), 0o640)
			_ = os.Rename([]string{link, plain}[i%2], w.shadow)
		}
	})
	s := New(w.home)
	good := 0
	for i := range 2_000 {
		if s.SetHash(t.Context(), box(t, "user"), fmt.Sprintf("$6$new%d", i)) == nil {
			good++
		}
		_, _, _ = s.Hash(t.Context(), box(t, "user"))
	}
	close(stop)
	swaps.Wait()
	victim, err := os.ReadFile(outside)
	require.NoError(t, err)
	require.Equal(t, oneUser, string(victim))
	t.Logf("%d of 2000 changes met a plain file", good)
}

// T31 and R22: every write advances the modification time by at least a second, even within a second and when
// the clock goes back.
func TestT31_EveryWriteIsNewerInWholeSeconds(t *testing.T) {
	w := newWorld(t, oneUser)
	s := New(w.home)
	clock := time.Now()
	s.now = func() time.Time { return clock }
	last := mtime(t, w.shadow)
	for i, step := range []time.Duration{0, 0, time.Millisecond, time.Second, -time.Hour, 0, 2 * time.Hour, -24 * time.Hour} {
		clock = clock.Add(step)
		require.NoError(t, s.SetHash(t.Context(), box(t, "user"), fmt.Sprintf("$6$new%d", i)))
		now := mtime(t, w.shadow)
		require.Greater(t, now, last, "step %d", i)
		last = now
	}
}

func mtime(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	require.NoError(t, err)
	return st.ModTime().Unix()
}

// T32: owner, group, mode and ACL are kept, in plain and in setgid directories.
func TestT32_OwnerModeAndACLStay(t *testing.T) {
	for _, mode := range []os.FileMode{0o600, 0o640, 0o644, 0o660} {
		w := newWorld(t, oneUser)
		require.NoError(t, os.Chmod(w.shadow, mode))
		old := unix.Umask(0o077)
		err := New(w.home).SetHash(t.Context(), box(t, "user"), "$6$new")
		unix.Umask(old)
		require.NoError(t, err)
		st, err := os.Stat(w.shadow)
		require.NoError(t, err)
		require.Equal(t, mode, st.Mode())
	}

	w := newWorld(t, oneUser)
	out, err := exec.Command("setfacl", "-m", "u:12345:r,g:8:r", w.shadow).CombinedOutput()
	require.NoError(t, err, "%s", out)
	before, err := exec.Command("getfacl", "-cn", w.shadow).Output()
	require.NoError(t, err)
	require.NoError(t, New(w.home).SetHash(t.Context(), box(t, "user"), "$6$new"))
	after, err := exec.Command("getfacl", "-cn", w.shadow).Output()
	require.NoError(t, err)
	require.Contains(t, string(after), "user:12345:r--")
	require.Equal(t, string(before), string(after))
}

// T32: a directory's default ACL gives no other user access to new files, and an ACL of any size is kept.
func TestT32_DefaultACLAndLargeACL(t *testing.T) {
	w := newWorld(t, oneUser)
	facl := func(args ...string) string {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	facl("setfacl", "-d", "-m", "u:12345:rwx,g::---", w.dir)
	before := facl("getfacl", "-cn", w.shadow)
	require.NoError(t, New(w.home).SetHash(t.Context(), box(t, "user"), "$6$new"))
	require.Equal(t, before, facl("getfacl", "-cn", w.shadow))

	entries := "u:1:r"
	for i := range 450 {
		entries += fmt.Sprintf(",u:%d:r", 20000+i)
	}
	if out, err := exec.Command("setfacl", "-m", entries, w.shadow).CombinedOutput(); err != nil {
		t.Logf("this file system has no room for so large an ACL: %s", out)
		return
	}
	before = facl("getfacl", "-cn", w.shadow)
	require.NoError(t, New(w.home).SetHash(t.Context(), box(t, "user"), "$6$newer"))
	require.Equal(t, before, facl("getfacl", "-cn", w.shadow))
}

func TestT32_GroupStays(t *testing.T) {
	needRoot(t)
	const mail = 8
	for _, setgid := range []bool{false, true} {
		w := newWorld(t, oneUser)
		require.NoError(t, os.Chown(w.shadow, 0, mail))
		if setgid {
			require.NoError(t, os.Chown(w.dir, 0, mail))
			require.NoError(t, os.Chmod(w.dir, 0o770|os.ModeSetgid))
		}
		require.NoError(t, New(w.home).SetHash(t.Context(), box(t, "user"), "$6$new"))
		var st unix.Stat_t
		require.NoError(t, unix.Stat(w.shadow, &st))
		require.EqualValues(t, mail, st.Gid)
		require.EqualValues(t, 0o640, st.Mode&0o7777)
	}
}

// If the caller's context ends before its change is started, nothing is changed; afterwards the outcome is
// unknown.
func TestSetHashContext(t *testing.T) {
	w := newWorld(t, oneUser)
	lock, err := os.OpenFile(filepath.Join(w.dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	s := New(w.home)

	first := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { first <- s.SetHash(ctx, box(t, "user"), "$6$first") }()
	require.Eventually(t, func() bool { // The first change is being written, and waits for the lock.
		s.mu.Lock()
		defer s.mu.Unlock()
		q := s.queues[domain]
		return q != nil && len(q.waiting) == 0
	}, time.Minute, time.Millisecond)

	short, cancelShort := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancelShort()
	err = s.SetHash(short, box(t, "user"), "$6$second")
	require.ErrorIs(t, err, store.ErrBusy)
	cancel()
	require.ErrorIs(t, <-first, store.ErrUnknown)

	require.NoError(t, lock.Close())
	require.Eventually(t, func() bool { return strings.Contains(w.read(t), "$6$first") }, time.Minute, time.Millisecond)
	require.NotContains(t, w.read(t), "$6$second")
}

// A directory with execute but no read permission is sufficient, as some servers have it.
func TestUnreadableDirectory(t *testing.T) {
	needRoot(t) // The child drops root, because root can read everything.
	w := newWorld(t, oneUser)
	for _, path := range []string{w.home, filepath.Join(w.home, "etc"), w.dir, w.shadow} {
		require.NoError(t, os.Chown(path, 12345, 12345))
	}
	for dir := filepath.Dir(w.home); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		require.NoError(t, os.Chmod(dir, 0o755))
	}
	for _, dir := range []string{w.home, filepath.Join(w.home, "etc"), w.dir} {
		require.NoError(t, os.Chmod(dir, 0o311))
	}
	cmd := child(t, w, "once")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, w.read(t), "user:$6$once:")
}
