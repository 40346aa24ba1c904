// Package policy decides whether a password is good enough, by a strength from 0 to 100, which zxcvbn
// estimates, and by a list of stolen passwords. It keeps no password and knows no mailbox.
package policy

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/trustelem/zxcvbn"

	"github.com/liveapid/liveapid/protocol"
)

const (
	// DefaultRequired is the strength that an installation requires, like current cPanel servers.
	DefaultRequired = 65
	// maxEstimated limits the part of a password that is estimated, in bytes. The time grows with the cube of
	// the length, and the rest can only make the password better.
	maxEstimated = 64
	// perDigit is the strength of a decimal digit of guesses: a password that needs 10^12.5 guesses has 100.
	perDigit = 8
)

// Strength estimates a password, from 0 to 100. hints are words that are easy to guess for it: the mailbox's
// name, the domain.
func Strength(password protocol.Secret, hints ...string) int {
	text := password.Reveal()
	if text == "" {
		return 0
	}
	if len(text) > maxEstimated {
		text = text[:maxEstimated]
	}
	guesses := zxcvbn.PasswordStrength(text, hints).Guesses
	if guesses <= 1 {
		return 0
	}
	return int(min(100, math.Floor(perDigit*math.Log10(guesses))))
}

// Policy is a set of requirements for passwords.
type Policy struct {
	required int
	breached *List // Nil if there is no list.
}

// New returns a policy. required is the lowest strength, 0 for none; breached may be nil.
func New(required int, breached *List) *Policy {
	return &Policy{required: required, breached: breached}
}

// Required returns the lowest strength of an account's passwords. The key REQUIRED_STRENGTH in the data of
// the account's file overrides the default.
func (p *Policy) Required(account protocol.Account) int {
	if n, err := strconv.Atoi(account.Data["REQUIRED_STRENGTH"]); err == nil && n >= 0 && n <= 100 {
		return n
	}
	return p.required
}

// Check rejects a password that is too weak or that was stolen.
func (p *Policy) Check(ctx context.Context, account protocol.Account, password protocol.Secret, hints ...string) error {
	required := p.Required(account)
	if required > 0 && Strength(password, hints...) < required {
		// Clients look for "the password you selected cannot be used".
		return protocol.NewError(protocol.KindInvalid,
			"Sorry, the password you selected cannot be used because it is too weak. Choose a password with a strength rating of "+strconv.Itoa(required)+" or higher.")
	}
	if p.breached == nil {
		return nil
	}
	known, err := p.breached.Has(ctx, password)
	if err != nil {
		// A list that can't be read must not keep people from changing a password.
		return fmt.Errorf("%w: %w", ErrList, err)
	}
	if known {
		return protocol.NewError(protocol.KindInvalid,
			"Sorry, the password you selected cannot be used because it is in a list of passwords that were stolen elsewhere. Choose another password.")
	}
	return nil
}
