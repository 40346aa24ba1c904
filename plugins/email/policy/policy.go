// Package policy decides whether a password is acceptable, by its strength from 0 to 100, which package
// strength estimates, and by a list of stolen passwords. It stores no passwords and does not access mailboxes.
package policy

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/liveapid/liveapid/plugins/email/policy/strength"
	"github.com/liveapid/liveapid/protocol"
)

const (
	// DefaultRequired is the strength that passwords need by default, as on current cPanel servers.
	DefaultRequired = 65
	// maxEstimated is the maximum number of bytes of a password that Strength estimates, which is the longest
	// password that a mailbox can have. Strength ignores further bytes, because the time of an estimate grows with
	// the square of the length.
	maxEstimated = 256
	// perDigit converts the number of guesses that a password needs into its strength: each factor of 10 adds
	// 8, so a password that needs 10^12.5 guesses has the strength 100.
	perDigit = 8
)

// Strength estimates the strength of password, from 0 to 100. hints are words that an attacker would try
// first for this password, such as the mailbox's name and domain.
func Strength(password protocol.Secret, hints ...string) int {
	text := password.Reveal()
	if end := maxEstimated; len(text) > end {
		for !utf8.RuneStart(text[end]) && end > 0 {
			end--
		}
		text = text[:end]
	}
	guesses := strength.Guesses(text, hints, time.Now().Year())
	if guesses <= 1 {
		return 0
	}
	return int(min(100, math.Floor(perDigit*math.Log10(guesses))))
}

// Policy contains the requirements for new passwords.
type Policy struct {
	required int
	breached *List // Nil if there is no list.
}

// New returns a policy. required is the minimum strength, 0 for none; breached is the list of stolen
// passwords and may be nil.
func New(required int, breached *List) *Policy {
	return &Policy{required: required, breached: breached}
}

// Required returns the minimum strength for passwords of the account. The key REQUIRED_STRENGTH in the
// account's data overrides the default.
func (p *Policy) Required(account protocol.Account) int {
	if n, err := strconv.Atoi(account.Data["REQUIRED_STRENGTH"]); err == nil && n >= 0 && n <= 100 {
		return n
	}
	return p.required
}

// Check rejects a password that is too weak or that is in the list of stolen passwords. It returns ErrList if
// the list can't be read.
func (p *Policy) Check(ctx context.Context, account protocol.Account, password protocol.Secret, hints ...string) error {
	required := p.Required(account)
	if required > 0 && Strength(password, hints...) < required {
		// Clients search the message for "the password you selected cannot be used", so these words must
		// stay.
		return protocol.NewError(protocol.KindInvalid,
			"Sorry, the password you selected cannot be used because it is too weak. Choose a password with a strength rating of "+strconv.Itoa(required)+" or higher.")
	}
	if p.breached == nil {
		return nil
	}
	known, err := p.breached.Has(ctx, password)
	if err != nil {
		// The caller recognizes ErrList and accepts the password, because people must be able to change a
		// password even if the list can't be read.
		return fmt.Errorf("%w: %w", ErrList, err)
	}
	if known {
		return protocol.NewError(protocol.KindInvalid,
			"Sorry, the password you selected cannot be used because it is in a list of passwords that were stolen elsewhere. Choose another password.")
	}
	return nil
}
