package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
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
	// settleTime is how long a file that looks half written must stay as it is.
	settleTime = 50 * time.Millisecond
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
	for range maxRaces {
		failed, err := s.lockAndReplace(ctx, dir, hashes)
		if !errors.Is(err, errRaced) {
			return failed, err
		}
	}
	return nil, fmt.Errorf("%w: %w", store.ErrBusy, errRaced)
}

func (s *Store) lockAndReplace(ctx context.Context, dir *os.File, hashes map[string]string) (map[string]error, error) {
	lock, err := s.lock(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = lock.Close() }()
	return s.replace(dir, lock, hashes)
}

// openDomain opens the folder of a domain's store.
func (s *Store) openDomain(domain string) (*os.File, error) {
	home, err := os.OpenFile(s.home, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrPermission) {
		home, err = os.OpenFile(s.home, unix.O_PATH|unix.O_DIRECTORY, 0)
	}
	if err != nil {
		return nil, classify("open the home", err)
	}
	defer func() { _ = home.Close() }()
	dir, err := openDir(home, "etc/"+domain, s.owner)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the domain has no store", store.ErrNoMailbox)
	}
	if err != nil {
		return nil, classify("open the domain's folder", err)
	}
	return dir, nil
}

// lock takes the domain's lock, which the kernel gives back when the process ends or
// the file is closed.
func (s *Store) lock(ctx context.Context, dir *os.File) (*os.File, error) {
	f, _, err := openFile(dir, lockName, unix.O_RDWR|unix.O_CREAT, 0o600, s.owner)
	if err != nil {
		return nil, classify("open the lock", err)
	}
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			if !isStill(dir, lockName, f) {
				// Somebody removed the file while we waited; others lock the new one.
				_ = f.Close()
				return nil, errRaced
			}
			return f, nil
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
func (s *Store) replace(dir, lock *os.File, hashes map[string]string) (map[string]error, error) {
	old, st, err := openFile(dir, shadowName, unix.O_RDONLY, 0, s.owner)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the domain has no shadow file", store.ErrNoMailbox)
	}
	if err != nil {
		return nil, classify("open shadow", err)
	}
	defer func() { _ = old.Close() }()
	content, err := readAll(old, st.Size)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) && st.Size > 0 {
		return nil, errRaced // It shrank: somebody writes it in place.
	}
	if err != nil {
		return nil, fmt.Errorf("read shadow: %w", err)
	}
	next, failed := setHashes(content, hashes, s.now(), s.inPasswd(dir))
	if len(next) > MaxFile {
		return nil, fmt.Errorf("%w: shadow would have more than %d bytes", store.ErrUnsafe, MaxFile)
	}
	if len(failed) == len(hashes) {
		// What was not found in a file that is being replaced may be in the next one.
		if !untouched(dir, st) {
			return nil, errRaced
		}
		return failed, nil
	}
	if addsLine(content, next) && !settled(dir, st, content) {
		return nil, errRaced
	}
	temp, err := s.writeTemp(dir, old, st, next)
	if err != nil {
		return nil, err
	}
	defer func() { _ = temp.Close() }()
	if !untouched(dir, st) || !isStill(dir, lockName, lock) || !isStill(dir, tempName, temp) {
		s.discardTemp(dir, temp)
		return nil, errRaced
	}
	if err := s.disk.rename(dir, tempName, shadowName); err != nil {
		s.discardTemp(dir, temp)
		return nil, classify("rename the new shadow", err)
	}
	// From here on readers see the change; whether it outlives a power failure is open
	// until the folder is on disk.
	if err := s.disk.syncDir(dir, temp); err != nil {
		return nil, fmt.Errorf("%w: sync the folder: %w", store.ErrUnknown, err)
	}
	return failed, nil
}

// addsLine tells whether next has a mailbox more than content.
func addsLine(content, next []byte) bool {
	return bytes.Count(next, []byte{'\n'}) > bytes.Count(content, []byte{'\n'})
}

// settled tells whether content is a whole file. One that is empty, or has no newline at
// its end, may be in the hands of a program that writes it in place; adding a line to it
// would end in losing all others, so it must have stayed like that for a moment.
func settled(dir *os.File, st unix.Stat_t, content []byte) bool {
	if bytes.HasSuffix(content, []byte{'\n'}) {
		return true
	}
	time.Sleep(settleTime)
	return untouched(dir, st)
}

