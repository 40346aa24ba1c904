package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// begin makes a change whose record stays, as if the process had been killed before it could remove it.
func begin(t *testing.T, home string, change func(s *Store) error) {
	t.Helper()
	s := New(home)
	s.disk = leaving{faultyDisk{}}
	require.NoError(t, change(s))
	info, err := os.Stat(filepath.Join(home, "etc", domain, intentName))
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm(), "the record may contain hashes")
}

// leaving is a disk on which the record of a change can't be removed.
type leaving struct{ faultyDisk }

func (d leaving) unlink(dir *os.File, name string) error {
	if name == intentName {
		return unix.EIO
	}
	return d.faultyDisk.unlink(dir, name)
}

func newBox(t *testing.T, home, name, hash string) {
	t.Helper()
	require.NoError(t, New(home).Create(t.Context(), store.Mailbox{Address: boxOf(name), Quota: 5 << 20}, hash))
}

// rewrite changes one of the store's files as another program does.
func rewrite(t *testing.T, home, name, old, text string) {
	t.Helper()
	path := filepath.Join(home, "etc", domain, name)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(content), old)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(content), old, text, 1)), 0o640))
}

// An interrupted change is not made again where another program has changed the mailbox since.
func TestR20_NewerDataStays(t *testing.T) {
	next := func(home string) { require.NoError(t, New(home).SetHash(t.Context(), boxOf("other"), "$6$next")) }

	t.Run("delete", func(t *testing.T) {
		home := t.TempDir()
		newBox(t, home, "other", "$6$x")
		newBox(t, home, "user", "$6$x")
		begin(t, home, func(s *Store) error { return s.Delete(t.Context(), boxOf("user"), store.Keep{}) })
		rewrite(t, home, "shadow", "other:", "user:$6$again:1::::::\nother:")
		mail := filepath.Join(home, "mail", domain, "user", "cur", "1")
		require.NoError(t, os.MkdirAll(filepath.Dir(mail), 0o700))
		require.NoError(t, os.WriteFile(mail, []byte("new mail"), 0o600))
		next(home)
		require.FileExists(t, mail)
		hash, _, err := New(home).Hash(t.Context(), boxOf("user"))
		require.NoError(t, err)
		require.Equal(t, "$6$again", hash)
		require.NoFileExists(t, filepath.Join(home, "etc", domain, intentName))
	})
	t.Run("delete, and a new directory", func(t *testing.T) {
		home := t.TempDir()
		newBox(t, home, "other", "$6$x")
		newBox(t, home, "user", "$6$x")
		begin(t, home, func(s *Store) error { return s.Delete(t.Context(), boxOf("user"), store.Keep{}) })
		mail := filepath.Join(home, "mail", domain, "user", "cur", "1")
		require.NoError(t, os.MkdirAll(filepath.Dir(mail), 0o700))
		require.NoError(t, os.WriteFile(mail, []byte("new mail"), 0o600))
		next(home)
		require.FileExists(t, mail)
	})
	t.Run("create", func(t *testing.T) {
		home := t.TempDir()
		newBox(t, home, "other", "$6$x")
		begin(t, home, func(s *Store) error {
			return s.Create(t.Context(), store.Mailbox{Address: boxOf("user")}, "$6$made")
		})
		rewrite(t, home, "shadow", "$6$made", "$6$newer")
		require.ErrorIs(t, New(home).Create(t.Context(), store.Mailbox{Address: boxOf("user")}, "$6$third"), store.ErrExists)
		hash, _, err := New(home).Hash(t.Context(), boxOf("user"))
		require.NoError(t, err)
		require.Equal(t, "$6$newer", hash)
	})
	t.Run("quota", func(t *testing.T) {
		home := t.TempDir()
		newBox(t, home, "other", "$6$x")
		newBox(t, home, "user", "$6$x")
		begin(t, home, func(s *Store) error { return s.SetQuota(t.Context(), boxOf("user"), 7) })
		rewrite(t, home, "quota", "user:7", "user:9")
		next(home)
		b, err := New(home).Mailbox(t.Context(), boxOf("user"))
		require.NoError(t, err)
		require.EqualValues(t, 9, b.Quota)
	})
}

