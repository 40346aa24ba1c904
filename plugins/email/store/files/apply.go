package files

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// flagFiles lists the suspensions that are stored in files of their own. Such a file contains a line for each
// suspended mailbox, and the programs that deliver and send mail read the file. A suspended login is not
// stored in such a file, but as a mark in front of the hash.
var flagFiles = []struct {
	flag store.Suspension
	name string
}{
	{store.Incoming, "suspended_incoming"},
	{store.Outgoing, "suspended_outgoing"},
	{store.Hold, "hold_outgoing"},
}

// keptName is the file with a line for each deleted mailbox whose mail was kept. A new mailbox of the name gets
// that mail.
const keptName = "kept_mail"

// apply makes a batch of changes, which are all of the same kind. A change that fails stores its error in err
// and does not affect the others. The returned error concerns the whole batch.
func (t *tx) apply(domain string, batch []*change) error {
	switch batch[0].Kind {
	case setHash:
		return t.setHashes(batch)
	case createBox:
		return t.create(domain, batch)
	case deleteBox:
		return t.delete(domain, batch)
	case setQuota:
		return t.setQuotas(domain, batch)
	case unlock:
		return t.unlock(batch)
	default:
		return t.suspend(batch)
	}
}

func (t *tx) setHashes(batch []*change) error {
	hashes := make(map[string]string, len(batch))
	for _, c := range batch {
		hashes[c.Localpart] = c.Hash // The later of two changes to a mailbox wins.
	}
	shadow, err := t.load(shadowName)
	if err != nil {
		return err
	}
	next, failed := setHashes(shadow.content, hashes, t.s.now(), t.s.inPasswd(t.dir))
	shadow.content = next
	for _, c := range batch {
		c.err = failed[c.Localpart]
	}
	return t.commit(shadowName)
}

// loadAll loads all files that contain lines for mailboxes. It returns the files passwd, shadow and quota;
// callers find the other files in t.files.
func (t *tx) loadAll() (passwd, shadow, quota *txFile, err error) {
	for _, name := range []string{flagFiles[0].name, flagFiles[1].name, flagFiles[2].name, keptName, passwdName, shadowName, quotaName} {
		if _, err := t.load(name); err != nil {
			return nil, nil, nil, err
		}
	}
	return t.files[passwdName], t.files[shadowName], t.files[quotaName], nil
}

// exists reports whether passwd or shadow contains a line for localpart.
func exists(passwd, shadow *txFile, localpart string) bool {
	return hasLine(shadow.content, localpart) || hasLine(passwd.content, localpart)
}

// create adds mailboxes. A mailbox can be used as soon as shadow contains its line, so shadow is written
// after the files with the quota and the flags.
func (t *tx) create(domain string, batch []*change) error {
	passwd, shadow, quota, err := t.loadAll()
	if err != nil {
		return err
	}
	taken := newNames(shadow.content, passwd.content)
	kept := newNames(t.files[keptName].content)
	created := make(map[string]bool) // Lines left by old namesakes, or by a change that was cut off, are removed.
	boxes := maildirs{s: t.s, domain: domain, redo: t.redo}
	var lines newLines
	for _, c := range batch {
		if c.err = t.mayCreate(c, taken, created, shadow.content); c.err != nil {
			continue
		}
		for _, e := range c.Entries {
			boxes.all = append(boxes.all, newMaildir{box: e.Mailbox, inherits: c.Transfer || kept.has(e.Localpart) || taken.has(e.Localpart), change: c})
			taken.add(e.Localpart)
			created[e.Localpart] = true
			lines.add(t.s, domain, e)
		}
	}
	if len(created) == 0 {
		return nil
	}
	quota.content = appendLines(withoutLines(quota.content, created), lines.quota)
	shadow.content = appendLines(withoutLines(shadow.content, created), lines.shadow)
	passwd.content = appendLines(withoutLines(passwd.content, created), lines.passwd)
	for i, f := range flagFiles {
		file := t.files[f.name]
		file.content = appendLines(withoutLines(file.content, created), lines.flags[i])
	}
	t.files[keptName].content = withoutLines(t.files[keptName].content, created)
	order := []string{quotaName, flagFiles[0].name, flagFiles[1].name, flagFiles[2].name, shadowName, passwdName, keptName}
	if err := t.commitWhole(batch, order, &directories{make: boxes.make, undo: boxes.undo}); err != nil {
		return err
	}
	boxes.limit()
	t.conclude()
	return nil
}

