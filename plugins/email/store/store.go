// Package store says what the Email module needs of a mail store, and what an address
// is. Stores themselves are in its subpackages. It knows no API and no password in
// clear text.
package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Errors of a store, for errors.Is.
var (
	ErrNoMailbox = errors.New("store: no such mailbox")
	ErrExists    = errors.New("store: the mailbox exists already")
	ErrBusy      = errors.New("store: locked by another program for too long")
	ErrFull      = errors.New("store: no space left")
	ErrReadOnly  = errors.New("store: may not be written")
	// ErrUnsafe is a store that is not as its owner's should be: a link, another
	// owner, two lines for one mailbox. Nothing was changed.
	ErrUnsafe = errors.New("store: refused")
	// ErrSuspended is a mailbox of a suspended account, whose password can't be changed.
	ErrSuspended = errors.New("store: the account is suspended")
	// ErrPartly is a change that was made, but for what the mail's folder needed of it.
	ErrPartly = errors.New("store: made, but not at the mail")
	// ErrAway is a store that can't be reached at the moment. Nothing was changed.
	ErrAway = errors.New("store: can't be reached")
	// ErrUnknown is a change whose outcome is not known; it is old or new, never half.
	ErrUnknown = errors.New("store: outcome not known")
)

// Known tells whether an error is one of a store's own.
func Known(err error) bool {
	for _, known := range []error{ErrNoMailbox, ErrExists, ErrBusy, ErrFull, ErrReadOnly, ErrUnsafe, ErrSuspended, ErrPartly, ErrAway, ErrUnknown} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// Address is one mailbox's address. Make it with NewAddress; the parts of a valid one
// can stand in a file's name and in a line of a store.
type Address struct {
	Localpart string
	Domain    string
}

// String returns localpart@domain.
func (a Address) String() string { return a.Localpart + "@" + a.Domain }

const (
	maxLocalpart = 64
	maxDomain    = 253
)

// NewAddress checks both parts and returns them in lower case, which is how Dovecot
// looks them up. The error names the part.
func NewAddress(localpart, domain string) (Address, error) {
	a := Address{Localpart: Lower(localpart), Domain: Lower(domain)}
	if err := checkPart(a.Localpart, maxLocalpart, "._+-=&~"); err != nil {
		return Address{}, fmt.Errorf("email: %w", err)
	}
	if err := checkPart(a.Domain, maxDomain, ".-"); err != nil {
		return Address{}, fmt.Errorf("domain: %w", err)
	}
	return a, nil
}

// CheckDomain reports what keeps a text from being a domain, in the lower case in which stores hold
// them.
func CheckDomain(domain string) error {
	if err := checkPart(domain, maxDomain, ".-"); err != nil {
		return err
	}
	if Lower(domain) != domain || !strings.Contains(domain, ".") {
		return errors.New("is no domain of two or more lower-case names")
	}
	return nil
}

// Lower returns s with the letters A to Z in lower case. Of Unicode's rules one turns the
// Kelvin sign into a k, which would make another mailbox's name of it.
func Lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// checkPart holds one part against the grammar: letters, digits and the given marks;
// no dot at an end or twice in a row, no '-' or '#' first.
func checkPart(s string, most int, marks string) error {
	switch {
	case s == "":
		return errors.New("is empty")
	case len(s) > most:
		return fmt.Errorf("is longer than %d characters", most)
	case s[0] == '.' || s[0] == '-' || s[0] == '#':
		return fmt.Errorf("may not begin with %q", s[0])
	case s[len(s)-1] == '.' || strings.Contains(s, ".."):
		return errors.New("has a dot at its end or two in a row")
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune(marks, rune(c)) {
			return fmt.Errorf("may not hold %q", c)
		}
	}
	return nil
}

// Suspension says what a mailbox may not do. Flags may be combined.
type Suspension uint8

// The suspensions.
const (
	Login    Suspension = 1 << iota // No login.
	Incoming                        // Mail to it is refused.
	Outgoing                        // It may not send.
	Hold                            // What it sends stays in the queue.
)

// Has tells whether s holds a flag.
func (s Suspension) Has(flag Suspension) bool { return s&flag != 0 }

// Mailbox is what a store keeps of one, but for its hash.
type Mailbox struct {
	Address
	Quota     int64 // Bytes; 0 is no limit.
	Suspended Suspension
}

// Sort sorts mailboxes by their local parts, as bytes.
func Sort(list []Mailbox) {
	slices.SortFunc(list, func(a, b Mailbox) int { return cmp.Compare(a.Localpart, b.Localpart) })
}

// Entry is a mailbox with its hash, to be created.
type Entry struct {
	Mailbox
	Hash string // "" is none, where the login is suspended.
}

// Check refuses what no store takes.
func (e Entry) Check() error {
	if e.Quota < 0 {
		return fmt.Errorf("%w: a quota of %d bytes", ErrUnsafe, e.Quota)
	}
	if e.Hash == "" && e.Suspended.Has(Login) {
		return nil
	}
	return CheckHash(e.Hash)
}

// CheckHash refuses a hash that would not stay one field of one line.
func CheckHash(hash string) error {
	if hash == "" || len(hash) > MaxHash {
		return fmt.Errorf("%w: a hash of %d bytes", ErrUnsafe, len(hash))
	}
	for _, c := range []byte(hash) {
		if c <= ' ' || c >= 0x7f || c == ':' || c == '[' {
			return fmt.Errorf("%w: a hash with the character %q", ErrUnsafe, c)
		}
	}
	return nil
}

// MaxHash bounds a hash, in bytes: a column of the usual schema.
const MaxHash = 250

// Usage is what a mailbox's mail takes.
type Usage struct {
	Bytes    int64
	Messages int64
	Modified time.Time // Of the last change; zero where there was none.
}

// Keep says what a deletion leaves.
type Keep struct {
	Mail  bool // The mail.
	Quota bool // What the store knows of its quota.
}

// PasswordStore keeps the hashes of mailboxes: all that changing and verifying a
// password needs.
type PasswordStore interface {
	// SetHash replaces a mailbox's hash and keeps whether its login is suspended.
	SetHash(ctx context.Context, box Address, hash string) error
	// Hash returns a mailbox's hash and whether its login is suspended. A mailbox that has
	// none yet has "", suspended.
	Hash(ctx context.Context, box Address) (hash string, suspended bool, err error)
}

// Importer creates many mailboxes of one domain together: all of them or none.
type Importer interface {
	Import(ctx context.Context, entries []Entry) error
}

// Store keeps an account's mailboxes. Its methods may be called at once. Each change is made
// whole or not at all, and is on disk when the method returns.
type Store interface {
	PasswordStore
	// List returns a domain's mailboxes by their local parts. A domain that the store does not
	// know has none.
	List(ctx context.Context, domain string) ([]Mailbox, error)
	// Mailbox returns one.
	Mailbox(ctx context.Context, box Address) (Mailbox, error)
	// Create adds a mailbox with a hash, and a place for its mail; ErrExists where it is there.
	Create(ctx context.Context, box Mailbox, hash string) error
	// Delete removes a mailbox.
	Delete(ctx context.Context, box Address, keep Keep) error
	// SetQuota sets a mailbox's quota in bytes; 0 is no limit.
	SetQuota(ctx context.Context, box Address, bytes int64) error
	// Suspend sets or clears flags of a mailbox.
	Suspend(ctx context.Context, box Address, flags Suspension, on bool) error
	// Usage measures a mailbox's mail.
	Usage(ctx context.Context, box Address) (Usage, error)
	// Recount measures a mailbox's mail anew, where the store keeps what it measured.
	Recount(ctx context.Context, box Address) error
	// MainUsage measures the mail of the account's own mailbox, which is none of the store's.
	MainUsage(ctx context.Context) (Usage, error)
}
