// Package migrate copies mailboxes from one store to another, with their hashes, quotas and suspensions. It
// does not copy mail.
package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// chunk is the maximum number of mailboxes that are created together.
const chunk = 1000

// Options select the treatment of mailboxes that exist in the target.
type Options struct {
	DryRun    bool // Change nothing, and report the changes.
	Overwrite bool // Mailboxes with other data get the data of the source.
	Mirror    bool // The same, and mailboxes that the source lacks are removed; their mail stays.
}

// Outcome is the result for a mailbox.
type Outcome string

// The outcomes. After Left, Refused, Extra and Changed the stores are not the same.
const (
	Copied   Outcome = "copied"
	Replaced Outcome = "replaced"
	Removed  Outcome = "removed"
	Left     Outcome = "left"    // The target has other data, and keeps it.
	Refused  Outcome = "refused" // No store accepts the data of the source.
	Extra    Outcome = "extra"   // The source has no such mailbox, and the target keeps it.
	Changed  Outcome = "changed" // Another program changed the mailbox meanwhile.
)

// Item is the outcome for a mailbox.
type Item struct {
	Mailbox string  `json:"mailbox"`
	Outcome Outcome `json:"outcome"`
	Reason  string  `json:"reason,omitempty"`
}

// Report is the result of copying.
type Report struct {
	Same  int    `json:"same"`  // Mailboxes with equal data before.
	Items []Item `json:"items"` // All others.
}

// Count returns the number of mailboxes with an outcome.
func (r Report) Count(outcome Outcome) (n int) {
	for _, i := range r.Items {
		if i.Outcome == outcome {
			n++
		}
	}
	return n
}

// Equal reports whether both stores are the same afterwards.
func (r Report) Equal() bool {
	return r.Count(Left)+r.Count(Refused)+r.Count(Extra)+r.Count(Changed) == 0
}

func (r *Report) add(e store.Entry, outcome Outcome, reason string) {
	r.Items = append(r.Items, Item{e.String(), outcome, reason})
}

// Job contains the domains of an account to copy, and the stores to copy from and to.
type Job struct {
	Account  string
	Domains  []string
	From, To store.Transfer
}

// Progress is called with the domain that is being copied, the number of its mailboxes that are done, and the number
// of all its mailboxes, which is 0 until the domain has been read.
type Progress func(domain string, done, all int)

// All copies the mailboxes of several accounts. If a domain fails, All continues with the next domain, so
// that a problem of an account does not affect the others, and finally returns all errors together.
func All(ctx context.Context, jobs []Job, o Options, progress Progress) (Report, error) {
	var total Report
	var failed []error
	for _, job := range jobs {
		for _, domain := range job.Domains {
			report, err := Domain(ctx, job.From, job.To, domain, o, progress)
			total.Same += report.Same
			total.Items = append(total.Items, report.Items...)
			if err != nil {
				failed = append(failed, fmt.Errorf("account %s: domain %s: %w", job.Account, domain, err))
			}
		}
	}
	return total, errors.Join(failed...)
}

// Domain copies the mailboxes of a domain. If copying fails, the mailboxes that were already copied stay in the
// target, and a later run copies the others.
func Domain(ctx context.Context, from, to store.Transfer, domain string, o Options, progress Progress) (Report, error) {
	progress(domain, 0, 0)
	p, err := compare(ctx, from, to, domain, o)
	if err != nil {
		return p.report, err
	}
	done, all := p.report.Same, len(p.source)
	progress(domain, done, all)
	for _, work := range []struct {
		entries []store.Entry
		outcome Outcome
	}{{p.missing, Copied}, {p.differ, Replaced}} {
		for part := range slices.Chunk(work.entries, chunk) {
			if !o.DryRun {
				if err := to.Import(ctx, part, work.outcome == Replaced); err != nil {
					return p.report, err
				}
			}
			for _, e := range part {
				p.report.add(e, work.outcome, p.reasons[e.Localpart])
			}
			done += len(part)
			progress(domain, done, all)
		}
	}
	for part := range slices.Chunk(p.extra, chunk) {
		var boxes []store.Address
		for _, e := range part {
			boxes = append(boxes, e.Address)
		}
		if !o.DryRun {
			if err := to.Remove(ctx, boxes); err != nil {
				return p.report, fmt.Errorf("remove mailboxes: %w", err)
			}
		}
		for _, e := range part {
			p.report.add(e, Removed, "the source has no such mailbox; its mail stays")
		}
	}
	if o.DryRun {
		return p.report, nil
	}
	return p.report, verify(ctx, from, to, domain, &p.report)
}

