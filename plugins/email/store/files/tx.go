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

// newMode is the mode of a new file. Dovecot reads the file as root, or through the group that the file gets
// from the directory.
const newMode = 0o640

// tx is a transaction: a change to a domain's files that is made while the domain's lock is held. load reads
// the files, the caller changes their content in memory, and commit writes them.
type tx struct {
	s         *Store
	dir, lock *os.File
	files     map[string]*txFile
	intent    bool   // The record of the change is in the directory.
	redo      bool   // This change finishes one that was cut off.
	recovered []work // Changes that were cut off, and that the lock's holder has finished.
}

// txFile is a file that a tx has read.
type txFile struct {
	name    string
	old     *os.File // Nil if the file did not exist.
	st      unix.Stat_t
	before  []byte
	content []byte // The new content; before is the old content.
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

// load returns the file called name. The first call for a name reads the file; later calls return the same
// txFile. If the file does not exist, its content is nil.
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
	t.files[name] = f // From here on, t.close closes the file.
	f.before, err = readAll(old, st.Size)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) && st.Size > 0 {
		return nil, errRaced // Truncated: another program is writing the file in place.
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	f.content = f.before
	return f, nil
}

// commit writes a file, if it has changed. It first writes a temporary file; an error in this step leaves
// everything unchanged. Then it renames the temporary file into place.
func (t *tx) commit(name string) error { return t.commitWhole(nil, []string{name}, nil) }

// directories are the changes of directories that belong to a change of files. make makes those that come before
// the files; if it fails, or the files can't be changed, undo is called. The zero value is for directories that
// change after the files.
type directories struct {
	make func() error
	undo func()
}

func (d *directories) begin() error {
	if d == nil || d.make == nil {
		return nil
	}
	return d.make()
}

func (d *directories) back() {
	if d != nil && d.undo != nil {
		d.undo()
	}
}

// commitWhole does the same as commit for several files and for directories, which become visible in the given
// order. With a batch, whose work it records first, all of it happens, or nothing. An error is ErrUnknown if
// a part may be visible; the next change of the domain then finishes it.
func (t *tx) commitWhole(batch []*change, order []string, dirs *directories) error {
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
	if batch != nil && !t.redo && (len(changed) > 1 || dirs != nil) {
		if err := t.writeIntent(batch); err != nil {
			return err
		}
	}
	if err := dirs.begin(); err != nil {
		dirs.back()
		return t.abandon(err)
	}
	// Making directories may take a while.
	if !t.undisturbed(changed) {
		if t.redo {
			return errRaced
		}
		dirs.back()
		return t.abandon(errRaced)
	}
	visible, err := t.renameAll(changed)
	if err != nil && !visible && !t.redo {
		dirs.back()
		return t.abandon(err)
	}
	return err
}

// changed returns the files in order that have changed content, in that order. It returns an error if the new
// content is too large, or errRaced if the old content may be incomplete.
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
// files that this change does not write, because the change depends on their content.
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

// renameAll renames the temporary files into place, and reports whether readers may already see a part of the
// change. If they may, an error is ErrUnknown.
func (t *tx) renameAll(changed []*txFile) (visible bool, err error) {
	for i, f := range changed {
		if err := t.s.disk.rename(t.dir, tempOf(f.name), f.name); err != nil {
			err = classify("rename the new "+f.name, err)
			if i > 0 {
				return true, fmt.Errorf("%w: %w", store.ErrUnknown, err)
			}
			return false, err
		}
	}
	if len(changed) == 0 {
		return false, nil
	}
	// Readers see the change, but a power failure may undo it until the directory is synced.
	if err := t.s.disk.syncDir(t.dir, changed[0].temp); err != nil {
		return true, fmt.Errorf("%w: sync the directory: %w", store.ErrUnknown, err)
	}
	return true, nil
}

// addsLine reports whether next has more lines than content.
func addsLine(content, next []byte) bool {
	return bytes.Count(next, []byte{'\n'}) > bytes.Count(content, []byte{'\n'})
}

// settled reports whether the file was complete when it was read. A program that writes a file in place first
// truncates it, so a file that is empty or lacks a newline at its end may be incomplete. Adding a line to the
// incomplete content would lose all other lines. Such a file must stay unchanged for settleTime to count as
// complete.
func (t *tx) settled(f *txFile) bool {
	if bytes.HasSuffix(f.before, []byte{'\n'}) {
		return true
	}
	t.s.settle()
	return t.untouched(f)
}

// discardTemp removes the temporary file if its name still refers to the file that this change created.
func (t *tx) discardTemp(f *txFile) {
	if isStill(t.dir, tempOf(f.name), f.temp) {
		_ = t.s.disk.unlink(t.dir, tempOf(f.name))
	}
}

// isStill reports whether name in dir still refers to the open file f.
func isStill(dir *os.File, name string, f *os.File) bool {
	var named, open unix.Stat_t
	return unix.Fstatat(int(dir.Fd()), name, &named, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		unix.Fstat(int(f.Fd()), &open) == nil && named.Ino == open.Ino && named.Dev == open.Dev
}

// untouched reports whether the file is unchanged since it was opened, or is still missing if it was missing
// then.
func (t *tx) untouched(f *txFile) bool {
	var current unix.Stat_t
	err := unix.Fstatat(int(t.dir.Fd()), f.name, &current, unix.AT_SYMLINK_NOFOLLOW)
	if f.old == nil {
		return errors.Is(err, unix.ENOENT)
	}
	return err == nil && unchanged(current, f.st)
}

// unchanged reports whether a and b are states of the same file, and the file did not change between them.
func unchanged(a, b unix.Stat_t) bool {
	return a.Ino == b.Ino && a.Dev == b.Dev && a.Size == b.Size && a.Mtim == b.Mtim && a.Ctim == b.Ctim
}

// writeTemp writes a file's new content to a temporary file with the owner, mode and ACL of the old file, and
// syncs it. If writeTemp fails, commit removes the temporary file.
func (t *tx) writeTemp(f *txFile) error {
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
		// The file may have inherited the directory's default ACL, which must not give access to others.
		if err := s.disk.setACL(f.temp, nil); err != nil {
			return classify("drop the ACL", err)
		}
		mode := uint32(newMode)
		if f.name == intentName { // Contains hashes, and only this program reads it.
			mode = 0o600
		}
		if err := s.disk.chmod(f.temp, mode); err != nil {
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
