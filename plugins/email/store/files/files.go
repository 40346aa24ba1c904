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

// Store keeps the mailboxes of an account in files below the account's home. Its methods may be called
// concurrently.
type Store struct {
	home  string
	owner int
	group int
	disk  disk
	now   func() time.Time
	// settle waits for settleTime; tests replace it.
	settle func()

	mu     sync.Mutex
	queues map[string]*queue // By domain; removed when all changes have been made.
}

var _ store.Store = (*Store)(nil)

// New returns the store below home. The files must belong to the user of this process.
func New(home string) *Store { return NewFor(home, os.Geteuid(), os.Getegid()) }

// NewFor returns the store below home for a process that only reads it. The files must belong to the given
// uid, which may differ from the user of this process.
func NewFor(home string, uid, gid int) *Store {
	return &Store{home: home, owner: uid, group: gid, disk: osDisk{}, now: time.Now, settle: func() { time.Sleep(settleTime) }, queues: make(map[string]*queue)}
}

// queue contains the changes to a domain that wait until the current commit has finished.
type queue struct{ waiting []*change }

// kind is the kind of a change. Waiting changes of the same kind are committed together.
type kind int

// kindNames are the names of kinds in the record of a change.
var kindNames = map[kind]string{createBox: "create", deleteBox: "delete", setQuota: "quota", suspend: "suspend"}

// MarshalText implements encoding.TextMarshaler.
func (k kind) MarshalText() ([]byte, error) { return []byte(kindNames[k]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *kind) UnmarshalText(text []byte) error {
	for known, name := range kindNames {
		if name == string(text) {
			*k = known
			return nil
		}
	}
	return fmt.Errorf("an unknown kind of change: %.40q", text)
}

const (
	setHash kind = iota
	createBox
	deleteBox
	setQuota
	suspend
	unlock
)

// change is a change to a mailbox for which a caller waits.
type change struct {
	work
	count int        // For unlock: apply sets it.
	err   error      // Why the change failed; apply sets it.
	done  chan error // Buffered: the caller may have stopped waiting.
}

// SetHash implements store.Store.
func (s *Store) SetHash(ctx context.Context, box store.Address, hash string) error {
	if err := store.CheckHash(hash); err != nil {
		return err
	}
	return s.make(ctx, box.Domain, &change{work: work{Kind: setHash, Localpart: box.Localpart, Hash: hash}})
}

// make queues the change c to a domain and waits for its result. If ctx ends while c is still in the queue,
// make removes c from the queue and returns ErrBusy. If ctx ends after a commit has started with c, make
// returns the result of c if that has already arrived, and otherwise ErrUnknown.
func (s *Store) make(ctx context.Context, domain string, c *change) error {
	c.done = make(chan error, 1)
	s.enqueue(domain, c)
	return s.wait(ctx, domain, c)
}

// wait waits for the result of a change that is in the queue.
func (s *Store) wait(ctx context.Context, domain string, c *change) error {
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
	}
	if s.withdraw(domain, c) {
		return fmt.Errorf("%w: %w", store.ErrBusy, ctx.Err())
	}
	// A commit has already started with this change. The result may have arrived at the same moment as the
	// end of ctx.
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

// withdraw removes a change from the queue. It returns false if a commit has already started with the change.
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

// run commits the waiting changes of a domain until the queue is empty. It runs in its own goroutine and
// without a caller's context, so that a caller that gives up does not cancel the changes of others.
func (s *Store) run(domain string, q *queue) {
	for {
		s.mu.Lock()
		batch := q.waiting
		// A commit contains only changes of a single kind, because the kind determines the order in which the
		// files are written. Changes after the first change of another kind stay in the queue.
		for i, c := range batch {
			if c.Kind != batch[0].Kind {
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
	err := s.locked(context.Background(), domain, batch[0].Kind == createBox, func(t *tx) error {
		for _, c := range batch {
			c.err = nil // locked may repeat the work: clear the last run's error.
		}
		return t.apply(domain, batch)
	})
	if err != nil && len(batch) > 1 && !errors.Is(err, store.ErrUnknown) && !errors.Is(err, store.ErrBusy) {
		// The reason, such as a directory that can't be made, may be that of a single change.
		for _, c := range batch {
			s.commitBatch(domain, []*change{c})
		}
		return
	}
	for _, c := range batch {
		if err != nil {
			c.done <- err
			continue
		}
		c.done <- c.err
	}
}

// Hash implements store.Store. It needs no lock, because a file is never changed in place, but replaced by a
// new file.
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
	e, err := entryFor(content, box.Localpart)
	if errors.Is(err, store.ErrNoMailbox) {
		known, passwdErr := s.inPasswd(dir)(box.Localpart)
		if passwdErr != nil {
			return "", false, passwdErr
		}
		if known {
			return "", true, nil // passwd lists the mailbox, but it never had a password.
		}
	}
	return e.hash, e.flags().Has(store.NoLogin), err
}

// read returns the content of the file called name, or nothing if the file does not exist.
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

// readAll reads size bytes from f, and returns an error if f is shorter.
func readAll(f *os.File, size int64) ([]byte, error) {
	content := make([]byte, size)
	_, err := io.ReadFull(f, content)
	return content, err
}