// mayCreate returns an error if the mailboxes of a change can't be created: one exists, or another change of the
// same batch creates it.
func (t *tx) mayCreate(c *change, taken *nameSet, created map[string]bool, shadow []byte) error {
	for _, e := range c.Entries {
		switch {
		case created[e.Localpart] && c.Replace:
			return fmt.Errorf("%w: another change creates %s at the same time", store.ErrBusy, e.Localpart)
		case created[e.Localpart]:
			return fmt.Errorf("%w: %s", store.ErrExists, e.Localpart)
		case t.redo:
			// If another program has changed the mailbox since the change was cut off, that is newer.
			if l, _, found := find(shadow, e.Localpart); found && string(l.field) != e.Field() && !c.Replace {
				return fmt.Errorf("%w: %s", store.ErrExists, e.Localpart)
			}
		}
	}
	if name, ok := taken.any(c.Entries); ok && !c.Replace && !t.redo && !t.finished(createBox, name) {
		return fmt.Errorf("%w: %s", store.ErrExists, name)
	}
	return nil
}

// newLines collects the lines to add for new mailboxes, by file.
type newLines struct {
	passwd, shadow, quota []string
	flags                 [3][]string
}

func (l *newLines) add(s *Store, domain string, e store.Entry) {
	day := strconv.FormatInt(s.now().Unix()/86400, 10)
	l.quota = append(l.quota, e.Localpart+":"+strconv.FormatInt(e.Quota, 10))
	l.shadow = append(l.shadow, e.Localpart+":"+e.Field()+":"+day+"::::::")
	l.passwd = append(l.passwd, strings.Join([]string{
		e.Localpart, "x", strconv.Itoa(s.owner), strconv.Itoa(s.group), "",
		s.home + "/mail/" + domain + "/" + e.Localpart, "/bin/false",
	}, ":"))
	for i, f := range flagFiles {
		if e.Suspended.Has(f.flag) {
			l.flags[i] = append(l.flags[i], e.Localpart+":")
		}
	}
}

// delete removes mailboxes. A mailbox can't be used any more as soon as shadow has no line for it.
func (t *tx) delete(domain string, batch []*change) error {
	passwd, shadow, quota, err := t.loadAll()
	if err != nil {
		return err
	}
	taken := newNames(shadow.content, passwd.content)
	gone, goneQuota, goneMail := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	unreachable := make(map[string]error) // Why the mail can't be removed.
	var kept []string
	for _, c := range batch {
		if gone[c.Localpart] || !taken.has(c.Localpart) && !t.redo {
			if !t.finished(deleteBox, c.Localpart) || gone[c.Localpart] {
				c.err = store.ErrNoMailbox
			}
			continue
		}
		l, _, inShadow := find(shadow.content, c.Localpart)
		if t.redo && inShadow && string(l.field) != c.Was {
			c.err = store.ErrExists // Another program has made a new mailbox of the name.
			continue
		}
		if !t.redo {
			c.Was = string(l.field)
			c.Dir, unreachable[c.Localpart] = t.s.identityOf(domain, c.Localpart)
		}
		gone[c.Localpart] = true
		if !c.Keep.Quota {
			goneQuota[c.Localpart] = true
		}
		if c.Keep.Mail {
			kept = append(kept, c.Localpart+":")
		} else {
			goneMail[c.Localpart] = true
		}
	}
	passwd.content = withoutLines(passwd.content, gone)
	shadow.content = withoutLines(shadow.content, gone)
	quota.content = withoutLines(quota.content, goneQuota)
	for _, f := range flagFiles {
		t.files[f.name].content = withoutLines(t.files[f.name].content, gone)
	}
	t.files[keptName].content = appendLines(withoutLines(t.files[keptName].content, gone), kept)
	order := []string{passwdName, shadowName, flagFiles[0].name, flagFiles[1].name, flagFiles[2].name, keptName, quotaName}
	if len(gone) == 0 {
		return nil
	}
	if err := t.commitWhole(batch, order, &directories{}); err != nil {
		return err
	}
	// The directories are moved while the lock is still held. After the lock is released, a new mailbox of
	// the same name could already use the directory.
	for _, c := range batch {
		if c.err == nil && goneMail[c.Localpart] {
			if err := cmp.Or(unreachable[c.Localpart], t.s.moveAway(domain, c.Localpart, c.Dir)); err != nil {
				c.err = fmt.Errorf("%w: %w", store.ErrPartly, err)
			}
		}
	}
	t.conclude()
	return nil
}