// plan contains the changes of copying a domain, and the report about all mailboxes that do not change.
type plan struct {
	report                         Report
	source, missing, differ, extra []store.Entry
	reasons                        map[string]string // How the mailboxes in differ differ, by local part.
}

// compare reads a domain from both stores.
func compare(ctx context.Context, from, to store.Transfer, domain string, o Options) (plan, error) {
	p := plan{reasons: make(map[string]string)}
	source, odd, err := from.Entries(ctx, domain)
	if err != nil {
		return p, fmt.Errorf("read: %w", err)
	}
	target, targetOdd, err := to.Entries(ctx, domain)
	if err != nil {
		return p, fmt.Errorf("read the target: %w", err)
	}
	if o.Mirror && len(source)+len(odd) == 0 && len(target) > 0 {
		return p, fmt.Errorf("the source has no mailbox, and the target has %d, which --mirror would remove: remove them with delete_pop if that is meant", len(target))
	}
	p.source = source
	for _, name := range targetOdd {
		p.report.Items = append(p.report.Items, Item{oddName(name, domain), Extra, "in the target, " + name.Reason + " (in " + name.Where + ")"})
	}
	similar := make(map[string]bool) // Mailboxes whose names differ from odd names of the source only by case or blanks.
	for _, name := range odd {
		similar[store.Lower(store.TrimBlanks(oddName(name, domain)))] = true
		p.report.Items = append(p.report.Items, Item{oddName(name, domain), Refused, name.Reason + " (in " + name.Where + ")"})
	}
	there := make(map[string]store.Entry, len(target))
	for _, e := range target {
		there[e.Localpart] = e
	}
	for _, e := range source {
		old, exists := there[e.Localpart]
		delete(there, e.Localpart)
		problem := e.Check()
		switch {
		case exists && old == e && problem == nil:
			p.report.Same++
		case problem != nil:
			p.report.add(e, Refused, strings.TrimPrefix(problem.Error(), store.ErrUnsafe.Error()+": "))
		case !exists:
			p.missing = append(p.missing, e)
		case o.Overwrite || o.Mirror:
			p.reasons[e.Localpart] = difference(old, e)
			p.differ = append(p.differ, e)
		default:
			p.report.add(e, Left, difference(old, e))
		}
	}
	for _, e := range target {
		if _, extra := there[e.Localpart]; !extra {
			continue
		}
		if o.Mirror && !similar[e.String()] {
			p.extra = append(p.extra, e)
		} else {
			p.report.add(e, Extra, "the source has no such mailbox")
		}
	}
	return p, nil
}

// oddName returns the name of something odd as an address, if it has none.
func oddName(o store.Odd, domain string) string {
	if strings.HasSuffix(o.Name, "@"+domain) {
		return o.Name
	}
	return o.Name + "@" + domain
}

// difference says how the data of the target differs from the source's.
func difference(target, source store.Entry) string {
	var parts []string
	if target.Hash != source.Hash {
		parts = append(parts, "another password")
	}
	if target.Quota != source.Quota || target.BadQuota != source.BadQuota {
		parts = append(parts, "another quota ("+quotaText(target)+", the source's is "+quotaText(source)+")")
	}
	if target.Suspended != source.Suspended {
		parts = append(parts, "other suspensions ("+target.Suspended.String()+", the source's are "+source.Suspended.String()+")")
	}
	return "the target has " + strings.Join(parts, ", ")
}

func quotaText(e store.Entry) string {
	switch {
	case e.BadQuota != "":
		return fmt.Sprintf("%.40q", e.BadQuota)
	case e.Quota == 0:
		return "unlimited"
	}
	return fmt.Sprintf("%d bytes", e.Quota)
}

// verify reads both stores again, and reports mailboxes that differ although they were the same or were copied.
func verify(ctx context.Context, from, to store.Transfer, domain string, report *Report) error {
	p, err := compare(ctx, from, to, domain, Options{})
	if err != nil {
		return fmt.Errorf("compare after copying: %w", err)
	}
	known := make(map[string]bool)
	for _, i := range report.Items {
		if i.Outcome == Left || i.Outcome == Refused || i.Outcome == Extra {
			known[i.Mailbox] = true
		}
	}
	for _, e := range p.missing {
		p.report.add(e, Changed, "")
	}
	for _, i := range p.report.Items {
		if !known[i.Mailbox] {
			report.Items = append(report.Items, Item{i.Mailbox, Changed, "another program changed it meanwhile: copy again"})
		}
	}
	return nil
}
