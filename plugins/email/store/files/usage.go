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
	var dir *os.File // The mail of domain; nil if it can't be opened.
	domain := ""
	defer func() { _ = dir.Close() }()
	for i, box := range boxes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if box.Domain != domain {
			_ = dir.Close()
			dir, _ = s.openBelow("mail/" + box.Domain)
			domain = box.Domain
		}
		var ok bool
		if usages[i], ok = s.quickUsage(dir, box.Localpart); ok {
			continue
		}
		var err error
		if usages[i], err = s.Usage(ctx, box); err != nil {
			return nil, &store.AtError{At: box, Err: err}
		}
	}
	return usages, nil
}

// quickUsage does the same as Usage for a mailbox in the mail directory of its domain, if its maildirsize is valid and
// current. Otherwise, or if anything is not as usual, ok is false. It makes a third of the system calls.
func (s *Store) quickUsage(domain *os.File, name string) (usage store.Usage, ok bool) {
	if domain == nil {
		return usage, false
	}
	open := func(dir int, name string, flags uint64) (int, unix.Stat_t, bool) {
		var st unix.Stat_t
		fd, err := unix.Openat2(dir, name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK | flags, Resolve: resolve})
		if err != nil {
			return -1, st, false
		}
		if err := unix.Fstat(fd, &st); err != nil || int(st.Uid) != s.owner {
			_ = unix.Close(fd)
			return -1, st, false
		}
		return fd, st, true
	}
	box, _, ok := open(int(domain.Fd()), name, unix.O_DIRECTORY)
	if !ok {
		return usage, false
	}
	defer func() { _ = unix.Close(box) }()
	file, st, ok := open(box, sizeName, 0)
	if !ok {
		return usage, false
	}
	defer func() { _ = unix.Close(file) }()
	if checkFile(sizeName, st, s.owner) != nil || st.Size > maxSizeFile {
		return usage, false
	}
	content := make([]byte, st.Size)
	n, err := unix.Pread(file, content, 0)
	if err != nil {
		return usage, false
	}
	if usage, ok = parseSize(content[:n]); !ok || newer(box, st) {
		return store.Usage{}, false
	}
	usage.Modified = time.Unix(st.Mtim.Unix())
	return usage, true
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
			if usage, ok := parseSize(content[:n]); ok && !newer(int(box.Fd()), st) {
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
func newer(box int, size unix.Stat_t) bool {
	for _, sub := range []string{"new", "cur"} {
		var st unix.Stat_t
		if err := unix.Fstatat(box, sub, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && st.Mtim.Sec > size.Mtim.Sec+1 {
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
