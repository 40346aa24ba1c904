package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/email/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() store.Store {
		home := t.TempDir()
		return func() store.Store { return New(home) }
	})
}

// A change leaves only the store's files and mail folders on disk.
func TestFilesOfMailboxes(t *testing.T) {
	home := t.TempDir()
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	s := New(home)
	box := store.Address{Localpart: "user", Domain: "example.com"}
	require.NoError(t, s.Create(t.Context(), store.Mailbox{Address: box, Quota: 1000, Suspended: store.Incoming}, "$6$x"))
	tree := func() string {
		var lines []string
		require.NoError(t, filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
			require.NoError(t, err)
			info, err := d.Info()
			require.NoError(t, err)
			if name, _ := filepath.Rel(home, path); name != "." && !strings.HasSuffix(name, lockName) {
				lines = append(lines, fmt.Sprintf("%s %o", name, info.Mode().Perm()))
			}
			return nil
		}))
		return strings.Join(lines, "\n")
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(home, name))
		require.NoError(t, err)
		return string(text)
	}
	require.Equal(t, `etc 750
etc/example.com 750
etc/example.com/passwd 640
etc/example.com/quota 640
etc/example.com/shadow 640
etc/example.com/suspended_incoming 640
mail 700
mail/example.com 700
mail/example.com/user 700
mail/example.com/user/cur 700
mail/example.com/user/maildirsize 600
mail/example.com/user/new 700
mail/example.com/user/tmp 700`, tree())
	require.Equal(t, fmt.Sprintf("user:x:%d:%d::%s/mail/example.com/user:/bin/false\n", os.Getuid(), os.Getgid(), home), read("etc/example.com/passwd"))
	require.Equal(t, "user:1000\n", read("etc/example.com/quota"))
	require.Equal(t, "user:\n", read("etc/example.com/suspended_incoming"))
	require.Equal(t, "1000S\n0 0\n", read("mail/example.com/user/maildirsize"))

	require.NoError(t, os.WriteFile(filepath.Join(home, "mail/example.com/user/cur/1.a"), []byte("12345"), 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(home, "mail/example.com/user/.Sent/cur"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(home, "mail/example.com/user/.Sent/cur/2.b,S=100:2,S"), []byte("x"), 0o600))
	require.NoError(t, os.Symlink("/etc", filepath.Join(home, "mail/example.com/user/.Link")))
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(home, "mail/example.com/user/new/3")))
	require.NoError(t, s.SetQuota(t.Context(), box, 0))
	usage, err := s.Usage(t.Context(), box)
	require.NoError(t, err)
	require.EqualValues(t, 105, usage.Bytes, "a walk: no message's size twice, and nothing through links")
	require.EqualValues(t, 2, usage.Messages)
	require.NoError(t, s.SetQuota(t.Context(), box, 2000))
	require.Equal(t, "2000S\n105 2\n", read("mail/example.com/user/maildirsize"))
	main, err := s.MainUsage(t.Context())
	require.NoError(t, err)
	require.Zero(t, main.Bytes, "mailboxes are not the account's own mail")

	require.NoError(t, s.Delete(t.Context(), box, store.Keep{Mail: true}))
	require.FileExists(t, filepath.Join(home, "mail/example.com/user/cur/1.a"))
	require.Empty(t, read("etc/example.com/shadow")+read("etc/example.com/passwd")+read("etc/example.com/quota")+read("etc/example.com/suspended_incoming"))
	require.NoError(t, s.Create(t.Context(), store.Mailbox{Address: box}, "$6$x"))
	require.NoError(t, os.MkdirAll(filepath.Join(home, "mail/example.com/.liveapid-deleted/old-1/cur"), 0o700)) // Left by a process that was killed.
	require.NoError(t, s.Delete(t.Context(), box, store.Keep{}))
	entries, err := os.ReadDir(filepath.Join(home, "mail/example.com"))
	require.NoError(t, err)
	require.Empty(t, entries)
	require.DirExists(t, "/etc", "links are removed, not what they lead to")
}

