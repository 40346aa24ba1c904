package files

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// List implements store.Store.
func (s *Store) List(ctx context.Context, domains ...string) ([]store.Mailbox, error) {
	var list []store.Mailbox
	for _, domain := range slices.Compact(slices.Sorted(slices.Values(domains))) {
		entries, _, err := s.entries(ctx, domain, false)
		if err != nil {
			return nil, &store.AtError{At: store.Address{Domain: domain}, Err: err}
		}
		list = slices.Grow(list, len(entries))
		for i := range entries {
			list = append(list, entries[i].Mailbox)
		}
	}
	return list, nil
}

// Count implements store.Store.
func (s *Store) Count(ctx context.Context, domains ...string) (int, error) {
	list, err := s.List(ctx, domains...)
	return len(list), err
}

// Entries implements store.Transfer.
func (s *Store) Entries(ctx context.Context, domain string) ([]store.Entry, []store.Odd, error) {
	return s.entries(ctx, domain, true)
}

// entries does the same as Entries. If hashes is false, it leaves the hashes out.
func (s *Store) entries(ctx context.Context, domain string, hashes bool) (entries []store.Entry, odd []store.Odd, err error) {
	dir, err := s.openDomain(domain)
	if errors.Is(err, errNoStore) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = dir.Close() }()
	err = s.consistent(ctx, dir, domain, func(read func(string) ([]byte, error)) (err error) {
		entries, odd, err = readDomain(domain, hashes, read)
		return err
	})
	return entries, odd, err
}

// consistent calls do, which reads several files of a domain with read, so that do sees no change half made. A
// change of several files leaves its record while it is made: if there is one, consistent waits for the lock, and
// finishes a change that was cut off. It calls do again if a file changed meanwhile.
func (s *Store) consistent(ctx context.Context, dir *os.File, domain string, do func(read func(string) ([]byte, error)) error) error {
	var st unix.Stat_t
	begun := func() bool { return unix.Fstatat(int(dir.Fd()), intentName, &st, unix.AT_SYMLINK_NOFOLLOW) == nil }
	for try := 1; ; try++ {
		if begun() {
			// The error is not the reader's: if the change can't be finished, the reader gets the files as they are.
			_ = s.locked(ctx, domain, false, func(*tx) error { return nil })
		}
		read := make(map[string]unix.Stat_t)
		err := do(func(name string) ([]byte, error) {
			content, st, err := readFile(dir, name, s.owner)
			read[name] = st
			if errors.Is(err, fs.ErrNotExist) {
				return nil, nil
			}
			if err != nil {
				return nil, classify("read "+name, err)
			}
			return content, nil
		})
		if try == maxRaces {
			return err
		}
		same := !begun()
		for name, before := range read {
			err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
			same = same && (err == nil && unchanged(st, before) || errors.Is(err, unix.ENOENT) && before.Ino == 0)
		}
		if same {
			return err
		}
	}
}

// Mailbox implements store.Store.
func (s *Store) Mailbox(ctx context.Context, box store.Address) (store.Mailbox, error) {
	dir, err := s.openDomain(box.Domain)
	if err != nil {
		return store.Mailbox{}, err
	}
	defer func() { _ = dir.Close() }()
	var b store.Mailbox
	err = s.consistent(ctx, dir, box.Domain, func(read func(string) ([]byte, error)) (err error) {
		b, err = readOne(box, read)
		return err
	})
	return b, err
}

// readOne returns the data of a mailbox, by the same rules as Read.
func readOne(box store.Address, read func(name string) ([]byte, error)) (store.Mailbox, error) {
	b := store.Mailbox{Address: box, Suspended: store.Login}
	shadow, err := read(shadowName)
	if err != nil {
		return b, err
	}
	if e, err := entryFor(shadow, box.Localpart); err == nil {
		b.Suspended = e.flags()
	} else if passwd, err := read(passwdName); err != nil || !hasLine(passwd, box.Localpart) {
		return store.Mailbox{}, cmp.Or(err, store.ErrNoMailbox)
	}
	quota, err := read(quotaName)
	if err != nil {
		return b, err
	}
	b.Quota, b.BadQuota = quotaOf(quota, box.Localpart)
	for _, f := range flagFiles {
		content, err := read(f.name)
		if err != nil {
			return b, err
		}
		if hasLine(content, box.Localpart) {
			b.Suspended |= f.flag
		}
	}
	return b, nil
}

