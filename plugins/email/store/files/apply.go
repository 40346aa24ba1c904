package files

import (
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

// loginMark suspends the login when it precedes the hash.
const loginMark = "!"

// apply makes a batch of changes, which are all of the same kind. A change that fails stores its error in err
// and does not affect the others. The returned error concerns the whole batch.
func (t *tx) apply(domain string, batch []*change) error {
	switch batch[0].kind {
	case setHash:
		return t.setHashes(batch)
	case createBox:
		return t.create(domain, batch)
	case deleteBox:
		return t.delete(domain, batch)
	case setQuota:
		return t.setQuotas(domain, batch)
	default:
		return t.suspend(batch)
	}
}

func (t *tx) setHashes(batch []*change) error {
	hashes := make(map[string]string, len(batch))
	for _, c := range batch {
		hashes[c.localpart] = c.hash // The later of two changes to a mailbox wins.
	}
	shadow, err := t.load(shadowName)
	if err != nil {
		return err
	}
	next, failed := setHashes(shadow.content, hashes, t.s.now(), t.s.inPasswd(t.dir))
	shadow.content = next
	for _, c := range batch {
		c.err = failed[c.localpart]
	}
	return t.commit(shadowName)
}

// loadAll loads all files that contain lines for mailboxes. It returns the files passwd, shadow and quota;
// callers find the flag files in t.files.
func (t *tx) loadAll() (passwd, shadow, quota *txFile, err error) {
	for _, f := range flagFiles {
		if _, err := t.load(f.name); err != nil {
			return nil, nil, nil, err
		}
	}
	if passwd, err = t.load(passwdName); err != nil {
		return nil, nil, nil, err
	}
	if shadow, err = t.load(shadowName); err != nil {
		return nil, nil, nil, err
	}
	quota, err = t.load(quotaName)
	return passwd, shadow, quota, err
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
	var made []string
	undo := func() {
		for _, localpart := range made {
			t.s.removeEmptyMaildir(domain, localpart)
		}
	}
	taken := newNames(shadow.content, passwd.content)
	left := make(map[string]bool) // The new mailboxes: lines left by old namesakes are removed.
	var lines newLines
	for _, c := range batch {
		if name, ok := taken.any(c.entries); ok {
			c.err = fmt.Errorf("%w: %s", store.ErrExists, name)
			continue
		}
		for _, e := range c.entries {
			taken.add(e.Localpart)
			left[e.Localpart] = true
			isNew, err := t.s.createMaildir(domain, e.Localpart)
			if isNew {
				made = append(made, e.Localpart)
			}
			if err == nil {
				err = t.s.writeLimit(domain, e.Localpart, e.Quota)
			}
			if err != nil {
				undo()
				return err
			}
			lines.add(t.s, domain, e)
		}
	}
	quota.content = appendLines(withoutLines(quota.content, left), lines.quota)
	shadow.content = appendLines(shadow.content, lines.shadow)
	passwd.content = appendLines(passwd.content, lines.passwd)
	for i, f := range flagFiles {
		file := t.files[f.name]
		file.content = appendLines(withoutLines(file.content, left), lines.flags[i])
	}
	if err := t.commit(quotaName, flagFiles[0].name, flagFiles[1].name, flagFiles[2].name, shadowName, passwdName); err != nil {
		undo()
		return err
	}
	return nil
}

// newLines collects the lines to add for new mailboxes, by file.
type newLines struct {
	passwd, shadow, quota []string
	flags                 [3][]string
}

func (l *newLines) add(s *Store, domain string, e store.Entry) {
	mark := ""
	if e.Suspended.Has(store.Login) {
		mark = loginMark
	}
	day := strconv.FormatInt(s.now().Unix()/86400, 10)
	l.quota = append(l.quota, e.Localpart+":"+strconv.FormatInt(e.Quota, 10))
	l.shadow = append(l.shadow, e.Localpart+":"+mark+e.Hash+":"+day+"::::::")
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
	gone, goneQuota := make(map[string]bool), make(map[string]bool)
	for _, c := range batch {
		if !taken.has(c.localpart) || gone[c.localpart] {
			c.err = store.ErrNoMailbox
			continue
		}
		gone[c.localpart] = true
		if !c.keep.Quota {
			goneQuota[c.localpart] = true
		}
	}
	passwd.content = withoutLines(passwd.content, gone)
	shadow.content = withoutLines(shadow.content, gone)
	quota.content = withoutLines(quota.content, goneQuota)
	for _, f := range flagFiles {
		t.files[f.name].content = withoutLines(t.files[f.name].content, gone)
	}
	if err := t.commit(passwdName, shadowName, flagFiles[0].name, flagFiles[1].name, flagFiles[2].name, quotaName); err != nil {
		return err
	}
	// The directories are moved while the lock is still held. After the lock is released, a new mailbox of
	// the same name could already use the directory.
	for _, c := range batch {
		if c.err == nil && !c.keep.Mail {
			if err := t.s.moveAway(domain, c.localpart); err != nil {
				c.err = fmt.Errorf("%w: %w", store.ErrPartly, err)
			}
		}
	}
	return nil
}

func (t *tx) setQuotas(domain string, batch []*change) error {
	passwd, shadow, quota, err := t.loadAll()
	if err != nil {
		return err
	}
	for _, c := range batch {
		if !exists(passwd, shadow, c.localpart) {
			c.err = store.ErrNoMailbox
			continue
		}
		quota.content = setLine(quota.content, c.localpart, c.localpart+":"+strconv.FormatInt(c.quota, 10))
	}
	if err := t.commit(quotaName); err != nil {
		return err
	}
	for _, c := range batch {
		if c.err != nil {
			continue
		}
		if err := t.s.writeLimit(domain, c.localpart, c.quota); err != nil {
			c.err = fmt.Errorf("%w: %w", store.ErrPartly, err)
		}
	}
	return nil
}

func (t *tx) suspend(batch []*change) error {
	passwd, shadow, _, err := t.loadAll()
	if err != nil {
		return err
	}
	for _, c := range batch {
		if !exists(passwd, shadow, c.localpart) {
			c.err = store.ErrNoMailbox
			continue
		}
		if c.flags.Has(store.Login) {
			if c.err = t.markLogin(shadow, c.localpart, c.on); c.err != nil {
				continue
			}
		}
		t.setFlags(c.localpart, c.flags, c.on)
	}
	return t.commit(shadowName, flagFiles[0].name, flagFiles[1].name, flagFiles[2].name)
}

// setFlags sets or clears the suspensions that are stored as lines of the flag files.
func (t *tx) setFlags(localpart string, flags store.Suspension, on bool) {
	for _, f := range flagFiles {
		if !flags.Has(f.flag) {
			continue
		}
		file := t.files[f.name]
		switch has := hasLine(file.content, localpart); {
		case on && !has:
			file.content = withLine(file.content, localpart+":")
		case !on && has:
			file.content = withoutLine(file.content, localpart)
		}
	}
}

// markLogin suspends or releases the login: it adds or removes the mark in front of the hash.
func (t *tx) markLogin(shadow *txFile, localpart string, on bool) error {
	e, err := find(shadow.content, localpart)
	switch {
	case err != nil && on: // The mailbox has no password yet, and stays suspended when it gets one.
		shadow.content = withLine(shadow.content, localpart+":"+loginMark+":"+strconv.FormatInt(t.s.now().Unix()/86400, 10)+"::::::")
		return nil
	case err != nil:
		return nil
	case strings.Contains(e.marker, lockedMark):
		if on {
			return nil // The suspended account already prevents every login.
		}
		return store.ErrSuspended
	case on == (e.mark() != ""):
		return nil // Nothing to change.
	}
	mark := ""
	switch {
	case on:
		mark = loginMark
	case e.hash == "":
		mark = store.NoPassword // An empty field might let everybody log in.
	}
	shadow.content = applyEdits(shadow.content, e.edits(changeHash(shadow.content[e.start:e.end], mark+e.hash)), 0)
	return nil
}
