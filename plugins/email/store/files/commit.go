package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/plugins/email/store"
)

const (
	shadowName = "shadow"
	passwdName = "passwd"
	lockName   = ".liveapid.lock"
	tempName   = ".shadow.liveapid.tmp"

	// lockTimeout is how long a change waits for other programs.
	lockTimeout = 10 * time.Second
	// maxRaces is how often a change starts again because a program that knows no lock
	// replaced the file meanwhile.
	maxRaces = 3
)

var errRaced = errors.New("files: another program changed the file meanwhile")

// commit makes changes to one domain, together. It returns an error for each mailbox
// that was not changed, and one error where none was.
func (s *Store) commit(ctx context.Context, domain string, hashes map[string]string) (map[string]error, error) {
	dir, err := s.openDomain(domain)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	unlock, err := s.lock(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for range maxRaces {
		failed, err := s.replace(dir, hashes)
		if !errors.Is(err, errRaced) {
			return failed, err
		}
	}
	return nil, fmt.Errorf("%w: %w", store.ErrBusy, errRaced)
}

// openDomain opens the folder of a domain's store.
func (s *Store) openDomain(domain string) (*os.File, error) {
	home, err := os.OpenFile(s.home, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrPermission) {
		home, err = os.OpenFile(s.home, unix.O_PATH|unix.O_DIRECTORY, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("open the home: %w", err)
	}
	defer func() { _ = home.Close() }()
	dir, err := openDir(home, "etc/"+domain, s.owner)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the domain has no store", store.ErrNoMailbox)
	}
	return dir, err
}

// lock takes the domain's lock, which the kernel gives back when the process ends.
func (s *Store) lock(ctx context.Context, dir *os.File) (unlock func(), err error) {
	f, _, err := openFile(dir, lockName, unix.O_RDWR|unix.O_CREAT, 0o600, s.owner)
	if err != nil {
		return nil, classify("open the lock", err)
	}
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock: %w", err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, store.ErrBusy
		case <-time.After(time.Millisecond + rand.N(3*time.Millisecond)):
		}
	}
}

// replace makes the changes once. It needs the lock.
func (s *Store) replace(dir *os.File, hashes map[string]string) (map[string]error, error) {
	old, st, err := openFile(dir, shadowName, unix.O_RDONLY, 0, s.owner)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the domain has no shadow file", store.ErrNoMailbox)
	}
	if err != nil {
		return nil, classify("open shadow", err)
	}
	defer func() { _ = old.Close() }()
	content, err := readAll(old, st.Size)
	if err != nil {
		return nil, fmt.Errorf("read shadow: %w", err)
	}
	next, failed := setHashes(content, hashes, s.now(), s.inPasswd(dir))
	if len(failed) == len(hashes) {
		return failed, nil
	}
	if len(next) > MaxFile {
		return nil, fmt.Errorf("%w: shadow would have more than %d bytes", store.ErrFull, MaxFile)
	}
	if err := s.writeTemp(dir, old, st, next); err != nil {
		_ = s.disk.unlink(dir, tempName)
		return nil, err
	}
	var current unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), shadowName, &current, unix.AT_SYMLINK_NOFOLLOW); err != nil || !same(current, st) {
		_ = s.disk.unlink(dir, tempName)
		return nil, errRaced
	}
	if err := s.disk.rename(dir, tempName, shadowName); err != nil {
		_ = s.disk.unlink(dir, tempName)
		return nil, classify("rename the new shadow", err)
	}
	// From here on readers see the change; whether it outlives a power failure is open
	// until the folder is on disk.
	if err := s.disk.syncDir(dir, old); err != nil {
		return nil, fmt.Errorf("%w: sync the folder: %w", store.ErrUnknown, err)
	}
	return failed, nil
}

// same tells whether a file is untouched since it was opened.
func same(a, b unix.Stat_t) bool {
	return a.Ino == b.Ino && a.Dev == b.Dev && a.Size == b.Size && a.Mtim == b.Mtim && a.Ctim == b.Ctim
}

// writeTemp writes content beside the old file, with all that makes it the old one's
// equal, and brings it to disk.
func (s *Store) writeTemp(dir, old *os.File, st unix.Stat_t, content []byte) error {
	// A change that was killed may have left one. The lock says that nobody uses it.
	if err := s.disk.unlink(dir, tempName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return classify("remove an old temporary file", err)
	}
	f, err := s.disk.create(dir, tempName)
	if err != nil {
		return classify("create the temporary file", err)
	}
	defer func() { _ = f.Close() }()
	if err := s.disk.write(f, content); err != nil {
		return classify("write the temporary file", err)
	}
	if err := s.likeOld(f, old, st); err != nil {
		return err
	}
	if err := s.disk.utimes(f, newMtime(st.Mtim, s.now())); err != nil {
		return classify("set the time", err)
	}
	if err := s.disk.sync(f); err != nil {
		return classify("sync the temporary file", err)
	}
	return nil
}

// likeOld gives f the old file's group, mode and ACL, and makes sure of it: a Dovecot
// that reads through the group must not be locked out.
func (s *Store) likeOld(f, old *os.File, st unix.Stat_t) error {
	var now unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &now); err != nil {
		return err
	}
	if now.Uid != st.Uid || now.Gid != st.Gid {
		if err := s.disk.chown(f, int(st.Uid), int(st.Gid)); err != nil {
			return classify(fmt.Sprintf("keep the group %d of shadow (a setgid folder keeps it too)", st.Gid), err)
		}
	}
	if err := s.disk.chmod(f, st.Mode&0o7777); err != nil {
		return classify("set the mode", err)
	}
	if acl := readACL(old); acl != nil {
		if err := s.disk.setACL(f, acl); err != nil {
			return classify("keep the ACL", err)
		}
	}
	if err := unix.Fstat(int(f.Fd()), &now); err != nil {
		return err
	}
	if now.Uid != st.Uid || now.Gid != st.Gid || now.Mode != st.Mode {
		return fmt.Errorf("%w: owner, group or mode of shadow can't be kept", store.ErrUnsafe)
	}
	return nil
}

// newMtime returns now, or the whole second after old where that is later: also when
// the clock went back.
func newMtime(old unix.Timespec, now time.Time) unix.Timespec {
	if now.Unix() > old.Sec {
		return unix.NsecToTimespec(now.UnixNano())
	}
	return unix.Timespec{Sec: old.Sec + 1}
}

// inPasswd returns a function that tells whether a mailbox stands in the domain's
// passwd file. It reads the file at most once.
func (s *Store) inPasswd(dir *os.File) func(string) bool {
	var content []byte
	read := false
	return func(localpart string) bool {
		if !read {
			content, _, _ = readFile(dir, passwdName, s.owner)
			read = true
		}
		return indexLine(content, 0, localpart) >= 0
	}
}
