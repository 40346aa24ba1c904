package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/plugins/email/store"
)

const (
	// sizeName is the Maildir++ file that contains a mailbox's limit and size. The quota implementations of
	// Dovecot and Courier maintain it.
	sizeName = "maildirsize"
	// maxSizeFile is the maximum size of a maildirsize file that is read, in bytes. Programs that maintain
	// maildirsize rewrite it when it reaches 5,120 bytes, so a valid file is much smaller.
	maxSizeFile = 64 << 10
	// trashName is the directory, among a domain's mailboxes, into which deleted mailboxes are moved before
	// they are removed.
	trashName = ".liveapid-deleted"
)

// openHome opens the account's home. If the home may be entered but not read, openHome opens it with O_PATH.
func (s *Store) openHome() (*os.File, error) {
	home, err := os.OpenFile(s.home, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrPermission) {
		home, err = os.OpenFile(s.home, unix.O_PATH|unix.O_DIRECTORY, 0)
	}
	if err != nil {
		return nil, classify("open the home", err)
	}
	return home, nil
}

// openBelow opens the directory at path below the home.
func (s *Store) openBelow(path string) (*os.File, error) {
	home, err := s.openHome()
	if err != nil {
		return nil, err
	}
	defer func() { _ = home.Close() }()
	return openDir(home, path, s.owner)
}

// makeDirs makes all missing directories of path below the home with the given mode, and reports whether the
// last directory of path is new. It does not change existing directories. With sync, it syncs each directory in
// which it made another, so that a power failure does not undo this.
func (s *Store) makeDirs(path string, mode uint32, sync bool) (isNew bool, err error) {
	dir, err := s.openHome()
	if err != nil {
		return false, err
	}
	defer func() { _ = dir.Close() }()
	for _, name := range strings.Split(path, "/") {
		err := unix.Mkdirat(int(dir.Fd()), name, mode)
		isNew = err == nil
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return false, classify("make the directory "+name, err)
		}
		next, err := openDir(dir, name, s.owner)
		if err != nil {
			return isNew, classify("open the directory "+name, err)
		}
		if isNew {
			// The umask may have removed bits from mode.
			if err := unix.Fchmod(int(next.Fd()), mode); err != nil {
				_ = next.Close()
				return isNew, classify("set the mode", err)
			}
			if sync {
				if err := s.disk.syncDir(dir, next); err != nil {
					_ = next.Close()
					return isNew, classify("sync the directory with "+name, err)
				}
			}
		}
		_ = dir.Close()
		dir = next
	}
	return isNew, nil
}

// createDomain makes the directory for a domain's files. Its mode lets the group enter it, because a Dovecot
// that does not run as root reads the files through the group.
func (s *Store) createDomain(domain string) error {
	_, err := s.makeDirs("etc/"+domain, 0o750, true)
	return err
}

// identityOf returns a text that identifies the directory with a mailbox's mail, or "" if there is none. The number of
// a directory is used again after it was removed, so its time of birth is a part of the text.
func (s *Store) identityOf(domain, localpart string) (string, error) {
	parent, err := s.openBelow("mail/" + domain)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", classify("open the domain's mail", err)
	}
	defer func() { _ = parent.Close() }()
	var st unix.Statx_t
	err = unix.Statx(int(parent.Fd()), localpart, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &st)
	if errors.Is(err, unix.ENOENT) {
		return "", nil
	}
	if err != nil {
		return "", classify("look at the mailbox's directory", err)
	}
	return fmt.Sprintf("%d:%d:%d.%09d", unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino, st.Btime.Sec, st.Btime.Nsec), nil
}

// moveAway moves the directory with a mailbox's mail into the domain's trash, if it still is the one with the given
// identity.
func (s *Store) moveAway(domain, localpart, identity string) error {
	if now, err := s.identityOf(domain, localpart); err != nil || now != identity {
		return err // Without an error, another program has made a new one.
	}
	parent, err := s.openBelow("mail/" + domain)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return classify("open the domain's mail", err)
	}
	defer func() { _ = parent.Close() }()
	trash, err := s.moveToTrash(parent, localpart)
	if err != nil {
		return err
	}
	return trash.Close()
}

