// Package store says what the Email module needs of a mail store, and what an address
// is. Stores themselves are in its subpackages. It knows no API and no password in
// clear text.
package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Errors of a store, for errors.Is.
var (
	ErrNoMailbox = errors.New("store: no such mailbox")
	ErrBusy      = errors.New("store: locked by another program for too long")
	ErrFull      = errors.New("store: no space left")
	ErrReadOnly  = errors.New("store: may not be written")
	// ErrUnsafe is a store that is not as its owner's should be: a link, another
	// owner, two lines for one mailbox. Nothing was changed.
	ErrUnsafe = errors.New("store: refused")
	// ErrSuspended is a mailbox of a suspended account, whose password can't be changed.
	ErrSuspended = errors.New("store: the account is suspended")
	// ErrUnknown is a change whose outcome is not known; it is old or new, never half.
	ErrUnknown = errors.New("store: outcome not known")
)

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
	if err := checkPart(a.Localpart, maxLocalpart, "._+-=&'~"); err != nil {
		return Address{}, fmt.Errorf("email: %w", err)
	}
	if err := checkPart(a.Domain, maxDomain, ".-"); err != nil {
		return Address{}, fmt.Errorf("domain: %w", err)
	}
	return a, nil
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

// PasswordStore keeps the hashes of mailboxes: all that changing and verifying a
// password needs.
type PasswordStore interface {
	// SetHash replaces a mailbox's hash and keeps whether its login is suspended.
	SetHash(ctx context.Context, box Address, hash string) error
	// Hash returns a mailbox's hash and whether its login is suspended.
	Hash(ctx context.Context, box Address) (hash string, suspended bool, err error)
}
