package files

import (
	"bytes"
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

// Usage implements store.Store.
func (s *Store) Usage(ctx context.Context, box store.Address) (store.Usage, error) {
	dir, err := s.openBelow("mail/" + box.Domain + "/" + box.Localpart)
	if errors.Is(err, fs.ErrNotExist) {
		return store.Usage{}, nil // No mail has arrived yet.
	}
	if err != nil {
		return store.Usage{}, classify("open the mailbox", err)
	}
	defer func() { _ = dir.Close() }()
	return s.measure(ctx, dir)
}

// Usages implements store.Store.
func (s *Store) Usages(ctx context.Context, boxes []store.Address) ([]store.Usage, error) {
	usages := make([]store.Usage, len(boxes))
	for i, box := range boxes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var err error
		if usages[i], err = s.Usage(ctx, box); err != nil {
			return nil, &store.AtError{At: box, Err: err}
		}
	}
	return usages, nil
}

// MainUsage implements store.Store. The account's own mailbox is the Maildir in the mail directory itself.
func (s *Store) MainUsage(ctx context.Context) (store.Usage, error) {
	dir, err := s.openBelow("mail")
	if errors.Is(err, fs.ErrNotExist) {
		return store.Usage{}, nil
	}
	if err != nil {
		return store.Usage{}, classify("open the mail", err)
	}
	defer func() { _ = dir.Close() }()
	return s.measure(ctx, dir)
}

// measure returns the size of the mail in a mailbox's directory: from maildirsize if that file is valid and
// current, or by reading the directories.
func (s *Store) measure(ctx context.Context, box *os.File) (store.Usage, error) {
	f, st, err := openFile(box, sizeName, unix.O_RDONLY, 0, s.owner)
	if err == nil {
		defer func() { _ = f.Close() }()
		if st.Size <= maxSizeFile {
			content := make([]byte, st.Size)
			n, _ := f.ReadAt(content, 0)
			if usage, ok := parseSize(content[:n]); ok && !s.newer(box, st) {
				usage.Modified = time.Unix(st.Mtim.Unix())
				return usage, nil
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, store.ErrUnsafe) {
		return store.Usage{}, classify("open "+sizeName, err)
	}
	return s.walk(ctx, box)
}

// Recount implements store.Store. It measures the mailbox and writes its limit and size to maildirsize.
func (s *Store) Recount(ctx context.Context, box store.Address) error {
	b, err := s.Mailbox(ctx, box)
	if err != nil {
		return err
	}
	if err := b.QuotaProblem(); err != nil {
		return err
	}
	return s.writeLimit(box.Domain, box.Localpart, b.Quota, true)
}

// newer reports whether messages were added or removed after maildirsize was last written, which means that
// the size in maildirsize is out of date. Programs that maintain maildirsize write it shortly after each
// message, so newer ignores a difference of up to a second.
func (s *Store) newer(box *os.File, size unix.Stat_t) bool {
	for _, sub := range []string{"new", "cur"} {
		var st unix.Stat_t
		if err := unix.Fstatat(int(box.Fd()), sub, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && st.Mtim.Sec > size.Mtim.Sec+1 {
			return true
		}
	}
	return false
}

// parseSize parses maildirsize: the first line is the limit, and each further line is a change in bytes and
// messages. ok is false if the content is not valid.
func parseSize(content []byte) (usage store.Usage, ok bool) {
	lines := bytes.Split(content, []byte{'\n'})
	for i, line := range lines[1:] {
		fields := bytes.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 {
			return usage, i == len(lines)-2 && i > 0 // Another program may be writing the last line.
		}
		size, err := strconv.ParseInt(string(fields[0]), 10, 64)
		count, errCount := strconv.ParseInt(string(fields[1]), 10, 64)
		if err != nil || errCount != nil {
			return usage, false
		}
		usage.Bytes += size
		usage.Messages += count
		ok = true
	}
	return usage, ok && usage.Bytes >= 0 && usage.Messages >= 0
}

// walk measures a Maildir++ by reading its directories: those of the mailbox and of its folders. Most file
// names contain the size of the message.
func (s *Store) walk(ctx context.Context, box *os.File) (store.Usage, error) {
	var usage store.Usage
	names, err := dirNames(box)
	if err != nil {
		return usage, classify("list the mailbox", err)
	}
	folders := []string{"cur", "new"}
	for _, name := range names {
		if strings.HasPrefix(name, ".") && name != "." && name != ".." {
			folders = append(folders, name+"/cur", name+"/new")
		}
	}
	for _, folder := range folders {
		if err := ctx.Err(); err != nil {
			return usage, fmt.Errorf("%w: measuring the mailbox takes too long", store.ErrBusy)
		}
		if err := s.walkFolder(box, folder, &usage); err != nil {
			return usage, err
		}
	}
	return usage, nil
}

func (s *Store) walkFolder(box *os.File, folder string, usage *store.Usage) error {
	dir, err := openDir(box, folder, s.owner)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, store.ErrUnsafe) {
		return nil // Some programs leave files or links with such names.
	}
	if err != nil {
		return classify("open "+folder, err)
	}
	defer func() { _ = dir.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err == nil {
		if m := time.Unix(st.Mtim.Unix()); m.After(usage.Modified) {
			usage.Modified = m
		}
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return classify("list "+folder, err)
	}
	for _, name := range names {
		size, ok := sizeInName(name)
		if !ok {
			var st unix.Stat_t
			switch err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); {
			case errors.Is(err, unix.ENOENT), err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG:
				continue // The file was removed meanwhile, or is not a message.
			case err != nil:
				return classify("measure "+folder, err)
			}
			size = st.Size
		}
		usage.Bytes += size
		usage.Messages++
	}
	return nil
}

// dirNames returns the names in a directory. It opens the directory again, so the offset of dir does not
// change.
func dirNames(dir *os.File) ([]string, error) {
	again, err := openBeneath(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = again.Close() }()
	return again.Readdirnames(-1)
}

// sizeInName returns the size of a message from its file name, such as 1234.host,S=4711,W=4800:2,S
func sizeInName(name string) (int64, bool) {
	_, rest, ok := strings.Cut(name, ",S=")
	if !ok {
		return 0, false
	}
	digits := rest
	if i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		digits = rest[:i]
	}
	size, err := strconv.ParseInt(digits, 10, 64)
	return size, err == nil
}