// emptyTrash removes everything in the domain's trash, including what an interrupted deletion left there.
func (s *Store) emptyTrash(domain string) error {
	parent, err := s.openBelow("mail/" + domain)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return classify("open the domain's mail", err)
	}
	defer func() { _ = parent.Close() }()
	trash, err := openDir(parent, trashName, s.owner)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return classify("open the directory "+trashName, err)
	}
	defer func() { _ = trash.Close() }()
	// os.Root never follows a symbolic link out of the trash, so RemoveAll can only remove what is in the
	// trash.
	root, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(int(trash.Fd())))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // Another deletion has removed the trash.
	}
	if err != nil {
		return classify("open the directory "+trashName, err)
	}
	defer func() { _ = root.Close() }()
	names, err := dirNames(trash)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return classify("list the directory "+trashName, err)
	}
	for _, name := range names {
		if err := root.RemoveAll(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return classify("remove the mail", err)
		}
	}
	// If another deletion has meanwhile moved a mailbox into the trash, this call fails because the directory
	// is not empty. The trash must then stay, so the error is ignored.
	_ = unix.Unlinkat(int(parent.Fd()), trashName, unix.AT_REMOVEDIR)
	return nil
}

// moveToTrash moves the directory called localpart from parent into the trash, and returns the open trash. It
// makes the trash if necessary.
func (s *Store) moveToTrash(parent *os.File, localpart string) (*os.File, error) {
	name := localpart + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	for {
		if err := unix.Mkdirat(int(parent.Fd()), trashName, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, classify("make the directory "+trashName, err)
		}
		trash, err := openDir(parent, trashName, s.owner)
		if errors.Is(err, fs.ErrNotExist) {
			continue // Another deletion has removed the trash.
		}
		if err != nil {
			return nil, classify("open the directory "+trashName, err)
		}
		err = unix.Renameat2(int(parent.Fd()), localpart, int(trash.Fd()), name, unix.RENAME_NOREPLACE)
		var st unix.Stat_t
		if err == nil || errors.Is(err, unix.ENOENT) && unix.Fstatat(int(parent.Fd()), localpart, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			return trash, nil
		}
		_ = trash.Close()
		if !errors.Is(err, unix.ENOENT) {
			return nil, classify("move the mail away", err)
		}
	}
}

// writeLimit writes a mailbox's limit and current size to maildirsize, from which delivery programs read the
// limit. If limit is 0 (no limit), writeLimit removes the file. With sync, the file is on disk when it returns.
func (s *Store) writeLimit(domain, localpart string, limit int64, sync bool) error {
	box, err := s.openBelow("mail/" + domain + "/" + localpart)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // The mail is not stored here, or none has arrived yet.
	}
	if err != nil {
		return classify("open the mailbox", err)
	}
	defer func() { _ = box.Close() }()
	if limit == 0 {
		if err := unix.Unlinkat(int(box.Fd()), sizeName, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			return classify("remove "+sizeName, err)
		}
		return nil
	}
	// The size is measured again, because the existing file may not have been maintained.
	usage, err := s.walk(context.Background(), box)
	if err != nil {
		return err
	}
	temp := tempOf(sizeName)
	_ = unix.Unlinkat(int(box.Fd()), temp, 0)
	f, err := openBeneath(box, temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return classify("create "+sizeName, err)
	}
	_, err = fmt.Fprintf(f, "%dS\n%d %d\n", limit, usage.Bytes, usage.Messages)
	if err == nil && os.Geteuid() != s.owner {
		err = f.Chown(s.owner, s.group)
	}
	if err == nil && sync {
		err = s.disk.sync(f)
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = unix.Renameat(int(box.Fd()), temp, int(box.Fd()), sizeName)
	}
	if err != nil {
		_ = unix.Unlinkat(int(box.Fd()), temp, 0)
		return classify("write "+sizeName, err)
	}
	return nil
}

// Formats returns the formats of the mail of a domain's mailboxes by local part: "maildir", "mdbox" or "dbox". Only
// Maildir is served. Mailboxes without mail are missing.
func (s *Store) Formats(ctx context.Context, domain string) (map[string]string, error) {
	list, err := s.List(ctx, domain)
	if err != nil {
		return nil, err
	}
	formats := make(map[string]string)
	for _, b := range list {
		box, err := s.openBelow("mail/" + domain + "/" + b.Localpart)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, store.ErrUnsafe) {
			continue
		}
		if err != nil {
			return nil, classify("open the mailbox", err)
		}
		for _, f := range []struct{ sub, format string }{{"storage", "mdbox"}, {"mailboxes", "dbox"}, {"cur", "maildir"}} {
			var st unix.Stat_t
			if unix.Fstatat(int(box.Fd()), f.sub, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
				formats[b.Localpart] = f.format
				break
			}
		}
		_ = box.Close()
	}
	return formats, nil
}
