package files

import (
	"strconv"
	"strings"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// flagFiles are the files in which a mailbox has a line while it is suspended so; the login's
// suspension is a mark at its hash. Programs that deliver and send mail read them.
var flagFiles = []struct {
	flag store.Suspension
	name string
}{
	{store.Incoming, "suspended_incoming"},
	{store.Outgoing, "suspended_outgoing"},
	{store.Hold, "hold_outgoing"},
}

// loginMark suspends the login, in front of a hash.
const loginMark = "!"

// apply makes changes of one kind. What can't be made has its err, and leaves the others.
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
		hashes[c.localpart] = c.hash // Of two for one mailbox the later one stays.
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

// loadAll reads all files of mailboxes.
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

// exists tells whether a mailbox stands in one of the two files that say so.
func exists(passwd, shadow *txFile, localpart string) bool {
	return hasLine(shadow.content, localpart) || hasLine(passwd.content, localpart)
}

// create adds mailboxes. Its line in shadow, with which a mailbox can be used, is written
// behind all that it needs.
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
	day := strconv.FormatInt(t.s.now().Unix()/86400, 10)
	for _, c := range batch {
		if exists(passwd, shadow, c.localpart) {
			c.err = store.ErrExists
			continue
		}
		isNew, err := t.s.createMaildir(domain, c.localpart)
		if isNew {
			made = append(made, c.localpart)
		}
		if err == nil {
			err = t.s.writeLimit(domain, c.localpart, c.quota)
		}
		if err != nil {
			undo()
			return err
		}
		mark := ""
		if c.flags.Has(store.Login) {
			mark = loginMark
		}
		quota.content = setLine(quota.content, c.localpart, c.localpart+":"+strconv.FormatInt(c.quota, 10))
		shadow.content = withLine(shadow.content, c.localpart+":"+mark+c.hash+":"+day+"::::::")
		passwd.content = withLine(passwd.content, strings.Join([]string{
			c.localpart, "x", strconv.Itoa(t.s.owner), strconv.Itoa(t.s.group), "",
			t.s.home + "/mail/" + domain + "/" + c.localpart, "/bin/false",
		}, ":"))
		t.setFlags(c.localpart, ^store.Suspension(0), false) // What a dead mailbox of this name left.
		t.setFlags(c.localpart, c.flags, true)
	}
	if err := t.commit(quotaName, flagFiles[0].name, flagFiles[1].name, flagFiles[2].name, shadowName, passwdName); err != nil {
		undo()
		return err
	}
	return nil
}

// delete removes mailboxes. From when its line in shadow is gone, a mailbox is.
func (t *tx) delete(domain string, batch []*change) error {
	passwd, shadow, quota, err := t.loadAll()
	if err != nil {
		return err
	}
	for _, c := range batch {
		if !exists(passwd, shadow, c.localpart) {
			c.err = store.ErrNoMailbox
			continue
		}
		passwd.content = withoutLine(passwd.content, c.localpart)
		shadow.content = withoutLine(shadow.content, c.localpart)
		t.setFlags(c.localpart, ^store.Suspension(0), false)
		if !c.keepQuota {
			quota.content = withoutLine(quota.content, c.localpart)
		}
	}
	return t.commit(passwdName, shadowName, flagFiles[0].name, flagFiles[1].name, flagFiles[2].name, quotaName)
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
		if c.err == nil {
			c.err = t.s.writeLimit(domain, c.localpart, c.quota)
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

// setFlags sets or clears the flags that are lines of files.
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

// markLogin puts the mark that suspends a login in front of a hash, or takes it away.
func (t *tx) markLogin(shadow *txFile, localpart string, on bool) error {
	e, err := find(shadow.content, localpart)
	switch {
	case err != nil && !hasLine(shadow.content, localpart):
		return nil // It has no password, so that there is no login.
	case err != nil:
		return err
	case strings.Contains(e.marker, lockedMark):
		if on {
			return nil // With its account.
		}
		return store.ErrSuspended
	case on == (e.marker != ""):
		return nil
	}
	mark := ""
	if on {
		mark = loginMark
	}
	line := changeHash(shadow.content[e.start:e.end], mark+e.hash)
	shadow.content = append(append(append([]byte(nil), shadow.content[:e.start]...), line...), shadow.content[e.end:]...)
	return nil
}
