// Package store defines the mail stores for the Email module, and addresses. The stores themselves are in its
// subpackages. It knows no API and no password in clear text.
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
	// ErrUnsafe is returned if a store's files are not as they should be: a link, another owner, two lines
	// for a mailbox. Nothing was changed.
	ErrUnsafe = errors.New("store: refused")
	// ErrSuspended is returned for a mailbox of a suspended account; its password can't be changed.
	ErrSuspended = errors.New("store: the account is suspended")
	// ErrPartly is returned if a change was made, but the mail's directory could not be adapted.
	ErrPartly = errors.New("store: made, but not in the mail's directory")
	// ErrAway is returned if a store can't be reached at the moment. Nothing was changed.
	ErrAway = errors.New("store: can't be reached")
	// ErrUnknown is returned if the outcome of a change is unknown. The change was made completely or not at
	// all.
	ErrUnknown = errors.New("store: outcome not known")
)

// Known reports whether an error is an error of this package.
func Known(err error) bool {
	for _, known := range []error{ErrNoMailbox, ErrExists, ErrBusy, ErrFull, ErrReadOnly, ErrUnsafe, ErrSuspended, ErrPartly, ErrAway, ErrUnknown} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// Address is the address of a mailbox. Create it with NewAddress. The parts of a valid address are safe in a
// file's name and in a line of a store.
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

// NewAddress validates both parts and returns them in lower case, as Dovecot looks them up. The error names
// the part.
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

// CheckDomain returns an error if a text is not a domain in lower case.
func CheckDomain(domain string) error {
	if err := checkPart(domain, maxDomain, ".-"); err != nil {
		return err
	}
	if Lower(domain) != domain || !strings.Contains(domain, ".") {
		return errors.New("is not a domain with two or more labels in lower case")
	}
	return nil
}

// Lower returns s with the letters A to Z in lower case. Unicode's rules would also turn the Kelvin sign into
// a k, and so into another mailbox's name.
func Lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// checkPart validates a part: letters, digits and the given marks, without a dot at an end or two dots in a
// row, and without '-' or '#' at the beginning.
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
			return fmt.Errorf("may not contain %q", c)
		}
	}
	return nil
}

// Suspension are the things that a mailbox may not do. Flags may be combined.
type Suspension uint8

// The suspensions.
const (
	Login    Suspension = 1 << iota // No login.
	Incoming                        // No incoming mail.
	Outgoing                        // No sending.
	Hold                            // Sent mail stays in the queue.
)

// Has reports whether s contains a flag.
func (s Suspension) Has(flag Suspension) bool { return s&flag != 0 }

// Mailbox is a mailbox without its hash.
type Mailbox struct {
	Address
	Quota     int64 // Bytes; 0 means no limit.
	Suspended Suspension
}

// Sort sorts mailboxes by local part, as bytes.
func Sort(list []Mailbox) {
	slices.SortFunc(list, func(a, b Mailbox) int { return cmp.Compare(a.Localpart, b.Localpart) })
}

// Entry is a mailbox to create, with its hash.
type Entry struct {
	Mailbox
	Hash string // "" means no hash; the login is suspended then.
}

// Check rejects entries that no store accepts.
func (e Entry) Check() error {
	if e.Quota < 0 {
		return fmt.Errorf("%w: a quota of %d bytes", ErrUnsafe, e.Quota)
	}
	if e.Hash == "" && e.Suspended.Has(Login) {
		return nil
	}
	return CheckHash(e.Hash)
}

// CheckHash rejects hashes that would break the line of a store's file.
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

// MaxHash limits a hash, in bytes, to the column of the usual schema.
const MaxHash = 250

// Usage is the size of a mailbox's mail.
type Usage struct {
	Bytes    int64
	Messages int64
	Modified time.Time // Of the last change; zero if there was none.
}

// Keep tells what a deletion leaves.
type Keep struct {
	Mail  bool // The mail.
	Quota bool // The quota.
}

// PasswordStore keeps the hashes of mailboxes. Changing and verifying a password needs nothing else.
type PasswordStore interface {
	// SetHash replaces a mailbox's hash. A suspended login stays suspended.
	SetHash(ctx context.Context, box Address, hash string) error
	// Hash returns a mailbox's hash and whether its login is suspended. A mailbox without a hash has "" and a
	// suspended login.
	Hash(ctx context.Context, box Address) (hash string, suspended bool, err error)
}

// Importer creates many mailboxes of a domain together: all of them or none.
type Importer interface {
	Import(ctx context.Context, entries []Entry) error
}

// Store keeps an account's mailboxes. Its methods may be called concurrently. Each change is made completely
// or not at all, and is on disk when the method returns.
type Store interface {
	PasswordStore
	// List returns a domain's mailboxes by local part. An unknown domain has none.
	List(ctx context.Context, domain string) ([]Mailbox, error)
	// Mailbox returns a mailbox.
	Mailbox(ctx context.Context, box Address) (Mailbox, error)
	// Create adds a mailbox with a hash and a directory for its mail. It returns ErrExists if the mailbox
	// exists.
	Create(ctx context.Context, box Mailbox, hash string) error
	// Delete removes a mailbox.
	Delete(ctx context.Context, box Address, keep Keep) error
	// SetQuota sets a mailbox's quota in bytes; 0 means no limit.
	SetQuota(ctx context.Context, box Address, bytes int64) error
	// Suspend sets or clears flags of a mailbox.
	Suspend(ctx context.Context, box Address, flags Suspension, on bool) error
	// Usage measures a mailbox's mail.
	Usage(ctx context.Context, box Address) (Usage, error)
	// Recount measures a mailbox's mail again, if the store keeps the result.
	Recount(ctx context.Context, box Address) error
	// MainUsage measures the mail of the account's own mailbox, which is not in the store.
	MainUsage(ctx context.Context) (Usage, error)
}