// Create implements store.Store.
func (s *Store) Create(ctx context.Context, box store.Mailbox, hash string) error {
	return s.create(ctx, &change{work: work{Entries: []store.Entry{{Mailbox: box, Hash: hash}}}})
}

// Import implements store.Transfer.
func (s *Store) Import(ctx context.Context, entries []store.Entry, replace bool) error {
	return s.create(ctx, &change{work: work{Entries: entries, Transfer: true, Replace: replace}})
}

func (s *Store) create(ctx context.Context, c *change) error {
	if len(c.Entries) == 0 {
		return nil
	}
	c.Kind = createBox
	for _, e := range c.Entries {
		if err := e.Check(); err != nil {
			return err
		}
		if e.Domain != c.Entries[0].Domain {
			return fmt.Errorf("%w: the mailboxes to import belong to different domains", store.ErrUnsafe)
		}
	}
	return s.make(ctx, c.Entries[0].Domain, c)
}

// Unlock implements store.Transfer.
func (s *Store) Unlock(ctx context.Context, domain string) (int, error) {
	c := &change{work: work{Kind: unlock}}
	err := s.make(ctx, domain, c)
	if errors.Is(err, errNoStore) {
		return 0, nil
	}
	return c.count, err
}

// Remove implements store.Transfer. The changes of a domain are committed together.
func (s *Store) Remove(ctx context.Context, boxes []store.Address) error {
	changes := make([]*change, len(boxes))
	for i, box := range boxes {
		changes[i] = &change{work: work{Kind: deleteBox, Localpart: box.Localpart, Keep: store.Keep{Mail: true}}, done: make(chan error, 1)}
		s.enqueue(box.Domain, changes[i])
	}
	var failed []error
	for i, c := range changes {
		if err := s.wait(ctx, boxes[i].Domain, c); err != nil && !errors.Is(err, store.ErrNoMailbox) {
			failed = append(failed, fmt.Errorf("%s: %w", boxes[i], err))
		}
	}
	return errors.Join(failed...)
}

// EnforceQuotas writes the limit of each of a domain's mailboxes to its maildirsize file, from which the mail
// server reads it. It leaves mailboxes without a valid quota, and mailboxes that have no directory yet, as they are.
func (s *Store) EnforceQuotas(ctx context.Context, domain string) error {
	list, err := s.List(ctx, domain)
	if err != nil {
		return err
	}
	var failed []error
	for _, b := range list {
		if b.BadQuota != "" {
			continue
		}
		if err := s.writeLimit(domain, b.Localpart, b.Quota, false); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", b.Address, err))
		}
	}
	return errors.Join(failed...)
}

// Delete implements store.Store. The mail is removed after the mailbox was deleted, when the lock is no
// longer held.
func (s *Store) Delete(ctx context.Context, box store.Address, keep store.Keep) error {
	err := s.make(ctx, box.Domain, &change{work: work{Kind: deleteBox, Localpart: box.Localpart, Keep: keep}})
	if errors.Is(err, store.ErrNoMailbox) && !keep.Mail {
		_ = s.emptyTrash(box.Domain) // An earlier deletion may have been cut off.
	}
	if err != nil || keep.Mail {
		return err
	}
	// The change has already moved the mail to the trash, so a new mailbox of the same name has a new
	// directory.
	if err := s.emptyTrash(box.Domain); err != nil {
		return fmt.Errorf("%w: %w", store.ErrPartly, err)
	}
	return nil
}

// SetQuota implements store.Store.
func (s *Store) SetQuota(ctx context.Context, box store.Address, bytes int64) error {
	if bytes < 0 {
		return fmt.Errorf("%w: the quota is negative: %d bytes", store.ErrUnsafe, bytes)
	}
	return s.make(ctx, box.Domain, &change{work: work{Kind: setQuota, Localpart: box.Localpart, Quota: bytes}})
}

// Suspend implements store.Store.
func (s *Store) Suspend(ctx context.Context, box store.Address, flags store.Suspension, on bool) error {
	return s.make(ctx, box.Domain, &change{work: work{Kind: suspend, Localpart: box.Localpart, Flags: flags, On: on}})
}
