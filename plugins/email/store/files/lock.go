package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/plugins/email/store"
)

const (
	shadowName = "shadow"
	passwdName = "passwd"
	quotaName  = "quota"
	lockName   = ".liveapid.lock"
	tempName   = ".shadow.liveapid.tmp" // Equals tempOf(shadowName).

	// lockTimeout is the maximum time that a change waits for the lock while another program holds it.
	lockTimeout = 10 * time.Second
	// maxRaces is the maximum number of attempts to make a change. An attempt fails if a program that does
	// not use the lock changes a file meanwhile.
	maxRaces = 3
	// settleTime is how long a file that looks incomplete must stay unchanged before settled considers it
	// complete.
	settleTime = 50 * time.Millisecond
)

// errNoStore is returned if the domain has no directory in the account's home, which means that it has no
// mailboxes.
var errNoStore = fmt.Errorf("%w: the domain has no directory for mailboxes", store.ErrNoMailbox)

var errRaced = errors.New("files: another program changed the file during the operation")

// tempOf returns the name of the temporary file for the file called name.
func tempOf(name string) string { return "." + name + ".liveapid.tmp" }

// locked opens a domain's directory, locks it, finishes a change that was cut off, and calls do. If create is true,
// locked creates a missing directory. If another program changed the files during do, locked locks the directory
// again and repeats do; it calls do at most maxRaces times.
func (s *Store) locked(ctx context.Context, domain string, create bool, do func(*tx) error) error {
	dir, err := s.openDomain(domain)
	if create && errors.Is(err, errNoStore) {
		if err = s.createDomain(domain); err == nil {
			dir, err = s.openDomain(domain)
		}
	}
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	var recovered []work
	defer func() {
		if slices.ContainsFunc(recovered, func(w work) bool { return w.Kind == deleteBox && !w.Keep.Mail }) {
			_ = s.emptyTrash(domain)
		}
	}()
	for range maxRaces {
		err := s.lockAndWork(ctx, dir, domain, &recovered, do)
		if !errors.Is(err, errRaced) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", store.ErrBusy, errRaced)
}

func (s *Store) lockAndWork(ctx context.Context, dir *os.File, domain string, recovered *[]work, do func(*tx) error) error {
	lock, err := s.lock(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	finished, err := s.recover(dir, lock, domain)
	if err != nil {
		return err
	}
	*recovered = append(*recovered, finished...)
	t := &tx{s: s, dir: dir, lock: lock, files: make(map[string]*txFile), recovered: *recovered}
	defer t.close()
	return do(t)
}

// openDomain opens the directory that contains the files of a domain.
func (s *Store) openDomain(domain string) (*os.File, error) {
	home, err := s.openHome()
	if err != nil {
		return nil, err
	}
	defer func() { _ = home.Close() }()
	dir, err := openDir(home, "etc/"+domain, s.owner)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoStore
	}
	if err != nil {
		return nil, classify("open the domain's directory", err)
	}
	return dir, nil
}

// lock acquires the domain's lock, or returns ErrBusy after lockTimeout. The lock is released when the
// returned file is closed or the process ends.
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
				// Another program has removed the lock file while this process waited. Other processes would
				// create and lock a new file, so the lock on the removed file protects nothing.
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

// setMtime sets the modification time of f to a later second than old, because Dovecot rereads a file only if
// the seconds differ. If the file system can't store a later time, setMtime sets the current time instead,
// even if that is earlier than old: it also differs.
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

// likeOld copies owner, group, mode and ACL of the old file to f, and verifies the result. A Dovecot that
// reads the file through its group must not lose access, and a default ACL of the directory must not give
// access to others.
func (s *Store) likeOld(f, old *os.File, st unix.Stat_t) error {
	var now unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &now); err != nil {
		return err
	}
	if now.Uid != st.Uid || now.Gid != st.Gid {
		if err := s.disk.chown(f, int(st.Uid), int(st.Gid)); err != nil {
			return classify(fmt.Sprintf("give the group %d to the new shadow file (a setgid directory would also do this)", st.Gid), err)
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
		return fmt.Errorf("%w: the new shadow file did not get the owner, group, mode and ACL of the old file", store.ErrUnsafe)
	}
	return nil
}

// newMtime returns now if its second is later than old's. Otherwise, for example because the clock was set
// back, it returns the second after old.
func newMtime(old unix.Timespec, now time.Time) unix.Timespec {
	if now.Unix() > old.Sec {
		return unix.NsecToTimespec(now.UnixNano())
	}
	return unix.Timespec{Sec: old.Sec + 1}
}

// inPasswd returns a function that reports whether the domain's passwd file contains a line for a mailbox.
// The function reads the file only once, at its first call.
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
		return hasLine(content, localpart), err
	}
}
