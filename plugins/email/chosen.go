package email

import (
	"context"

	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// chosen are the mailboxes that the arguments of a list select. If main is set, the account's own mailbox is the
// first. A mailbox is named by its place in this order.
type chosen struct {
	account protocol.Account
	main    bool
	boxes   []store.Mailbox
}

// chosen returns the mailboxes of a domain, or of all domains if domain is "", that match the argument regex. If only
// is not "", it returns only the mailbox with this local part.
func (m *Module) chosen(ctx context.Context, call *sdk.Call, domain, only string, main bool) (*chosen, error) {
	matches, err := matcher(call)
	if err != nil {
		return nil, err
	}
	c := &chosen{account: call.Account}
	if main {
		if c.main, err = matches(call.Account.Name); err != nil {
			return nil, err
		}
	}
	if c.boxes, err = m.all(ctx, call.Account, domain); err != nil {
		return nil, err
	}
	if only == "" && call.String("regex") == "" {
		return c, nil
	}
	kept := c.boxes[:0]
	for _, b := range c.boxes {
		if only != "" && b.Localpart != only {
			continue
		}
		ok, err := matches(b.String())
		if err != nil {
			return nil, err
		}
		if ok {
			kept = append(kept, b)
		}
	}
	c.boxes = kept
	return c, nil
}

func (c *chosen) len() int { return len(c.boxes) + bit(c.main) }

// first keeps the first n mailboxes only.
func (c *chosen) first(n int) {
	c.boxes = c.boxes[:min(len(c.boxes), max(0, n-bit(c.main)))]
}

// keep keeps only the mailboxes for which want is true.
func (c *chosen) keep(want []bool) {
	if c.main {
		c.main, want = want[0], want[1:]
	}
	n := 0
	for i, b := range c.boxes {
		if want[i] {
			c.boxes[n] = b
			n++
		}
	}
	c.boxes = c.boxes[:n]
}

func (c *chosen) isMain(i int) bool { return c.main && i == 0 }

// box returns a mailbox. The account's own mailbox has the account's name as its local part, and no quota.
func (c *chosen) box(i int) store.Mailbox {
	if c.isMain(i) {
		return store.Mailbox{Address: store.Address{Localpart: c.account.Name, Domain: c.account.MainDomain()}}
	}
	return c.boxes[i-bit(c.main)]
}

// login returns the name with which the mailbox's user logs in, and email the name that lists show.
func (c *chosen) login(i int) string {
	if c.isMain(i) {
		return c.account.Name
	}
	return c.box(i).String()
}

func (c *chosen) email(i int) string {
	if c.isMain(i) {
		return mainAccount
	}
	return c.box(i).String()
}

// size returns the length of a mailbox's address.
func (c *chosen) size(i int) int {
	b := c.box(i)
	return len(b.Localpart) + 1 + len(b.Domain)
}

// usages returns the disk usage of the mailboxes with the given numbers; nil means all. Those of other mailboxes are
// zero.
func (m *Module) usages(ctx context.Context, c *chosen, numbers []int) ([]store.Usage, error) {
	usages := make([]store.Usage, c.len())
	if numbers == nil {
		for i := range usages {
			numbers = append(numbers, i)
		}
	}
	s := m.store(c.account)
	boxes, at := make([]store.Address, 0, len(numbers)), make([]int, 0, len(numbers))
	for _, i := range numbers {
		if !c.isMain(i) {
			boxes, at = append(boxes, c.box(i).Address), append(at, i)
			continue
		}
		var err error
		if usages[i], err = s.MainUsage(ctx); err != nil {
			return nil, public(c.box(i).Address, err, "The mail could not be measured")
		}
	}
	measured, err := s.Usages(ctx, boxes)
	if err != nil {
		return nil, publicAt(store.Address{Domain: c.account.MainDomain()}, err, "The mail could not be measured")
	}
	for k, i := range at {
		usages[i] = measured[k]
	}
	return usages, nil
}
