package files

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// R20: if an error follows the first rename of several, the change is half made, so the outcome is unknown, and
// the next change finishes it.
func TestR20_ALaterRenameFails(t *testing.T) {
	for _, errno := range []unix.Errno{unix.ENOSPC, unix.EROFS, unix.EIO} {
		w := newWorld(t, oneUser)
		require.NoError(t, os.WriteFile(filepath.Join(w.dir, "passwd"), []byte("user:x:1:1::/m:/s\n"), 0o644))
		s := New(w.home)
		renames := 0
		s.disk = faultyDisk{before: func(op string) error {
			if op != "rename" {
				return nil
			}
			if renames++; renames == 3 { // After the record of the change and the quota.
				return errno
			}
			return nil
		}}
		err := s.Create(t.Context(), store.Mailbox{Address: box(t, "new"), Quota: 5 << 20}, "$6$new")
		require.Equal(t, 3, renames)
		require.ErrorIs(t, err, store.ErrUnknown, errno.Error())
		require.ErrorIs(t, err, errno)
		require.NoError(t, New(w.home).SetHash(t.Context(), box(t, "user"), "$6$other"))
		made, err := New(w.home).Mailbox(t.Context(), box(t, "new"))
		require.NoError(t, err)
		require.EqualValues(t, 5<<20, made.Quota)
	}
}

// R1: if another process replaces and locks the lock file between reading and renaming, nothing is renamed.
func TestR01_TheLockIsStillOurs(t *testing.T) {
	w := newWorld(t, oneUser)
	s := New(w.home)
	var held atomic.Bool
	once := false
	s.disk = faultyDisk{
		after: func(op string) {
			if op != "sync" || once {
				return
			}
			once = true
			require.NoError(t, os.Remove(filepath.Join(w.dir, lockName)))
			other, err := os.OpenFile(filepath.Join(w.dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
			require.NoError(t, err)
			require.NoError(t, unix.Flock(int(other.Fd()), unix.LOCK_EX))
			held.Store(true)
			time.AfterFunc(50*time.Millisecond, func() {
				held.Store(false)
				_ = other.Close()
			})
		},
		before: func(op string) error {
			if op == "rename" {
				require.False(t, held.Load(), "somebody else has the lock")
			}
			return nil
		},
	}
	require.NoError(t, s.SetHash(t.Context(), box(t, "user"), "$6$new"))
	require.True(t, once)
	require.Regexp(t, `^user:\$6\$new:\d+::::::\n$`, w.read(t))
}

// R1, R8: if another process replaces the temporary file, that file is neither moved into the store nor
// removed.
func TestR01_TheTemporaryFileIsStillOurs(t *testing.T) {
	w := newWorld(t, oneUser)
	s := New(w.home)
	times := 0
	s.disk = faultyDisk{after: func(op string) {
		if times++; op != "sync" || times > 20 {
			return
		}
		times = 21
		require.NoError(t, os.Remove(filepath.Join(w.dir, tempName)))
		require.NoError(t, os.WriteFile(filepath.Join(w.dir, tempName), []byte("user:$6$foreign:1::::::\n"), 0o640))
	}, before: func(op string) error {
		if op == "rename" {
			content, err := os.ReadFile(filepath.Join(w.dir, tempName))
			require.NoError(t, err)
			require.NotContains(t, string(content), "foreign")
		}
		return nil
	}}
	require.NoError(t, s.SetHash(t.Context(), box(t, "user"), "$6$new"))
	require.Equal(t, 21, min(times, 21))
	require.Regexp(t, `^user:\$6\$new:\d+::::::\n$`, w.read(t))
}
