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
	// sizeName is the Maildir++ file with a mailbox's limit and size, which the quotas of Dovecot and Courier
	// maintain.
	sizeName = "maildirsize"
	// maxSizeFile limits it, in bytes. Programs rewrite it at 5,120.
	maxSizeFile = 64 << 10
	// trashName is the directory, in a domain's mail, of mailboxes that are being removed.
	trashName = ".liveapid-deleted"
)

// openHome opens the home.
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

// openBelow opens a directory below the home.
func (s *Store) openBelow(path string) (*os.File, error) {
	home, err := s.openHome()
	if err != nil {
		return nil, err
	}
	defer func() { _ = home.Close() }()
	return openDir(home, path, s.owner)
}

// makeDirs makes the missing directories of a path below the home, and reports whether the last is new. It
// does not change existing directories.
func (s *Store) makeDirs(path string, mode uint32) (isNew bool, err error) {
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
			// The umask must not matter.
			if err := unix.Fchmod(int(next.Fd()), mode); err != nil {
				_ = next.Close()
				return isNew, classify("set the mode", err)
			}
		}
		_ = dir.Close()
		dir = next
	}
	return isNew, nil
}

// createDomain makes a domain's directory. A Dovecot that does not run as root reads it through its group.
func (s *Store) createDomain(domain string) error {
	_, err := s.makeDirs("etc/"+domain, 0o750)
	return err
}

// createMaildir makes a mailbox's directory and reports whether it is new.
func (s *Store) createMaildir(domain, localpart string) (isNew bool, err error) {
	path := "mail/" + domain + "/" + localpart
	isNew, err = s.makeDirs(path, 0o700)
	if err != nil {
		return isNew, err
	}
	for _, sub := range []string{"tmp", "new", "cur"} {
		if _, err := s.makeDirs(path+"/"+sub, 0o700); err != nil {
			return isNew, err
		}
	}
	return isNew, nil
}

// removeEmptyMaildir removes the directory of createMaildir if it is still empty.
func (s *Store) removeEmptyMaildir(domain, localpart string) {
	parent, err := s.openBelow("mail/" + domain)
	if err != nil {
		return
	}
	defer func() { _ = parent.Close() }()
	if box, err := openDir(parent, localpart, s.owner); err == nil {
		_ = unix.Unlinkat(int(box.Fd()), sizeName, 0)
		for _, sub := range []string{"tmp", "new", "cur"} {
			_ = unix.Unlinkat(int(box.Fd()), sub, unix.AT_REMOVEDIR)
		}
		_ = box.Close()
	}
	_ = unix.Unlinkat(int(parent.Fd()), localpart, unix.AT_REMOVEDIR)
}

// moveAway moves a mailbox's directory to the trash.
func (s *Store) moveAway(domain, localpart string) error {
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

// emptyTrash removes the directories in the trash, including those that an interrupted deletion left.
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
	// The root keeps the removal inside the directory, whatever links it contains.
	root, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(int(trash.Fd())))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // Another deletion emptied and removed it.
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
	// This fails if another deletion has just moved something into it.
	_ = unix.Unlinkat(int(parent.Fd()), trashName, unix.AT_REMOVEDIR)
	return nil
}

// moveToTrash moves a mailbox's directory into the trash, and returns the trash.
func (s *Store) moveToTrash(parent *os.File, localpart string) (*os.File, error) {
	name := localpart + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	for {
		if err := unix.Mkdirat(int(parent.Fd()), trashName, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, classify("make the directory "+trashName, err)
		}
		trash, err := openDir(parent, trashName, s.owner)
		if errors.Is(err, fs.ErrNotExist) {
			continue // Another deletion removed it at this moment.
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

// writeLimit writes a mailbox's limit to the file that delivery programs read. A mailbox without mail and
// without a limit needs none.
func (s *Store) writeLimit(domain, localpart string, limit int64) error {
	box, err := s.openBelow("mail/" + domain + "/" + localpart)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // Its mail is elsewhere, or no mail has come yet.
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
	// The mail is counted again, because no program may have maintained the existing file.
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

// Usage implements store.Store.
func (s *Store) Usage(ctx context.Context, box store.Address) (store.Usage, error) {
	dir, err := s.openBelow("mail/" + box.Domain + "/" + box.Localpart)
	if errors.Is(err, fs.ErrNotExist) {
		return store.Usage{}, nil // No mail has come yet.
	}
	if err != nil {
		return store.Usage{}, classify("open the mailbox", err)
	}
	defer func() { _ = dir.Close() }()
	return s.measure(ctx, dir)
}

// MainUsage implements store.Store. The mail directory itself is a Maildir, too.
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

// measure returns the size of a mailbox's directory, from its maildirsize or by a walk.
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

// Recount implements store.Store: it writes the limit and the current size again.
func (s *Store) Recount(ctx context.Context, box store.Address) error {
	b, err := s.Mailbox(ctx, box)
	if err != nil {
		return err
	}
	return s.writeLimit(box.Domain, box.Localpart, b.Quota)
}

// newer reports whether messages came or went after a maildirsize was written. Programs that maintain the
// file write it after each message.
func (s *Store) newer(box *os.File, size unix.Stat_t) bool {
	for _, sub := range []string{"new", "cur"} {
		var st unix.Stat_t
		if err := unix.Fstatat(int(box.Fd()), sub, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && st.Mtim.Sec > size.Mtim.Sec+1 {
			return true
		}
	}
	return false
}

// parseSize parses a maildirsize: the limit in the first line, then the changes, in bytes and messages.
func parseSize(content []byte) (usage store.Usage, ok bool) {
	lines := bytes.Split(content, []byte{'\n'})
	for i, line := range lines[1:] {
		fields := bytes.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 {
			return usage, i == len(lines)-2 && i > 0 // A line that is being written.
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

// walk measures a Maildir++: the messages of the mailbox and of its folders. Most names contain the size.
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
		return nil // Programs leave files and links with such names, which are not mail.
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
			if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
				continue // It was removed meanwhile, or is not a message.
			}
			size = st.Size
		}
		usage.Bytes += size
		usage.Messages++
	}
	return nil
}

// dirNames lists a directory. It does not change the descriptor's offset.
func dirNames(dir *os.File) ([]string, error) {
	again, err := openBeneath(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = again.Close() }()
	return again.Readdirnames(-1)
}

// sizeInName returns the size in a message's name: 1234.host,S=4711,W=4800:2,S
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