func (t *tx) setQuotas(domain string, batch []*change) error {
	passwd, shadow, quota, err := t.loadAll()
	if err != nil {
		return err
	}
	for _, c := range batch {
		if !exists(passwd, shadow, c.Localpart) {
			c.err = store.ErrNoMailbox
			continue
		}
		l, _, _ := find(quota.content, c.Localpart)
		if now := store.TrimBlanks(string(l.field)); t.redo && now != c.Was && now != strconv.FormatInt(c.Quota, 10) {
			c.err = store.ErrBusy // Another program has changed the quota meanwhile.
			continue
		} else if !t.redo {
			c.Was = now
		}
		quota.content = setLine(quota.content, c.Localpart, c.Localpart+":"+strconv.FormatInt(c.Quota, 10))
	}
	if err := t.commitWhole(batch, []string{quotaName}, &directories{}); err != nil {
		return err
	}
	for _, c := range batch {
		if c.err != nil {
			continue
		}
		if err := t.s.writeLimit(domain, c.Localpart, c.Quota, true); err != nil {
			c.err = fmt.Errorf("%w: %w", store.ErrPartly, err)
		}
	}
	t.conclude()
	return nil
}

func (t *tx) suspend(batch []*change) error {
	passwd, shadow, _, err := t.loadAll()
	if err != nil {
		return err
	}
	for _, c := range batch {
		if !exists(passwd, shadow, c.Localpart) {
			c.err = store.ErrNoMailbox
			continue
		}
		if c.Flags.Has(store.Login) {
			if c.err = t.markLogin(shadow, c.Localpart, c.On); c.err != nil {
				continue
			}
		}
		t.setFlags(c.Localpart, c.Flags, c.On)
	}
	if err := t.commitWhole(batch, []string{shadowName, flagFiles[0].name, flagFiles[1].name, flagFiles[2].name}, nil); err != nil {
		return err
	}
	t.conclude()
	return nil
}

// setFlags sets or clears the suspensions that are stored as lines of the flag files.
func (t *tx) setFlags(localpart string, flags store.Suspension, on bool) {
	for _, f := range flagFiles {
		if !flags.Has(f.flag) {
			continue
		}
		file := t.files[f.name]
		if on {
			file.content = setLine(file.content, localpart, localpart+":")
		} else {
			file.content = withoutLine(file.content, localpart)
		}
	}
}

// unlock removes the mark of a suspended account from all mailboxes.
func (t *tx) unlock(batch []*change) error {
	shadow, err := t.load(shadowName)
	if err != nil {
		return err
	}
	count := 0
	shadow.content, count = unlockAll(shadow.content)
	for _, c := range batch {
		c.count = count
	}
	return t.commit(shadowName)
}

// markLogin suspends or releases the login: it adds or removes the mark in front of the hash.
func (t *tx) markLogin(shadow *txFile, localpart string, on bool) error {
	e, err := entryFor(shadow.content, localpart)
	if err != nil {
		if on { // The mailbox has no password yet, and stays suspended when it gets one.
			shadow.content = withLine(shadow.content, localpart+":"+store.LoginMark+":"+strconv.FormatInt(t.s.now().Unix()/86400, 10)+"::::::")
		}
		return nil
	}
	flags, own := store.Marked(e.marks, e.hash)
	if flags.Has(store.Locked) && !on {
		return store.ErrSuspended
	}
	has := own != "" && (e.hash != "" || own != store.NoPassword)
	if on && has || !on && e.marks == "" && e.hash != "" {
		return nil // Nothing to change.
	}
	mark := ""
	switch {
	case on && flags.Has(store.Locked):
		mark = store.LockedMark + store.LoginMark
	case on:
		mark = store.LoginMark
	case e.hash == "":
		mark = store.NoPassword // An empty field might let everybody log in.
	}
	shadow.content = applyEdits(shadow.content, e.edits(shadow.content, mark+e.hash, ""), 0)
	return nil
}