// If the mail directory can't be created, no mailbox and no part of one remains.
func TestCreateLeavesNothing(t *testing.T) {
	for name, spoil := range map[string]func(home string) error{
		"mail is a symbolic link": func(home string) error { return os.Symlink("/tmp", filepath.Join(home, "mail")) },
		"mail is a file":          func(home string) error { return os.WriteFile(filepath.Join(home, "mail"), nil, 0o600) },
		"the mailbox is a symbolic link": func(home string) error {
			return errors.Join(os.MkdirAll(filepath.Join(home, "mail/example.com"), 0o700), os.Symlink("/tmp", filepath.Join(home, "mail/example.com/user")))
		},
		"quota is a symbolic link": func(home string) error {
			return errors.Join(os.MkdirAll(filepath.Join(home, "etc/example.com"), 0o700), os.Symlink("/etc/passwd", filepath.Join(home, "etc/example.com/quota")))
		},
		"passwd is a FIFO": func(home string) error {
			return errors.Join(os.MkdirAll(filepath.Join(home, "etc/example.com"), 0o700), unix.Mkfifo(filepath.Join(home, "etc/example.com/passwd"), 0o600))
		},
		"the domain is a symbolic link": func(home string) error {
			return errors.Join(os.MkdirAll(filepath.Join(home, "etc"), 0o700), os.Symlink("/tmp", filepath.Join(home, "etc/example.com")))
		},
		"suspended is a hard link": func(home string) error {
			return errors.Join(os.MkdirAll(filepath.Join(home, "etc/example.com"), 0o700), os.WriteFile(filepath.Join(home, "x"), nil, 0o600),
				os.Link(filepath.Join(home, "x"), filepath.Join(home, "etc/example.com/suspended_incoming")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			require.NoError(t, spoil(home))
			box := store.Address{Localpart: "user", Domain: "example.com"}
			err := New(home).Create(t.Context(), store.Mailbox{Address: box, Quota: 1}, "$6$x")
			require.ErrorIs(t, err, store.ErrUnsafe)
			require.NoFileExists(t, filepath.Join(home, "etc/example.com/shadow"))
			require.NoDirExists(t, "/tmp/cur")
			if info, err := os.Lstat(filepath.Join(home, "mail/example.com/user")); err == nil {
				require.NotZero(t, info.Mode()&fs.ModeSymlink)
			}
		})
	}
}

// If writing any file of a change fails, no mailbox is created.
func TestCreateFails(t *testing.T) {
	for _, op := range []string{"create", "write", "chmod", "sync"} {
		for at := 1; at <= 3; at++ {
			t.Run(fmt.Sprintf("%s no. %d", op, at), func(t *testing.T) {
				s := New(t.TempDir())
				n := 0
				s.disk = faultyDisk{before: func(did string) error {
					if did == op {
						if n++; n == at {
							return unix.ENOSPC
						}
					}
					return nil
				}}
				box := store.Address{Localpart: "user", Domain: "example.com"}
				require.ErrorIs(t, s.Create(t.Context(), store.Mailbox{Address: box}, "$6$x"), store.ErrFull)
				require.Equal(t, []string{lockName}, names(t, filepath.Join(s.home, "etc/example.com")))
				require.NoDirExists(t, filepath.Join(s.home, "mail/example.com/user"))
				list, err := s.List(t.Context(), "example.com")
				require.NoError(t, err)
				require.Empty(t, list)
			})
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]struct {
		bytes, messages int64
		ok              bool
	}{
		"1000S\n10 1\n":                   {10, 1, true},
		"1000S,5C\n10 1\n-5 -1\n7 1":      {12, 1, true},
		"1000S\n10 1\n5":                  {10, 1, true}, // Incomplete, because it is being written.
		"1000S\n":                         {0, 0, false},
		"":                                {0, 0, false},
		"1000S\nx y\n":                    {0, 0, false},
		"1000S\n5\n10 1\n":                {0, 0, false},
		"1000S\n10 1\n-50 -3\n":           {-40, -2, false},
		"1000S\n99999999999999999999 1\n": {0, 0, false},
	} {
		usage, ok := parseSize([]byte(text))
		require.Equal(t, want.ok, ok, "%q", text)
		if ok {
			require.Equal(t, want.bytes, usage.Bytes, "%q", text)
			require.Equal(t, want.messages, usage.Messages, "%q", text)
		}
	}
}

// If a mailbox is created again while the old one is being deleted, it keeps its directory.
func TestDeleteAndCreate(t *testing.T) {
	home := t.TempDir()
	a, b := New(home), New(home)
	box := store.Address{Localpart: "user", Domain: "example.com"}
	require.NoError(t, a.Create(t.Context(), store.Mailbox{Address: box}, "$6$x"))
	for range 100 {
		made := make(chan error)
		go func() {
			err := store.ErrExists
			for errors.Is(err, store.ErrExists) {
				err = b.Create(t.Context(), store.Mailbox{Address: box}, "$6$x")
			}
			made <- err
		}()
		require.NoError(t, a.Delete(t.Context(), box, store.Keep{}))
		require.NoError(t, <-made)
		require.DirExists(t, filepath.Join(home, "mail/example.com/user/cur"))
	}
}

// Concurrent deletions empty the same trash directory, and none of them fails because of that.
func TestManyDeletions(t *testing.T) {
	home := t.TempDir()
	s := New(home)
	box := func(i, n int) store.Address {
		return store.Address{Localpart: fmt.Sprintf("b%d-%d", i, n), Domain: "example.com"}
	}
	for round := range 5 {
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				for n := range 10 {
					if err := s.Create(t.Context(), store.Mailbox{Address: box(i, n)}, "$6$x"); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		for i := range 16 {
			all.Go(func() {
				for n := range 10 {
					if err := s.Delete(t.Context(), box(i, n), store.Keep{}); err != nil {
						t.Errorf("round %d: %v", round, err)
					}
				}
			})
		}
		all.Wait()
	}
	entries, err := os.ReadDir(filepath.Join(home, "mail", "example.com"))
	require.NoError(t, err)
	require.Empty(t, entries)
}

// If the mailbox was created but its mail can't be reached, the error says so.
func TestPartly(t *testing.T) {
	home := t.TempDir()
	s := New(home)
	box := store.Address{Localpart: "user", Domain: "example.com"}
	require.NoError(t, s.Create(t.Context(), store.Mailbox{Address: box}, "$6$x"))
	require.NoError(t, os.Rename(filepath.Join(home, "mail"), filepath.Join(home, "elsewhere")))
	require.NoError(t, os.Symlink("elsewhere", filepath.Join(home, "mail")))
	require.ErrorIs(t, s.SetQuota(t.Context(), box, 5), store.ErrPartly)
	b, err := s.Mailbox(t.Context(), box)
	require.NoError(t, err)
	require.EqualValues(t, 5, b.Quota)
	require.ErrorIs(t, s.Delete(t.Context(), box, store.Keep{}), store.ErrPartly)
	_, err = s.Mailbox(t.Context(), box)
	require.ErrorIs(t, err, store.ErrNoMailbox)
}

// An outdated maildirsize is ignored, and Recount writes a new one.
func TestStaleSize(t *testing.T) {
	home := t.TempDir()
	s := New(home)
	box := store.Address{Localpart: "user", Domain: "example.com"}
	require.NoError(t, s.Create(t.Context(), store.Mailbox{Address: box, Quota: 1000}, "$6$x"))
	dir := filepath.Join(home, "mail/example.com/user")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "new/1"), make([]byte, 300), 0o600))
	bytesOf := func() int64 {
		usage, err := s.Usage(t.Context(), box)
		require.NoError(t, err)
		return usage.Bytes
	}
	old := unix.NsecToTimeval(1)
	require.NoError(t, unix.Utimes(filepath.Join(dir, sizeName), []unix.Timeval{old, old}))
	require.EqualValues(t, 300, bytesOf())
	require.NoError(t, s.Recount(t.Context(), box))
	text, err := os.ReadFile(filepath.Join(dir, sizeName))
	require.NoError(t, err)
	require.Equal(t, "1000S\n300 1\n", string(text))

	// A mailbox without a password has none to restore.
	require.NoError(t, s.Create(t.Context(), store.Mailbox{Address: store.Address{Localpart: "none", Domain: "example.com"}, Suspended: store.Login}, "$6$x"))
	shadow := filepath.Join(home, "etc/example.com/shadow")
	require.NoError(t, os.WriteFile(shadow, []byte("user:$6$x:1::::::\nnone:!:1::::::\n"), 0o640))
	require.NoError(t, s.Suspend(t.Context(), store.Address{Localpart: "none", Domain: "example.com"}, store.Login, false))
	text, err = os.ReadFile(shadow)
	require.NoError(t, err)
	require.Contains(t, string(text), "none:*:")
}

// A directory's default ACL must not give other users access to new files.
func TestNewFilesHaveNoACL(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, "etc/example.com")
	require.NoError(t, os.MkdirAll(dir, 0o750))
	if out, err := exec.Command("setfacl", "-d", "-m", "u:nobody:rw", dir).CombinedOutput(); err != nil {
		t.Skipf("the file system knows no ACLs: %s", out)
	}
	require.NoError(t, New(home).Create(t.Context(), store.Mailbox{Address: store.Address{Localpart: "user", Domain: "example.com"}}, "$6$x"))
	for _, name := range []string{shadowName, passwdName, quotaName} {
		f, err := os.Open(filepath.Join(dir, name))
		require.NoError(t, err)
		acl, err := readACL(f)
		require.NoError(t, err)
		require.Empty(t, acl, name)
		require.NoError(t, f.Close())
	}
}
