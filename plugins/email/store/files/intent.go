package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// A change that writes several files, or files and directories, can be cut off between two of them. Before the
// first of these steps, the change writes its work to the file intentName. The next process that locks the domain
// makes the same change again, which has the same result whatever part of it was done, and removes the file. So
// each change is made as a whole, or not at all.

// intentName is the file with the work of a change that has begun.
const intentName = ".liveapid.intent"

// work describes a change, so that it can be made again.
type work struct {
	Kind      kind          `json:"kind"`
	Localpart string        `json:"localpart,omitempty"`
	Entries   []store.Entry `json:"entries,omitempty"`  // For createBox: all entries are created, or none.
	Transfer  bool          `json:"transfer,omitempty"` // For createBox: the mail that is already there belongs to the mailboxes.
	Replace   bool          `json:"replace,omitempty"`  // For createBox: existing mailboxes get the data of the entries.
	Hash      string        `json:"-"`                  // For setHash, which needs no record.
	// The state before the change, so that a change is not made again after another program has changed the mailbox: for
	// deleteBox the field in shadow and the identity of the directory with the mail, for setQuota the field in quota.
	Was   string           `json:"was,omitempty"`
	Dir   string           `json:"dir,omitempty"`
	Quota int64            `json:"quota,omitempty"` // For setQuota.
	Flags store.Suspension `json:"flags,omitempty"` // For suspend.
	On    bool             `json:"on,omitempty"`    // For suspend.
	Keep  store.Keep       `json:"keep"`            // For deleteBox.
}

// check returns an error if the work is not one that a change to the domain would have written.
func (w work) check(domain string) error {
	names := []string{w.Localpart}
	switch w.Kind {
	case createBox:
		names = nil
		for _, e := range w.Entries {
			if err := e.Check(); err != nil || e.Domain != domain {
				return fmt.Errorf("%w: an entry for %.100q", store.ErrUnsafe, e.String())
			}
			names = append(names, e.Localpart)
		}
	case deleteBox, setQuota, suspend:
		if w.Quota < 0 {
			return fmt.Errorf("%w: a negative quota", store.ErrUnsafe)
		}
	default:
		return fmt.Errorf("%w: kind %d", store.ErrUnsafe, w.Kind)
	}
	for _, name := range names {
		if a, err := store.NewAddress(name, domain); err != nil || a.Localpart != name {
			return fmt.Errorf("%w: the name %.100q", store.ErrUnsafe, name)
		}
	}
	return nil
}

// writeIntent writes the work of a batch of changes. From here on, the changes will be made, even if this process
// ends, unless abandon removes the file.
func (t *tx) writeIntent(batch []*change) error {
	var all []work
	for _, c := range batch {
		if c.err == nil || errors.Is(c.err, store.ErrAside) {
			all = append(all, c.work)
		}
	}
	if len(all) == 0 {
		return nil
	}
	content, err := json.Marshal(all)
	if err != nil {
		return err
	}
	f := &txFile{name: intentName, content: content}
	defer func() {
		if f.temp != nil {
			t.discardTemp(f)
			_ = f.temp.Close()
		}
	}()
	if err := t.writeTemp(f); err != nil {
		return err
	}
	if err := t.s.disk.rename(t.dir, tempOf(intentName), intentName); err != nil {
		return classify("rename the record of the change", err)
	}
	t.intent = true
	if err := t.s.disk.syncDir(t.dir, f.temp); err != nil {
		return t.abandon(classify("sync the directory", err))
	}
	return nil
}

// abandon removes the record of a change of which nothing is visible yet, and returns err, the reason. If the
// record can't be removed, the outcome is unknown: the next process will make the change.
func (t *tx) abandon(err error) error {
	if !t.intent {
		return err
	}
	removed := t.s.disk.unlink(t.dir, intentName)
	if removed == nil {
		removed = t.s.disk.syncDir(t.dir, t.lock)
	}
	if removed != nil {
		return fmt.Errorf("%w: %w: remove the record of the change: %w", store.ErrUnknown, err, removed)
	}
	t.intent = false
	return err
}

// conclude removes the record of a change that has been made. If that fails, the next process makes the change
// again, as far as no other program has changed the mailboxes meanwhile.
func (t *tx) conclude() {
	if t.intent {
		_ = t.s.disk.unlink(t.dir, intentName)
	}
}

// temporary are the names of all temporary files that a change may leave.
var temporary = []string{
	tempOf(shadowName), tempOf(passwdName), tempOf(quotaName), tempOf(flagFiles[0].name), tempOf(flagFiles[1].name),
	tempOf(flagFiles[2].name), tempOf(keptName), tempOf(intentName),
}

// recover removes the temporary files that an interrupted change left, and finishes the change if it had begun.
// It must be called before the lock's holder does anything else.
func (s *Store) recover(dir, lock *os.File, domain string) ([]work, error) {
	for _, name := range temporary {
		_ = unix.Unlinkat(int(dir.Fd()), name, 0)
	}
	content, _, err := readFile(dir, intentName, s.owner)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, classify("read the record of an interrupted change", err)
	}
	var all []work
	err = json.Unmarshal(content, &all)
	for i := 0; i < len(all) && err == nil; i++ {
		if err = all[i].check(domain); err == nil && all[i].Kind != all[0].Kind {
			err = store.ErrUnsafe
		}
	}
	if err != nil || len(all) == 0 {
		return nil, fmt.Errorf("%w: the record of an interrupted change, %s, can't be read; remove it if no other version of this program wrote it: %w", store.ErrUnsafe, intentName, err)
	}
	t := &tx{s: s, dir: dir, lock: lock, files: make(map[string]*txFile), redo: true, intent: true}
	defer t.close()
	batch := make([]*change, len(all))
	for i := range all {
		batch[i] = &change{work: all[i]}
	}
	switch err := t.apply(domain, batch); {
	case errors.Is(err, errRaced):
		return nil, err
	case errors.Is(err, errInherits) && !t.intent:
		return nil, nil // Nothing of it was visible, and it was given up.
	case err != nil:
		return nil, fmt.Errorf("finish an interrupted change: %w", withoutUnknown(err))
	}
	if err := s.disk.unlink(dir, intentName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, classify("remove the record of an interrupted change", err)
	}
	var made []work
	for i, c := range batch {
		if c.err == nil || errors.Is(c.err, store.ErrAside) || errors.Is(c.err, store.ErrPartly) {
			made = append(made, all[i])
		}
	}
	return made, nil
}

// withoutUnknown returns err for the change that was asked for: nothing of it was made, even if the outcome of an
// earlier change, which had to be finished first, is still unknown.
func withoutUnknown(err error) error {
	if !errors.Is(err, store.ErrUnknown) {
		return err
	}
	for _, known := range []error{store.ErrFull, store.ErrReadOnly} {
		if errors.Is(err, known) {
			return fmt.Errorf("%w: %s", known, err.Error())
		}
	}
	return fmt.Errorf("%w: %s", store.ErrBusy, err.Error())
}

// finished reports whether a change that was cut off, and that this holder of the lock has finished, did the same
// work. Then the caller is trying the change again.
func (t *tx) finished(k kind, localpart string) bool {
	return slices.ContainsFunc(t.recovered, func(w work) bool {
		return w.Kind == k && (w.Localpart == localpart && k != createBox ||
			slices.ContainsFunc(w.Entries, func(e store.Entry) bool { return e.Localpart == localpart }))
	})
}
