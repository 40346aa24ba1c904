package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// Store is the store of one account's home.
type Store struct {
	home  string
	owner int
	disk  disk
	now   func() time.Time

	mu     sync.Mutex
	queues map[string]*queue // By domain; those with changes under way.
}

var _ store.PasswordStore = (*Store)(nil)

// New returns the store below home, whose files belong to the running user.
func New(home string) *Store {
	return &Store{home: home, owner: os.Geteuid(), disk: osDisk{}, now: time.Now, queues: make(map[string]*queue)}
}

// queue holds the changes to one domain that wait for the commit under way.
type queue struct{ waiting []*change }

// change is one mailbox's new hash, and the caller who waits for it.
type change struct {
	localpart, hash string
	done            chan error // Buffered: nobody may be there any more.
}

// SetHash implements store.PasswordStore.
func (s *Store) SetHash(ctx context.Context, box store.Address, hash string) error {
	if err := checkHash(hash); err != nil {
		return err
	}
	c := &change{localpart: box.Localpart, hash: hash, done: make(chan error, 1)}
	s.enqueue(box.Domain, c)
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
	}
	if s.withdraw(box.Domain, c) {
		return fmt.Errorf("%w: %w", store.ErrBusy, ctx.Err())
	}
	// It is being written: with the answer that comes at this moment, or without.
	select {
	case err := <-c.done:
		return err
	default:
		return fmt.Errorf("%w: %w", store.ErrUnknown, ctx.Err())
	}
}

func (s *Store) enqueue(domain string, c *change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[domain]
	if q == nil {
		q = &queue{}
		s.queues[domain] = q
		go s.run(domain, q)
	}
	q.waiting = append(q.waiting, c)
}

// withdraw takes back a change that no commit has taken yet.
func (s *Store) withdraw(domain string, c *change) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[domain]
	if q == nil {
		return false
	}
	for i := range q.waiting {
		if q.waiting[i] == c {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// run commits what waits until nothing does. It belongs to no caller: one who leaves
// must not take the others' changes along.
func (s *Store) run(domain string, q *queue) {
	for {
		s.mu.Lock()
		batch := q.waiting
		q.waiting = nil
		if len(batch) == 0 {
			delete(s.queues, domain)
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		s.commitBatch(domain, batch)
	}
}

func (s *Store) commitBatch(domain string, batch []*change) {
	hashes := make(map[string]string, len(batch))
	for _, c := range batch {
		hashes[c.localpart] = c.hash // Of two for one mailbox the later one stays.
	}
	failed, err := s.commit(context.Background(), domain, hashes)
	for _, c := range batch {
		if err != nil {
			c.done <- err
			continue
		}
		c.done <- failed[c.localpart]
	}
}

// Hash implements store.PasswordStore. It needs no lock: a file is replaced whole.
func (s *Store) Hash(_ context.Context, box store.Address) (hash string, suspended bool, err error) {
	dir, err := s.openDomain(box.Domain)
	if err != nil {
		return "", false, err
	}
	defer func() { _ = dir.Close() }()
	content, _, err := readFile(dir, shadowName, s.owner)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, store.ErrNoMailbox
	}
	if err != nil {
		return "", false, classify("read shadow", err)
	}
	e, err := find(content, box.Localpart)
	if errors.Is(err, store.ErrNoMailbox) {
		known, passwdErr := s.inPasswd(dir)(box.Localpart)
		if passwdErr != nil {
			return "", false, passwdErr
		}
		if known {
			return "", true, nil // It exists and has never had a password.
		}
	}
	return e.hash, e.marker != "", err
}

// readAll reads a file of a known size.
func readAll(f *os.File, size int64) ([]byte, error) {
	content := make([]byte, size)
	_, err := io.ReadFull(f, content)
	return content, err
}
