package files

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// newMode is the mode of a new file: Dovecot reads it as root, or through the directory's group.
const newMode = 0o640

// tx is a change to the files of a domain, under the domain's lock: they are read, changed in memory, and
// written by commit.
type tx struct {
	s         *Store
	dir, lock *os.File
	files     map[string]*txFile
}

// txFile is a file of a tx.
type txFile struct {
	name    string
	old     *os.File // Nil if the file did not exist.
	st      unix.Stat_t
	before  []byte
	content []byte // The new content.
	temp    *os.File
}

func (t *tx) close() {
	for _, f := range t.files {
		if f.old != nil {
			_ = f.old.Close()
		}
		if f.temp != nil {
			_ = f.temp.Close()
		}
	}
}

// load reads a file, once. A missing file is empty.
func (t *tx) load(name string) (*txFile, error) {
	if f := t.files[name]; f != nil {
		return f, nil
	}
	old, st, err := openFile(t.dir, name, unix.O_RDONLY, 0, t.s.owner)
	if errors.Is(err, fs.ErrNotExist) {
		f := &txFile{name: name}
		t.files[name] = f
		return f, nil
	}
	if err != nil {
		return nil, classify("open "+name, err)
	}
	f := &txFile{name: name, old: old, st: st}
	t.files[name] = f // From here on, close closes it.
	f.before, err = readAll(old, st.Size)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) && st.Size > 0 {
		return nil, errRaced // It became shorter, so another program is writing it in place.
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	f.content = f.before
	return f, nil
}

// commit writes the changed files: first a temporary file for each, which may fail and leaves everything as
// it was, then it renames them into place in the given order.
func (t *tx) commit(order ...string) error {
	changed, err := t.changed(order)
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range changed {
			if f.temp != nil {
				t.discardTemp(f)
			}
		}
	}()
	for _, f := range changed {
		if err := t.writeTemp(f); err != nil {
			return err
		}
	}
	if !t.undisturbed(changed) {
		return errRaced
	}
	return t.renameAll(changed)
}

// changed returns the files to write, in the given order.
func (t *tx) changed(order []string) ([]*txFile, error) {
	var changed []*txFile
	for _, name := range order {
		f := t.files[name]
		if f == nil || f.content == nil && f.old == nil || f.old != nil && bytes.Equal(f.before, f.content) {
			continue
		}
		if len(f.content) > MaxFile {
			return nil, fmt.Errorf("%w: %s would have more than %d bytes", store.ErrUnsafe, name, MaxFile)
		}
		if f.old != nil && addsLine(f.before, f.content) && !t.settled(f) {
			return nil, errRaced
		}
		changed = append(changed, f)
	}
	return changed, nil
}

// undisturbed reports whether no other program changed anything since the files were read. It also checks the
// files that stay as they are, because the change depends on what was read from them.
func (t *tx) undisturbed(changed []*txFile) bool {
	for _, f := range t.files {
		if !t.untouched(f) {
			return false
		}
	}
	if !isStill(t.dir, lockName, t.lock) {
		return false
	}
	for _, f := range changed {
		if !isStill(t.dir, tempOf(f.name), f.temp) {
			return false
		}
	}
	return true
}

// renameAll renames the temporary files into place. After the first rename an error means that the outcome is
// unknown.
func (t *tx) renameAll(changed []*txFile) error {
	for i, f := range changed {
		if err := t.s.disk.rename(t.dir, tempOf(f.name), f.name); err != nil {
			err = classify("rename the new "+f.name, err)
			if i > 0 {
				return fmt.Errorf("%w: %w", store.ErrUnknown, err)
			}
			return err
		}
		// From here on readers see the change. Until the directory is synced, a power failure may undo it.
		if err := t.s.disk.syncDir(t.dir, f.temp); err != nil {
			return fmt.Errorf("%w: sync the directory: %w", store.ErrUnknown, err)
		}
	}
	return nil
}

// addsLine reports whether next has more lines than content.
func addsLine(content, next []byte) bool {
	return bytes.Count(next, []byte{'\n'}) > bytes.Count(content, []byte{'\n'})
}

// settled reports whether a complete file was read. A file that is empty or has no newline at its end may be
// half written by a program that writes it in place. Adding a line to it would lose all other lines, so the
// file must stay unchanged for a moment first.
func (t *tx) settled(f *txFile) bool {
	if bytes.HasSuffix(f.before, []byte{'\n'}) {
		return true
	}
	t.s.settle()
	return t.untouched(f)
}

// discardTemp removes the temporary file if its name still means this file.
func (t *tx) discardTemp(f *txFile) {
	if isStill(t.dir, tempOf(f.name), f.temp) {
		_ = t.s.disk.unlink(t.dir, tempOf(f.name))
	}
}

// isStill reports whether name still means the file f.
func isStill(dir *os.File, name string, f *os.File) bool {
	var named, open unix.Stat_t
	return unix.Fstatat(int(dir.Fd()), name, &named, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		unix.Fstat(int(f.Fd()), &open) == nil && named.Ino == open.Ino && named.Dev == open.Dev
}

// untouched reports whether a file is unchanged since it was opened, or still does not exist.
func (t *tx) untouched(f *txFile) bool {
	var current unix.Stat_t
	err := unix.Fstatat(int(t.dir.Fd()), f.name, &current, unix.AT_SYMLINK_NOFOLLOW)
	if f.old == nil {
		return errors.Is(err, unix.ENOENT)
	}
	return err == nil && same(current, f.st)
}

// same reports whether two states are of the same unchanged file.
func same(a, b unix.Stat_t) bool {
	return a.Ino == b.Ino && a.Dev == b.Dev && a.Size == b.Size && a.Mtim == b.Mtim && a.Ctim == b.Ctim
}

// writeTemp writes a file's content to its temporary file, with the owner, mode and ACL of the old file, and
// syncs it. If it fails, it leaves nothing.
func (t *tx) writeTemp(f *txFile) error {
	// An interrupted change may have left a temporary file. The lock means that nobody uses it.
	if err := t.s.disk.unlink(t.dir, tempOf(f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return classify("remove an old temporary file", err)
	}
	var err error
	if f.temp, err = t.s.disk.create(t.dir, tempOf(f.name)); err != nil {
		return classify("create the temporary file", err)
	}
	return t.s.fillTemp(f)
}

func (s *Store) fillTemp(f *txFile) error {
	if err := s.disk.write(f.temp, f.content); err != nil {
		return classify("write the temporary file", err)
	}
	if f.old == nil {
		// A default ACL of the directory must not give access to others.
		if err := s.disk.setACL(f.temp, nil); err != nil {
			return classify("drop the ACL", err)
		}
		if err := s.disk.chmod(f.temp, newMode); err != nil {
			return classify("set the mode", err)
		}
	} else {
		if err := s.likeOld(f.temp, f.old, f.st); err != nil {
			return err
		}
		if err := s.setMtime(f.temp, f.st.Mtim); err != nil {
			return classify("set the time", err)
		}
	}
	if err := s.disk.sync(f.temp); err != nil {
		return classify("sync the temporary file", err)
	}
	return nil
}
