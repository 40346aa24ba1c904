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
	group int
	disk  disk
	now   func() time.Time
	// settle waits for settleTime.
	settle func()

	mu     sync.Mutex
	queues map[string]*queue // By domain; those with changes under way.
}

var _ store.Store = (*Store)(nil)

// New returns the store below home, whose files belong to the running user.
func New(home string) *Store { return NewFor(home, os.Geteuid(), os.Getegid()) }

// NewFor returns the store below home, whose files belong to another user: to look into it.
func NewFor(home string, uid, gid int) *Store {
	return &Store{home: home, owner: uid, group: gid, disk: osDisk{}, now: time.Now, settle: func() { time.Sleep(settleTime) }, queues: make(map[string]*queue)}
}

// queue holds the changes to one domain that wait for the commit under way.
type queue struct{ waiting []*change }

// kind is what a change does. Changes of one kind that wait together are made together.
type kind int

const (
	setHash kind = iota
	createBox
	deleteBox
	setQuota
	suspend
)

// change is one mailbox's change, and the caller who waits for it.
type change struct {
	kind      kind
	localpart string
	entries   []store.Entry    // createBox: all or none.
	hash      string           // setHash.
	quota     int64            // setQuota.
	flags     store.Suspension // suspend.
	on        bool             // suspend.
	keep      store.Keep       // deleteBox.
	err       error            // Why it can't be made; set while the change is made.
	done      chan error       // Buffered: nobody may be there any more.
}

// SetHash implements store.Store.
func (s *Store) SetHash(ctx context.Context, box store.Address, hash string) error {
	if err := store.CheckHash(hash); err != nil {
		return err
	}
	return s.make(ctx, box.Domain, &change{kind: setHash, localpart: box.Localpart, hash: hash})
}

// make has a change made and waits for it.
func (s *Store) make(ctx context.Context, domain string, c *change) error {
	c.done = make(chan error, 1)
	s.enqueue(domain, c)
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
	}
	if s.withdraw(domain, c) {
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
		// The order of kinds decides how files are written, so one commit has one kind.
		for i, c := range batch {
			if c.kind != batch[0].kind {
				batch = batch[:i:i]
				break
			}
		}
		q.waiting = q.waiting[len(batch):]
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
	err := s.locked(context.Background(), domain, batch[0].kind == createBox, func(t *tx) error {
		for _, c := range batch {
			c.err = nil // Another program may have been in the way the first time.
		}
		return t.apply(domain, batch)
	})
	for _, c := range batch {
		if err != nil {
			c.done <- err
			continue
		}
		c.done <- c.err
	}
}

// Hash implements store.Store. It needs no lock: a file is replaced whole.
func (s *Store) Hash(_ context.Context, box store.Address) (hash string, suspended bool, err error) {
	dir, err := s.openDomain(box.Domain)
	if err != nil {
		return "", false, err
	}
	defer func() { _ = dir.Close() }()
	content, err := s.read(dir, shadowName)
	if err != nil {
		return "", false, err
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

// read returns a file's content; one that is not there is empty.
func (s *Store) read(dir *os.File, name string) ([]byte, error) {
	content, _, err := readFile(dir, name, s.owner)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, classify("read "+name, err)
	}
	return content, nil
}

// readAll reads a file of a known size.
func readAll(f *os.File, size int64) ([]byte, error) {
	content := make([]byte, size)
	_, err := io.ReadFull(f, content)
	return content, err
}
