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
	// sizeName is the Maildir++ file with a mailbox's limit and what it holds, which Dovecot's
	// and Courier's quotas keep.
	sizeName = "maildirsize"
	// maxSizeFile bounds it, in bytes; programs rewrite it at 5,120.
	maxSizeFile = 64 << 10
	// trashName is the folder, in a domain's mail, of mailboxes that are being removed.
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

// openBelow opens a folder below the home.
func (s *Store) openBelow(path string) (*os.File, error) {
	home, err := s.openHome()
	if err != nil {
		return nil, err
	}
	defer func() { _ = home.Close() }()
	return openDir(home, path, s.owner)
}

// makeDirs makes the folders of a path below the home that are not there, and tells whether
// the last one is new. Others than those it makes stay as they are.
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
			return false, classify("make the folder "+name, err)
		}
		next, err := openDir(dir, name, s.owner)
		if err != nil {
			return isNew, classify("open the folder "+name, err)
		}
		if isNew {
			// Whatever the umask is.
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

// createDomain makes a domain's folder. A Dovecot that is no root reads it through its group.
func (s *Store) createDomain(domain string) error {
	_, err := s.makeDirs("etc/"+domain, 0o750)
	return err
}

// createMaildir makes a mailbox's folder and tells whether there was none.
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

// removeEmptyMaildir takes back what createMaildir made, where nothing came into it.
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

// moveAway moves a mailbox's folder out of the way.
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

// emptyTrash removes what was moved away, also what a deletion that was killed left.
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
		return classify("open the folder "+trashName, err)
	}
	defer func() { _ = trash.Close() }()
	// The root does not lead out of the folder, whatever links lie in it.
	root, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(int(trash.Fd())))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // Another deletion emptied and removed it.
	}
	if err != nil {
		return classify("open the folder "+trashName, err)
	}
	defer func() { _ = root.Close() }()
	names, err := dirNames(trash)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return classify("list the folder "+trashName, err)
	}
	for _, name := range names {
		if err := root.RemoveAll(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return classify("remove the mail", err)
		}
	}
	// Another deletion may have put something into it.
	_ = unix.Unlinkat(int(parent.Fd()), trashName, unix.AT_REMOVEDIR)
	return nil
}

// moveToTrash moves a mailbox's folder into the folder of those that are being removed, and
// returns that.
func (s *Store) moveToTrash(parent *os.File, localpart string) (*os.File, error) {
	name := localpart + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	for {
		if err := unix.Mkdirat(int(parent.Fd()), trashName, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, classify("make the folder "+trashName, err)
		}
		trash, err := openDir(parent, trashName, s.owner)
		if errors.Is(err, fs.ErrNotExist) {
			continue // Another deletion removed it at this moment.
		}
		if err != nil {
			return nil, classify("open the folder "+trashName, err)
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

// writeLimit writes a mailbox's limit to where programs that deliver look for it. A mailbox
// without mail and without a limit needs none.
func (s *Store) writeLimit(domain, localpart string, limit int64) error {
	box, err := s.openBelow("mail/" + domain + "/" + localpart)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // Its mail lies elsewhere, or none came yet.
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
	// Counted anew: the file that is there may be one that nobody keeps.
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
		return store.Usage{}, nil // No mail came yet.
	}
	if err != nil {
		return store.Usage{}, classify("open the mailbox", err)
	}
	defer func() { _ = dir.Close() }()
	return s.measure(ctx, dir)
}

// MainUsage implements store.Store: the mail folder itself is a Maildir, too.
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

// measure returns what a mailbox's folder holds: by its maildirsize, or by a walk.
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

// Recount implements store.Store: it writes the limit and what there is anew.
func (s *Store) Recount(ctx context.Context, box store.Address) error {
	b, err := s.Mailbox(ctx, box)
	if err != nil {
		return err
	}
	return s.writeLimit(box.Domain, box.Localpart, b.Quota)
}

// newer tells whether messages came or went after a maildirsize was written: programs that keep
// it write it behind each of them.
func (s *Store) newer(box *os.File, size unix.Stat_t) bool {
	for _, sub := range []string{"new", "cur"} {
		var st unix.Stat_t
		if err := unix.Fstatat(int(box.Fd()), sub, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && st.Mtim.Sec > size.Mtim.Sec+1 {
			return true
		}
	}
	return false
}

// parseSize reads a maildirsize: the limit in the first line, then what was added and taken
// away, in bytes and messages.
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

// walk measures a Maildir++: the messages of the mailbox and of its folders. The size stands
// in most names.
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
		return nil // Programs leave files and links with such names; they are no mail.
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
				continue // It went away meanwhile, or is no message.
			}
			size = st.Size
		}
		usage.Bytes += size
		usage.Messages++
	}
	return nil
}

// dirNames lists a folder; the descriptor stays as it is.
func dirNames(dir *os.File) ([]string, error) {
	again, err := openBeneath(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = again.Close() }()
	return again.Readdirnames(-1)
}

// sizeInName reads the size from a message's name: 1234.host,S=4711,W=4800:2,S
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