// discardTemp removes the temporary file where its name is still ours.
func (s *Store) discardTemp(dir, temp *os.File) {
	if isStill(dir, tempName, temp) {
		_ = s.disk.unlink(dir, tempName)
	}
}

// isStill tells whether name means the file that f is.
func isStill(dir *os.File, name string, f *os.File) bool {
	var named, open unix.Stat_t
	return unix.Fstatat(int(dir.Fd()), name, &named, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		unix.Fstat(int(f.Fd()), &open) == nil && named.Ino == open.Ino && named.Dev == open.Dev
}

// untouched tells whether shadow is the file it was when it was opened.
func untouched(dir *os.File, st unix.Stat_t) bool {
	var current unix.Stat_t
	return unix.Fstatat(int(dir.Fd()), shadowName, &current, unix.AT_SYMLINK_NOFOLLOW) == nil && same(current, st)
}

// same tells whether a file is untouched since it was opened.
func same(a, b unix.Stat_t) bool {
	return a.Ino == b.Ino && a.Dev == b.Dev && a.Size == b.Size && a.Mtim == b.Mtim && a.Ctim == b.Ctim
}

// writeTemp writes content beside the old file, with all that makes it the old one's
// equal, and brings it to disk. Where it fails nothing is left.
func (s *Store) writeTemp(dir, old *os.File, st unix.Stat_t, content []byte) (*os.File, error) {
	// A change that was killed may have left one. The lock says that nobody uses it.
	if err := s.disk.unlink(dir, tempName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, classify("remove an old temporary file", err)
	}
	f, err := s.disk.create(dir, tempName)
	if err != nil {
		return nil, classify("create the temporary file", err)
	}
	if err := s.fillTemp(f, old, st, content); err != nil {
		s.discardTemp(dir, f)
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func (s *Store) fillTemp(f, old *os.File, st unix.Stat_t, content []byte) error {
	if err := s.disk.write(f, content); err != nil {
		return classify("write the temporary file", err)
	}
	if err := s.likeOld(f, old, st); err != nil {
		return err
	}
	if err := s.setMtime(f, st.Mtim); err != nil {
		return classify("set the time", err)
	}
	if err := s.disk.sync(f); err != nil {
		return classify("sync the temporary file", err)
	}
	return nil
}

// setMtime makes f newer than old by a whole second. Where the file system has no later
// second, another one does: Dovecot looks for a difference.
func (s *Store) setMtime(f *os.File, old unix.Timespec) error {
	now := s.now()
	if err := s.disk.utimes(f, newMtime(old, now)); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Mtim.Sec != old.Sec {
		return err
	}
	return s.disk.utimes(f, unix.NsecToTimespec(now.UnixNano()))
}

// likeOld gives f the old file's group, mode and ACL, and makes sure of it: a Dovecot
// that reads through the group must not be locked out, and what the folder would give
// new files by its default ACL must not let anybody in.
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
	acl, err := readACL(old)
	if err != nil {
		return err
	}
	if err := s.disk.setACL(f, acl); err != nil {
		return classify("keep the ACL", err)
	}
	if err := s.disk.chmod(f, st.Mode&0o7777); err != nil {
		return classify("set the mode", err)
	}
	if err := unix.Fstat(int(f.Fd()), &now); err != nil {
		return err
	}
	kept, err := readACL(f)
	if err != nil || now.Uid != st.Uid || now.Gid != st.Gid || now.Mode != st.Mode || !bytes.Equal(kept, acl) {
		return fmt.Errorf("%w: owner, group, mode or ACL of shadow can't be kept", store.ErrUnsafe)
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
func (s *Store) inPasswd(dir *os.File) func(string) (bool, error) {
	read := sync.OnceValues(func() ([]byte, error) {
		content, _, err := readFile(dir, passwdName, s.owner)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, classify("read passwd", err)
		}
		return content, nil
	})
	return func(localpart string) (bool, error) {
		content, err := read()
		return indexLine(content, 0, localpart) >= 0, err
	}
}
