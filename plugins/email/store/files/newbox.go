package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// asideName is the directory, among a domain's mailboxes, into which mail is moved that was already in the
// directory of a new mailbox.
const asideName = ".liveapid-kept"

// syncEach is the number of new mailboxes up to which each new directory is synced. For more, syncing the whole
// file system once is faster.
const syncEach = 4

// newMaildir is the directory to make for a new mailbox.
type newMaildir struct {
	box      store.Mailbox
	inherits bool // The mail that is already in the directory belongs to the mailbox.
	change   *change
	isNew    bool
	aside    string // Where the earlier mail was moved, below the domain's mail.
}

// maildirs are the directories of new mailboxes.
type maildirs struct {
	s      *Store
	domain string
	all    []newMaildir
	redo   bool // An interrupted change is finished: the mail server makes the directories that can't be made now.
}

// make makes the directories with their limits, and moves earlier mail away.
func (m *maildirs) make() error {
	each := len(m.all) <= syncEach
	for i := range m.all {
		if err := m.makeOne(&m.all[i], each); err != nil && (!m.redo || errors.Is(err, errInherits)) {
			return err
		}
	}
	if each {
		return nil
	}
	dir, err := m.s.openBelow("mail/" + m.domain)
	if err != nil {
		return classify("open the domain's mail", err)
	}
	defer func() { _ = dir.Close() }()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return classify("sync the file system", err)
	}
	return nil
}

func (m *maildirs) makeOne(n *newMaildir, sync bool) error {
	if !n.inherits {
		aside, err := m.s.setAside(m.domain, n.box.Localpart)
		if err != nil {
			return fmt.Errorf("%w: %w", errInherits, err)
		}
		if n.aside = aside; aside != "" {
			n.change.err = fmt.Errorf("%w: mail/%s/%s", store.ErrAside, m.domain, aside)
		}
	}
	path := "mail/" + m.domain + "/" + n.box.Localpart
	isNew, err := m.s.makeDirs(path, 0o700, sync)
	n.isNew = isNew
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err == nil {
			_, err = m.s.makeDirs(path+"/"+sub, 0o700, sync)
		}
	}
	if err == nil && isNew {
		err = m.s.writeLimit(m.domain, n.box.Localpart, n.box.Quota, sync)
	}
	return err
}

// limit writes the limits of the mailboxes whose directories were already there, after the files have changed.
func (m *maildirs) limit() {
	for _, n := range m.all {
		if n.isNew {
			continue
		}
		if err := m.s.writeLimit(m.domain, n.box.Localpart, n.box.Quota, len(m.all) <= syncEach); err != nil && n.change.err == nil {
			n.change.err = fmt.Errorf("%w: %w", store.ErrPartly, err)
		}
	}
}

// errInherits means that a new mailbox would get earlier mail, because it could not be moved away.
var errInherits = errors.New("files: earlier mail could not be moved away")

// undo removes the directories that make made, and moves earlier mail back.
func (m *maildirs) undo() {
	dir, err := m.s.openBelow("mail/" + m.domain)
	if err != nil {
		return
	}
	defer func() { _ = dir.Close() }()
	for _, n := range m.all {
		if n.isNew {
			m.s.removeEmptyMaildir(m.domain, n.box.Localpart)
		}
		if n.aside != "" {
			n.change.err = nil
			_ = unix.Renameat2(int(dir.Fd()), n.aside, int(dir.Fd()), n.box.Localpart, unix.RENAME_NOREPLACE)
		}
	}
	_ = unix.Unlinkat(int(dir.Fd()), asideName, unix.AT_REMOVEDIR) // Fails if other mail is there.
}

// setAside moves a directory with the name of a new mailbox away, and returns its new path below the domain's
// mail, or "" if the directory is missing or an empty Maildir.
func (s *Store) setAside(domain, localpart string) (string, error) {
	parent, err := s.openBelow("mail/" + domain)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", classify("open the domain's mail", err)
	}
	defer func() { _ = parent.Close() }()
	box, err := openDir(parent, localpart, s.owner)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", classify("open the mailbox's directory", err)
	}
	empty, err := s.isEmptyMaildir(box)
	_ = box.Close()
	if err != nil || empty {
		return "", err
	}
	if err := unix.Mkdirat(int(parent.Fd()), asideName, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return "", classify("make the directory "+asideName, err)
	}
	aside, err := openDir(parent, asideName, s.owner)
	if err != nil {
		return "", classify("open the directory "+asideName, err)
	}
	defer func() { _ = aside.Close() }()
	name := localpart + "-" + s.now().UTC().Format("20060102T150405")
	for i := 1; ; i++ {
		err = unix.Renameat2(int(parent.Fd()), localpart, int(aside.Fd()), name, unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EEXIST) || i > 100 {
			break
		}
		name = localpart + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	}
	if err != nil {
		return "", classify("move earlier mail away", err)
	}
	if err := errors.Join(s.disk.syncDir(parent, aside), s.disk.syncDir(aside, aside)); err != nil {
		_ = unix.Renameat2(int(aside.Fd()), name, int(parent.Fd()), localpart, unix.RENAME_NOREPLACE)
		return "", classify("sync the directory "+asideName, err)
	}
	return asideName + "/" + name, nil
}

// isEmptyMaildir reports whether a directory contains only the files and directories that makeOne makes.
func (s *Store) isEmptyMaildir(box *os.File) (bool, error) {
	names, err := dirNames(box)
	if err != nil {
		return false, classify("list the mailbox's directory", err)
	}
	for _, name := range names {
		switch {
		case name == sizeName || name == tempOf(sizeName):
		case slices.Contains([]string{"tmp", "new", "cur"}, name):
			sub, err := openDir(box, name, s.owner)
			if err != nil {
				return false, classify("open the directory "+name, err)
			}
			within, err := dirNames(sub)
			_ = sub.Close()
			if err != nil || len(within) > 0 {
				return false, err
			}
		default:
			return false, nil
		}
	}
	return true, nil
}

// removeEmptyMaildir removes the directories and the maildirsize file that makeOne made for a mailbox. It keeps
// directories that already contain mail.
func (s *Store) removeEmptyMaildir(domain, localpart string) {
	parent, err := s.openBelow("mail/" + domain)
	if err != nil {
		return
	}
	defer func() { _ = parent.Close() }()
	if box, err := openDir(parent, localpart, s.owner); err == nil {
		for _, name := range []string{sizeName, tempOf(sizeName)} {
			_ = unix.Unlinkat(int(box.Fd()), name, 0)
		}
		for _, sub := range []string{"tmp", "new", "cur"} {
			_ = unix.Unlinkat(int(box.Fd()), sub, unix.AT_REMOVEDIR)
		}
		_ = box.Close()
	}
	_ = unix.Unlinkat(int(parent.Fd()), localpart, unix.AT_REMOVEDIR)
}
