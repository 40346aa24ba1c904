package files

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// List implements store.Store. It needs no lock, because a file is never changed in place, but replaced by a
// new file.
func (s *Store) List(_ context.Context, domain string) ([]store.Mailbox, error) {
	dir, err := s.openDomain(domain)
	if errors.Is(err, errNoStore) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	boxes := make(map[string]*store.Mailbox)
	box := func(name []byte) *store.Mailbox { return boxes[string(name)] }
	add := func(name []byte) *store.Mailbox {
		b := box(name)
		if b == nil {
			// A mailbox with an invalid name is not listed, because no call could use that name.
			if a, err := store.NewAddress(string(name), domain); err == nil && a.Localpart == string(name) {
				b = &store.Mailbox{Address: a}
				boxes[a.Localpart] = b
			}
		}
		return b
	}
	if err := s.eachLineOf(dir, passwdName, func(name, _ []byte) {
		if b := add(name); b != nil {
			b.Suspended |= store.Login // Cleared below if shadow contains a hash.
		}
	}); err != nil {
		return nil, err
	}
	// The first of several lines counts.
	if err := s.eachFirstLineOf(dir, shadowName, func(name, field []byte) {
		if b := add(name); b != nil {
			b.Suspended &^= store.Login
			if marker, hash := splitMarker(string(field)); marker != "" || hash == "" {
				b.Suspended |= store.Login
			}
		}
	}); err != nil {
		return nil, err
	}
	if err := s.eachFirstLineOf(dir, quotaName, func(name, field []byte) {
		if b := box(name); b != nil {
			b.Quota = parseQuota(field)
		}
	}); err != nil {
		return nil, err
	}
	for _, f := range flagFiles {
		if err := s.eachLineOf(dir, f.name, func(name, _ []byte) {
			if b := box(name); b != nil {
				b.Suspended |= f.flag
			}
		}); err != nil {
			return nil, err
		}
	}
	list := make([]store.Mailbox, 0, len(boxes))
	for _, b := range boxes {
		list = append(list, *b)
	}
	store.Sort(list)
	return list, nil
}

// eachLineOf calls do with the first two fields of each line of the file called name.
func (s *Store) eachLineOf(dir *os.File, name string, do func(name, value []byte)) error {
	content, err := s.read(dir, name)
	eachLine(content, do)
	return err
}

// eachFirstLineOf does the same as eachLineOf, but skips further lines of a name.
func (s *Store) eachFirstLineOf(dir *os.File, name string, do func(name, value []byte)) error {
	seen := make(map[string]bool)
	return s.eachLineOf(dir, name, func(name, value []byte) {
		if !seen[string(name)] {
			seen[string(name)] = true
			do(name, value)
		}
	})
}

// Mailbox implements store.Store.
func (s *Store) Mailbox(ctx context.Context, box store.Address) (store.Mailbox, error) {
	_, suspended, err := s.Hash(ctx, box)
	if err != nil {
		return store.Mailbox{}, err
	}
	b := store.Mailbox{Address: box}
	if suspended {
		b.Suspended |= store.Login
	}
	dir, err := s.openDomain(box.Domain)
	if err != nil {
		return b, err
	}
	defer func() { _ = dir.Close() }()
	quota, err := s.read(dir, quotaName)
	if err != nil {
		return b, err
	}
	b.Quota = quotaOf(quota, box.Localpart)
	for _, f := range flagFiles {
		content, err := s.read(dir, f.name)
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
	return s.Import(ctx, []store.Entry{{Mailbox: box, Hash: hash}})
}

// Import implements store.Importer. All mailboxes must belong to the same domain.
func (s *Store) Import(ctx context.Context, entries []store.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	c := &change{kind: createBox, entries: entries}
	for _, e := range entries {
		if err := e.Check(); err != nil {
			return err
		}
		if e.Domain != entries[0].Domain {
			return fmt.Errorf("%w: the mailboxes to import belong to different domains", store.ErrUnsafe)
		}
	}
	return s.make(ctx, entries[0].Domain, c)
}

// Delete implements store.Store. The mail is removed after the mailbox was deleted, when the lock is no
// longer held.
func (s *Store) Delete(ctx context.Context, box store.Address, keep store.Keep) error {
	err := s.make(ctx, box.Domain, &change{kind: deleteBox, localpart: box.Localpart, keep: keep})
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
	return s.make(ctx, box.Domain, &change{kind: setQuota, localpart: box.Localpart, quota: bytes})
}

// Suspend implements store.Store.
func (s *Store) Suspend(ctx context.Context, box store.Address, flags store.Suspension, on bool) error {
	return s.make(ctx, box.Domain, &change{kind: suspend, localpart: box.Localpart, flags: flags, on: on})
}

// Hashes returns the hashes of all mailboxes of a domain, by local part and without the mark of a suspended
// login.
func (s *Store) Hashes(_ context.Context, domain string) (map[string]string, error) {
	dir, err := s.openDomain(domain)
	if errors.Is(err, errNoStore) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	hashes := make(map[string]string)
	err = s.eachFirstLineOf(dir, shadowName, func(name, field []byte) { _, hashes[string(name)] = splitMarker(string(field)) })
	return hashes, err
}
