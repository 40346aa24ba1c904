// Package migrate copies mailboxes from one store to another, with their hashes, quotas and suspensions. It
// does not copy mail, removes nothing, and does not change existing mailboxes.
package migrate

import (
	"context"
	"errors"
	"fmt"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// chunk is the maximum number of mailboxes that are created together.
const chunk = 1000

// Store contains the methods of a store that copying needs.
type Store interface {
	List(ctx context.Context, domain string) ([]store.Mailbox, error)
	Hash(ctx context.Context, box store.Address) (hash string, suspended bool, err error)
	Create(ctx context.Context, box store.Mailbox, hash string) error
}

// hasher is implemented by stores that can return all hashes of a domain at once, which is faster than
// reading each of them.
type hasher interface {
	Hashes(ctx context.Context, domain string) (map[string]string, error)
}

// Report is the result of copying.
type Report struct {
	Copied, Same int
	Differ       []string // Mailboxes in the target with different data.
	Refused      []string // Mailboxes with data that no store accepts, and why.
}

// Add adds the numbers and lists of another report to r.
func (r *Report) Add(other Report) {
	r.Copied += other.Copied
	r.Same += other.Same
	r.Differ = append(r.Differ, other.Differ...)
	r.Refused = append(r.Refused, other.Refused...)
}

// Job contains the domains of an account to copy, and the stores to copy from and to.
type Job struct {
	Account  string
	Domains  []string
	From, To Store
}

// All copies the mailboxes of several accounts. If a domain fails, All continues with the next domain, so
// that a problem of an account does not affect the others, and finally returns all errors together. progress
// is called after each chunk of mailboxes; it may be nil.
func All(ctx context.Context, jobs []Job, dryRun bool, progress func(domain string, done, all int)) (Report, error) {
	var total Report
	var failed []error
	for _, job := range jobs {
		for _, domain := range job.Domains {
			report, err := Domain(ctx, job.From, job.To, domain, dryRun, func(done, all int) {
				if progress != nil {
					progress(domain, done, all)
				}
			})
			total.Add(report)
			if err != nil {
				failed = append(failed, fmt.Errorf("account %s: domain %s: %w", job.Account, domain, err))
			}
		}
	}
	return total, errors.Join(failed...)
}

// Domain copies the mailboxes of a domain. progress is called after each chunk of mailboxes; it may be nil.
// If copying fails, the mailboxes that were already copied stay in the target, and a later run copies only
// the others.
func Domain(ctx context.Context, from, to Store, domain string, dryRun bool, progress func(done, all int)) (Report, error) {
	var report Report
	if progress == nil {
		progress = func(int, int) {}
	}
	source, err := read(ctx, from, domain)
	if err != nil {
		return report, fmt.Errorf("read: %w", err)
	}
	target, err := read(ctx, to, domain)
	if err != nil {
		return report, fmt.Errorf("read the target: %w", err)
	}
	there := make(map[string]store.Entry, len(target))
	for _, e := range target {
		there[e.Localpart] = e
	}
	var missing []store.Entry
	for _, e := range source {
		switch old, ok := there[e.Localpart]; {
		case !ok:
			if err := e.Check(); err != nil {
				report.Refused = append(report.Refused, e.String()+": "+err.Error())
				continue
			}
			missing = append(missing, e)
		case old == e:
			report.Same++
		default:
			report.Differ = append(report.Differ, e.String())
		}
	}
	for len(missing) > 0 {
		part := missing[:min(chunk, len(missing))]
		if !dryRun {
			if err := create(ctx, to, part); err != nil {
				return report, err
			}
		}
		report.Copied += len(part)
		missing = missing[len(part):]
		progress(len(source)-len(missing), len(source))
	}
	return report, nil
}

// read returns the mailboxes of a domain together with their hashes.
func read(ctx context.Context, s Store, domain string) ([]store.Entry, error) {
	list, err := s.List(ctx, domain)
	if err != nil {
		return nil, err
	}
	var hashes map[string]string
	if h, ok := s.(hasher); ok {
		if hashes, err = h.Hashes(ctx, domain); err != nil {
			return nil, err
		}
	}
	entries := make([]store.Entry, 0, len(list))
	for _, b := range list {
		hash, ok := hashes[b.Localpart]
		if !ok {
			if hash, _, err = s.Hash(ctx, b.Address); errors.Is(err, store.ErrNoMailbox) {
				continue // Deleted after the list was read.
			} else if err != nil {
				return nil, err
			}
		}
		entries = append(entries, store.Entry{Mailbox: b, Hash: hash})
	}
	return entries, nil
}

func create(ctx context.Context, to Store, entries []store.Entry) error {
	if importer, ok := to.(store.Importer); ok {
		return importer.Import(ctx, entries)
	}
	for _, e := range entries {
		if err := to.Create(ctx, e.Mailbox, e.Hash); err != nil {
			return err
		}
	}
	return nil
}