// If earlier mail can't be moved away, no mailbox is made, also not when an interrupted change is finished.
func TestR20_NoInheritanceByFinishing(t *testing.T) {
	home := t.TempDir()
	newBox(t, home, "other", "$6$x")
	record := `[{"kind":"create","entries":[{"Localpart":"first","Domain":"example.com","Hash":"$6$a"},{"Localpart":"user","Domain":"example.com","Hash":"$6$b"}],"keep":{}}]`
	require.NoError(t, os.WriteFile(filepath.Join(home, "etc", domain, intentName), []byte(record), 0o600))
	mail := filepath.Join(home, "mail", domain, "user", "cur", "1")
	require.NoError(t, os.MkdirAll(filepath.Dir(mail), 0o700))
	require.NoError(t, os.WriteFile(mail, []byte("private"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(home, "mail", domain, asideName), nil, 0o600)) // Nothing can be moved there.
	require.NoError(t, New(home).SetHash(t.Context(), boxOf("other"), "$6$next"))
	_, err := New(home).Mailbox(t.Context(), boxOf("user"))
	require.ErrorIs(t, err, store.ErrNoMailbox)
	require.NoFileExists(t, filepath.Join(home, "etc", domain, intentName))
	require.FileExists(t, mail)

	// Otherwise it is moved, also if the directory of another mailbox can't be made.
	require.NoError(t, os.Remove(filepath.Join(home, "mail", domain, asideName)))
	require.NoError(t, os.WriteFile(filepath.Join(home, "etc", domain, intentName), []byte(record), 0o600))
	require.NoError(t, New(home).SetHash(t.Context(), boxOf("other"), "$6$next"))
	_, err = New(home).Mailbox(t.Context(), boxOf("user"))
	require.NoError(t, err)
	require.NoFileExists(t, mail)
}

// A record that this version does not understand stays, and nothing is changed until it is gone.
func TestR20_UnknownRecord(t *testing.T) {
	home := t.TempDir()
	newBox(t, home, "user", "$6$x")
	path := filepath.Join(home, "etc", domain, intentName)
	for _, text := range []string{
		`[{"kind":"newer"}]`, "", "[]", "{", `[{"kind":"delete","localpart":"../x"}]`, `[{"kind":"quota","localpart":"user","quota":-5}]`,
		`[{"kind":"create","entries":[{"Localpart":"a","Domain":"other.example","Hash":"$6$x"}]}]`, `[{"kind":"delete","localpart":"a"},{"kind":"quota","localpart":"a"}]`,
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		err := New(home).SetHash(t.Context(), boxOf("user"), "$6$y")
		require.ErrorIs(t, err, store.ErrUnsafe, text)
		require.ErrorContains(t, err, intentName)
		require.FileExists(t, path)
		hash, _, err := New(home).Hash(t.Context(), boxOf("user"))
		require.NoError(t, err)
		require.Equal(t, "$6$x", hash)
	}
}

// A program that writes while the directories of a change are made loses nothing.
func TestR01_WriterDuringACreation(t *testing.T) {
	home := t.TempDir()
	newBox(t, home, "other", "$6$x")
	s := New(home)
	written := 0
	s.disk = faultyDisk{after: func(op string) {
		if _, err := os.Stat(filepath.Join(home, "mail", domain, "user")); op == "syncDir" && err == nil && written == 0 {
			written++
			path := filepath.Join(home, "etc", domain, "shadow")
			require.NoError(t, os.WriteFile(path+"~", []byte("other:$6$foreign:1::::::\nthird:$6$t:1::::::\n"), 0o640))
			require.NoError(t, os.Rename(path+"~", path))
		}
	}}
	require.NoError(t, s.Create(t.Context(), store.Mailbox{Address: boxOf("user")}, "$6$new"))
	require.Equal(t, 1, written)
	for name, want := range map[string]string{"other": "$6$foreign", "third": "$6$t", "user": "$6$new"} {
		hash, _, err := s.Hash(t.Context(), boxOf(name))
		require.NoError(t, err)
		require.Equal(t, want, hash)
	}
}

// Readers never see a change of several files half made.
func TestReadersSeeWholeChanges(t *testing.T) {
	home := t.TempDir()
	newBox(t, home, "other", "$6$x")
	done := make(chan error, 1)
	go func() {
		s := New(home)
		for range 150 {
			err := s.Create(t.Context(), store.Mailbox{Address: boxOf("user"), Quota: 5 << 20, Suspended: store.Incoming}, "$6$user")
			if err = errors.Join(err, s.Delete(t.Context(), boxOf("user"), store.Keep{})); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	want := store.Entry{Mailbox: store.Mailbox{Address: boxOf("user"), Quota: 5 << 20, Suspended: store.Incoming}, Hash: "$6$user"}
	seen := 0
	for reader := New(home); ; {
		select {
		case err := <-done:
			require.NoError(t, err)
			require.Positive(t, seen)
			return
		default:
		}
		entries, _, err := reader.Entries(t.Context(), domain)
		require.NoError(t, err)
		for _, e := range entries {
			if e.Localpart == "user" {
				require.Equal(t, want, e)
				seen++
			}
		}
		switch b, err := reader.Mailbox(t.Context(), boxOf("user")); {
		case errors.Is(err, store.ErrNoMailbox):
		default:
			require.NoError(t, err)
			require.Equal(t, want.Mailbox, b)
		}
	}
}

// Two creations of the same mailbox in one commit: one succeeds. A directory that can't be used fails its own
// mailbox only, and a failed replacement changes no limit.
func TestBatches(t *testing.T) {
	home := t.TempDir()
	newBox(t, home, "other", "$6$x")
	s := New(home)
	batch := []*change{
		{work: work{Kind: createBox, Entries: []store.Entry{{Mailbox: store.Mailbox{Address: boxOf("bob")}, Hash: "$6$one"}}}, done: make(chan error, 1)},
		{work: work{Kind: createBox, Entries: []store.Entry{{Mailbox: store.Mailbox{Address: boxOf("bob")}, Hash: "$6$two"}}}, done: make(chan error, 1)},
		{work: work{Kind: createBox, Entries: []store.Entry{{Mailbox: store.Mailbox{Address: boxOf("link")}, Hash: "$6$l"}}}, done: make(chan error, 1)},
	}
	require.NoError(t, os.Symlink("/tmp", filepath.Join(home, "mail", domain, "link")))
	s.commitBatch(domain, batch)
	require.NoError(t, <-batch[0].done)
	require.ErrorIs(t, <-batch[1].done, store.ErrExists)
	require.ErrorIs(t, <-batch[2].done, store.ErrUnsafe)
	entries, _, err := s.Entries(t.Context(), domain)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	require.Equal(t, "$6$one", entries[0].Hash)

	renames := 0
	s.disk = faultyDisk{before: func(op string) error {
		if op == "rename" {
			if renames++; renames == 2 {
				return unix.ENOSPC
			}
		}
		return nil
	}}
	require.ErrorIs(t, s.Import(t.Context(), []store.Entry{{Mailbox: store.Mailbox{Address: boxOf("other")}, Hash: "$6$new"}}, true), store.ErrFull)
	limit, err := os.ReadFile(filepath.Join(home, "mail", domain, "other", sizeName))
	require.NoError(t, err)
	require.Equal(t, "5242880S\n0 0\n", string(limit))
	s.disk = osDisk{}
	require.NoError(t, s.Import(t.Context(), []store.Entry{{Mailbox: store.Mailbox{Address: boxOf("other")}, Hash: "$6$new"}}, true))
	require.NoFileExists(t, filepath.Join(home, "mail", domain, "other", sizeName))
}

// recording is a disk that records the directories that are synced.
type recording struct {
	osDisk
	synced map[string]bool
}

func (d recording) syncDir(dir, within *os.File) error {
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
	d.synced[path] = true
	return errors.Join(err, d.osDisk.syncDir(dir, within))
}

// R3: the first mailbox of a domain is on disk with all its directories when the answer is given.
func TestR03_NewDirectoriesAreSynced(t *testing.T) {
	home := t.TempDir()
	s := New(home)
	d := recording{synced: make(map[string]bool)}
	s.disk = d
	require.NoError(t, s.Create(t.Context(), store.Mailbox{Address: boxOf("user")}, "$6$x"))
	for _, dir := range []string{"", "etc", "etc/" + domain, "mail", "mail/" + domain, "mail/" + domain + "/user"} {
		require.True(t, d.synced[filepath.Join(home, dir)], "%q of %v", dir, d.synced)
	}
}
