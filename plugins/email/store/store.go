// Package store defines the interface of the Email module's mail stores, their errors, and mailbox addresses.
// The stores themselves are in its subpackages. The package does not depend on the API, and does not handle
// passwords in clear text.
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

// Errors that stores return, usually wrapped; compare them with errors.Is.
var (
	ErrNoMailbox = errors.New("store: no such mailbox")
	ErrExists    = errors.New("store: the mailbox exists already")
	ErrBusy      = errors.New("store: busy for too long")
	ErrFull      = errors.New("store: no space left")
	ErrReadOnly  = errors.New("store: no permission, or read-only file system")
	// ErrUnsafe is returned if a store refuses an operation, because a value is not valid or because the
	// store is not in the expected state: for example, a file is a link or has another owner, a file has two
	// lines for a mailbox, or a database table is missing. Nothing was changed.
	ErrUnsafe = errors.New("store: operation refused")
	// ErrSuspended is returned if the account is suspended and a call tries to change the password of a
	// mailbox or to release its login.
	ErrSuspended = errors.New("store: the account is suspended")
	// ErrPartly is returned if the change was made, but the mailbox's mail directory could not be updated.
	ErrPartly = errors.New("store: the change was made, but the mailbox's mail directory could not be updated")
	// ErrAside is returned if a mailbox was created, and mail that was already in its directory was moved away.
	ErrAside = errors.New("store: the mailbox was created; earlier mail of this name was moved")
	// ErrAway is returned if the store can't be reached at the moment, for example because the database is
	// down. Nothing was changed.
	ErrAway = errors.New("store: the store can't be reached")
	// ErrUnknown is returned if it is not known whether a change was made.
	ErrUnknown = errors.New("store: it is not known whether the change was made")
)

// kinds returns the errors of this package.
func kinds() []error {
	// ErrUnknown is the first: an error that also wraps another one is of this kind.
	return []error{ErrUnknown, ErrNoMailbox, ErrExists, ErrBusy, ErrFull, ErrReadOnly, ErrUnsafe, ErrSuspended, ErrPartly, ErrAside, ErrAway}
}

// Kind returns the error of this package that err is, or wraps, or nil if there is none.
func Kind(err error) error {
	for _, kind := range kinds() {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return nil
}

// KindOf returns the error of this package with the given text, or nil if there is none.
func KindOf(text string) error {
	for _, kind := range kinds() {
		if kind.Error() == text {
			return kind
		}
	}
	return nil
}

// Known reports whether err is, or wraps, an error of this package.
func Known(err error) bool { return Kind(err) != nil }

// AtError is an error of an operation on several mailboxes or domains, with the one that it belongs to.
type AtError struct {
	At  Address // Localpart is "" if the error belongs to the domain.
	Err error
}

// Error implements error.
func (e *AtError) Error() string {
	return strings.TrimPrefix(e.At.String(), "@") + ": " + e.Err.Error()
}

// Unwrap returns the error without its place.
func (e *AtError) Unwrap() error { return e.Err }

// Address is the address of a mailbox. Use NewAddress to create an Address: it ensures that both parts are
// safe to use as a file name and as a field in a line of a store's file.
type Address struct {
	Localpart string
	Domain    string
}

// String returns the address as localpart@domain.
func (a Address) String() string { return a.Localpart + "@" + a.Domain }

const (
	maxLocalpart = 64
	maxDomain    = 253
)

// NewAddress returns the address with both parts validated and converted to lower case, as Dovecot does for a
// lookup. The error says which part is not valid.
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

// CheckDomain returns an error if domain is not a valid domain with two or more labels in lower case.
func CheckDomain(domain string) error {
	if err := checkPart(domain, maxDomain, ".-"); err != nil {
		return err
	}
	if Lower(domain) != domain || !strings.Contains(domain, ".") {
		return errors.New("is not a domain with two or more labels in lower case")
	}
	return nil
}

// Lower returns s with the letters A to Z in lower case. It does not apply Unicode's rules, which for example
// convert the Kelvin sign (U+212A) to the letter k, so that two different names could become the same mailbox
// name.
func Lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// checkPart validates the part s of an address, which must already be in lower case. A valid part consists of
// the letters a to z, digits and the characters in marks. It must not begin with '.', '-' or '#', end with a
// dot, or contain two dots in a row. most is the maximum length in bytes.
func checkPart(s string, most int, marks string) error {
	switch {
	case s == "":
		return errors.New("is empty")
	case len(s) > most:
		return fmt.Errorf("is longer than %d characters", most)
	case s[0] == '.' || s[0] == '-' || s[0] == '#':
		return fmt.Errorf("may not begin with %q", s[0])
	case s[len(s)-1] == '.' || strings.Contains(s, ".."):
		return errors.New("ends with a dot or contains two dots in a row")
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune(marks, rune(c)) {
			return fmt.Errorf("may not contain %q", c)
		}
	}
	return nil
}

// Suspension is a set of flags; each flag forbids a mailbox something, such as logging in.
type Suspension uint8

// The flags of a Suspension.
const (
	Login    Suspension = 1 << iota // Nobody can log in.
	Incoming                        // The mailbox receives no mail.
	Outgoing                        // The mailbox can't send mail.
	Hold                            // Mail that the mailbox sends is held in the queue.
	Locked                          // Nobody can log in until the account's suspension ends.
)

// NoLogin are the flags of which each prevents a login.
const NoLogin = Login | Locked

// Has reports whether s contains flag. If flag combines several flags, Has reports whether s contains at
// least one of them.
func (s Suspension) Has(flag Suspension) bool { return s&flag != 0 }

// Mailbox contains the data of a mailbox, without its password hash.
type Mailbox struct {
	Address
	Quota     int64 // In bytes; 0 means no limit.
	Suspended Suspension
	// BadQuota is the text that the store contains instead of a number of bytes; it is "" if Quota is valid.
	BadQuota string
}

// Sort sorts mailboxes by the bytes of their domains and local parts.
func Sort(list []Mailbox) {
	slices.SortFunc(list, func(a, b Mailbox) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Localpart, b.Localpart))
	})
}

// Entry is a mailbox to create, together with its password hash.
type Entry struct {
	Mailbox
	Hash string // NoPassword, or "" if the login is suspended, for a mailbox without a password.
}

// Odd is something in a store that is not taken as a mailbox.
type Odd struct {
	Name   string `json:"name"`  // As it is in the store.
	Where  string `json:"where"` // The file or table.
	Reason string `json:"reason"`
}

// QuotaProblem returns an error if the store contains no valid quota for the mailbox. Such a mailbox must never
// count as one without a limit.
func (m Mailbox) QuotaProblem() error {
	if m.BadQuota == "" {
		return nil
	}
	return fmt.Errorf("%w: the quota %.40q is not a number of bytes from 0 to 9223372036854775807", ErrUnsafe, m.BadQuota)
}

// Check returns an error if no store accepts the entry.
func (e Entry) Check() error {
	if e.Quota < 0 {
		return fmt.Errorf("%w: the quota is negative: %d bytes", ErrUnsafe, e.Quota)
	}
	if err := e.QuotaProblem(); err != nil {
		return err
	}
	if e.Hash == "" && e.Suspended.Has(Login) {
		return nil
	}
	if n := len(e.Field()); n > maxField {
		return fmt.Errorf("%w: the password hash with the marks of its suspensions is too long: %d bytes", ErrUnsafe, n)
	}
	return CheckHash(e.Hash)
}

// maxField is the maximum length of a hash with its marks in bytes: the length of the column in the usual schema.
const maxField = 255

// CheckHash returns an error if hash is empty, too long, or contains a character that would break a line of a
// store's file.
func CheckHash(hash string) error {
	if hash == "" || len(hash) > MaxHash {
		return fmt.Errorf("%w: the password hash is empty or too long: %d bytes", ErrUnsafe, len(hash))
	}
	for _, c := range []byte(hash) {
		if c <= ' ' || c >= 0x7f || c == ':' || c == '[' {
			return fmt.Errorf("%w: the password hash contains the character %q", ErrUnsafe, c)
		}
	}
	return nil
}

// MaxHash is the maximum length of a hash, in bytes. The column in the usual database schema is not longer.
const MaxHash = 250

// Usage is the number and total size of the messages in a mailbox.
type Usage struct {
	Bytes    int64
	Messages int64
	Modified time.Time // Time of the last change; zero if it is not known.
}

// Keep selects what a deletion does not remove.
type Keep struct {
	Mail  bool // Keep the mail.
	Quota bool // Keep the quota.
}

// PasswordStore stores the password hashes of mailboxes. It contains the methods of Store that changing and
// verifying a password require.
type PasswordStore interface {
	// SetHash replaces the password hash of a mailbox. A suspended login stays suspended.
	SetHash(ctx context.Context, box Address, hash string) error
	// Hash returns the password hash of a mailbox, and whether its login is suspended. If the mailbox has no
	// hash, hash is "" and suspended is true.
	Hash(ctx context.Context, box Address) (hash string, suspended bool, err error)
}

// Transfer contains the methods of a store with which mailboxes are copied from one store to another.
type Transfer interface {
	// Entries returns the mailboxes of a domain with their hashes, sorted by local part, and everything
	// else that the store contains.
	Entries(ctx context.Context, domain string) ([]Entry, []Odd, error)
	// Import creates mailboxes of a domain together: either all of them are created, or none. Mail that is
	// already in their directories becomes theirs. With replace, mailboxes that exist get the data of the
	// entries; otherwise they are ErrExists.
	Import(ctx context.Context, entries []Entry, replace bool) error
	// Remove removes mailboxes of a domain, and keeps their mail. Those that do not exist are left out.
	Remove(ctx context.Context, boxes []Address) error
	// Unlock removes the mark of a suspended account from the mailboxes of a domain, and returns their number.
	Unlock(ctx context.Context, domain string) (int, error)
}

// Store stores the mailboxes of an account. Its methods may be called concurrently. Each change is made
// completely or not at all, and is on disk when the method returns without an error. There are two
// exceptions: after ErrPartly the mailbox's mail directory is not up to date, and after ErrUnknown the
// outcome is not known.
type Store interface {
	PasswordStore
	Transfer
	// List returns the mailboxes of domains, sorted by domain and local part. The list of an unknown domain is empty.
	List(ctx context.Context, domains ...string) ([]Mailbox, error)
	// Count returns the number of mailboxes that List would return.
	Count(ctx context.Context, domains ...string) (int, error)
	// Mailbox returns the data of a mailbox, or ErrNoMailbox.
	Mailbox(ctx context.Context, box Address) (Mailbox, error)
	// Create adds a mailbox with its password hash. It returns ErrExists if the mailbox already exists. A
	// store of files also makes the directory for the mail. The new mailbox does not get mail that is already
	// in this directory, unless an earlier mailbox of the name was deleted without its mail; ErrAside reports
	// that such mail was moved away.
	Create(ctx context.Context, box Mailbox, hash string) error
	// Delete removes a mailbox. It also removes the mail and the quota, except what keep selects. A store
	// without access to the mail leaves the mail on the mail server.
	Delete(ctx context.Context, box Address, keep Keep) error
	// SetQuota sets the quota of a mailbox in bytes; 0 means no limit.
	SetQuota(ctx context.Context, box Address, bytes int64) error
	// Suspend sets (on is true) or clears the given flags of a mailbox. Other flags stay as they are. If Login is
	// cleared for a mailbox without a password, it stays set until a password is set.
	Suspend(ctx context.Context, box Address, flags Suspension, on bool) error
	// Usage returns the number and size of the messages in a mailbox.
	Usage(ctx context.Context, box Address) (Usage, error)
	// Usages does the same as Usage for several mailboxes, in their order.
	Usages(ctx context.Context, boxes []Address) ([]Usage, error)
	// Recount measures the mail of a mailbox again, if the store itself maintains the stored size.
	Recount(ctx context.Context, box Address) error
	// MainUsage returns the size of the mail in the account's own mailbox, which is not in the store.
	MainUsage(ctx context.Context) (Usage, error)
}

// String returns the flags as words for people, such as "login, incoming", or "none".
func (s Suspension) String() string {
	var words []string
	for _, f := range []struct {
		flag Suspension
		word string
	}{{Login, "login"}, {Locked, "account"}, {Incoming, "incoming"}, {Outgoing, "outgoing"}, {Hold, "hold"}} {
		if s.Has(f.flag) {
			words = append(words, f.word)
		}
	}
	if words == nil {
		return "none"
	}
	return strings.Join(words, ", ")
}
