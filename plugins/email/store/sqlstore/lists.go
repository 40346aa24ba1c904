package sqlstore

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// List implements store.Store.
func (s *Store) List(ctx context.Context, domains ...string) ([]store.Mailbox, error) {
	var list []store.Mailbox
	err := s.rows(ctx, domains, func(e store.Entry, _ string, ok bool) {
		if ok {
			list = append(list, e.Mailbox)
		}
	})
	store.Sort(list) // Databases sort differently from Go.
	return list, err
}

// Entries implements store.Transfer.
func (s *Store) Entries(ctx context.Context, domain string) ([]store.Entry, []store.Odd, error) {
	var entries []store.Entry
	var odd []store.Odd
	err := s.rows(ctx, []string{domain}, func(e store.Entry, name string, ok bool) {
		if ok {
			entries = append(entries, e)
		} else {
			odd = append(odd, store.Odd{Name: name, Where: "mailbox", Reason: "the name is not a mailbox of " + domain + " in lower case"})
		}
	})
	slices.SortFunc(entries, func(a, b store.Entry) int { return cmp.Compare(a.Localpart, b.Localpart) })
	slices.SortFunc(odd, func(a, b store.Odd) int { return cmp.Compare(a.Name, b.Name) })
	return entries, odd, err
}

// maxDomains is the maximum number of domains that a query names; databases limit the number of parameters.
const maxDomains = 10_000

// rows calls each with the mailboxes of the domains, in one query. ok is false for a row that is no mailbox of them.
func (s *Store) rows(ctx context.Context, domains []string, each func(e store.Entry, name string, ok bool)) error {
	for some := range slices.Chunk(slices.Compact(slices.Sorted(slices.Values(domains))), maxDomains) {
		if err := s.someRows(ctx, some, each); err != nil {
			return s.classify("list the mailboxes", err)
		}
	}
	return nil
}

func (s *Store) someRows(ctx context.Context, domains []string, each func(e store.Entry, name string, ok bool)) error {
	in, args := among(domains)
	rows, err := s.db.QueryContext(ctx, s.d.rebind("SELECT m.domain, "+columns+" WHERE m.domain IN "+in), args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	wanted := make(map[string]bool, len(domains))
	for _, domain := range domains {
		wanted[domain] = true
	}
	for rows.Next() {
		var r row
		var domain string
		if err := r.scan(func(to ...any) error { return rows.Scan(append([]any{&domain}, to...)...) }); err != nil {
			return err
		}
		e, ok := r.entry()
		each(e, r.username, ok && wanted[e.Domain] && store.Lower(strings.TrimRight(domain, " ")) == e.Domain)
	}
	return rows.Err()
}

// among returns a list of placeholders for values, and the values as arguments of a query.
func among(values []string) (in string, args []any) {
	args = make([]any, len(values))
	for i, value := range values {
		args[i] = value
	}
	return "(?" + strings.Repeat(", ?", len(values)-1) + ")", args
}

// Count implements store.Store. The database counts, in one query.
func (s *Store) Count(ctx context.Context, domains ...string) (int, error) {
	var valid []string
	for _, domain := range domains {
		if a, err := store.NewAddress("a", domain); err == nil && a.Domain == domain {
			valid = append(valid, domain)
		}
	}
	// A row counts if List returns it: its username is a valid local part, an @, and its domain, in lower case.
	const pattern = "^[a-z0-9_+=&~][a-z0-9_+=&~-]*([.][a-z0-9_+=&~-]+)*@[^@]+$"
	name := s.d.exact("m.username")
	at := "POSITION('@' IN " + name + ")"
	domain := "SUBSTRING(" + name + ", " + at + " + 1)"
	total := 0
	for some := range slices.Chunk(slices.Compact(slices.Sorted(slices.Values(valid))), maxDomains) {
		in, args := among(some)
		query := "SELECT COUNT(*) FROM mailbox m WHERE m.domain IN " + in + " AND " + s.d.matches(name, pattern) + " AND " + at + " <= 65" +
			" AND " + domain + " IN " + in + " AND " + domain + " = " + s.d.exactLower("RTRIM(m.domain)")
		var n int
		if err := s.db.QueryRowContext(ctx, s.d.rebind(query), append(args, args...)...).Scan(&n); err != nil {
			return 0, s.classify("count the mailboxes", err)
		}
		total += n
	}
	return total, nil
}

// maxNames is the maximum number of mailboxes that a query names.
const maxNames = 1000

// Usage implements store.Store. It reads the table quota2, which Dovecot's quota plugin maintains.
func (s *Store) Usage(ctx context.Context, box store.Address) (store.Usage, error) {
	usages, err := s.Usages(ctx, []store.Address{box})
	if err != nil {
		return store.Usage{}, err
	}
	return usages[0], nil
}

// Usages implements store.Store. For many mailboxes it reads all of their domains, in one query. A mailbox without a
// row has no usage: no mail has arrived, or Dovecot does not count it.
func (s *Store) Usages(ctx context.Context, boxes []store.Address) ([]store.Usage, error) {
	names, domains := make([]string, len(boxes)), make(map[string]bool)
	for i, box := range boxes {
		names[i], domains[box.Domain] = box.String(), true
	}
	m := &measuring{at: make(map[string]int, len(boxes)), usages: make([]store.Usage, len(boxes)), exact: make([]bool, len(boxes))}
	for i, name := range names {
		m.at[name] = i
	}
	var err error
	if len(names) > maxNames && len(domains) <= maxDomains {
		in, args := among(slices.Collect(maps.Keys(domains)))
		err = s.measure(ctx, m, "SELECT q.username, q.bytes, q.messages FROM quota2 q JOIN mailbox m ON m.username = q.username WHERE m.domain IN "+in, args)
	}
	if len(names) <= maxNames || len(domains) > maxDomains || s.d.mixed(err) {
		err = nil
		for some := range slices.Chunk(names, maxNames) {
			in, args := among(some)
			if err = s.measure(ctx, m, "SELECT username, bytes, messages FROM quota2 WHERE username IN "+in, args); err != nil {
				break
			}
		}
	}
	if err != nil && !s.d.missing(err) {
		return nil, s.classify("read the usage", err)
	}
	for i, name := range names {
		m.usages[i] = m.usages[m.at[name]] // The same mailbox may be in boxes twice.
	}
	return m.usages, nil
}

// measuring collects the usages of mailboxes.
type measuring struct {
	at     map[string]int // The place of each mailbox.
	usages []store.Usage
	exact  []bool // Whether the row has exactly the mailbox's name.
}

// measure adds the usages that a query returns. Dovecot may write a name as the user wrote it at the login, so a row
// whose name differs only in its capitals counts if there is no other.
func (s *Store) measure(ctx context.Context, m *measuring, query string, args []any) error {
	rows, err := s.db.QueryContext(ctx, s.d.rebind(query), args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		var usage store.Usage
		if err := rows.Scan(&name, &usage.Bytes, &usage.Messages); err != nil {
			return err
		}
		i, exact := m.at[name]
		if !exact {
			var ok bool
			if i, ok = m.at[store.Lower(name)]; !ok || m.exact[i] {
				continue
			}
		}
		m.usages[i], m.exact[i] = store.Usage{Bytes: max(usage.Bytes, 0), Messages: max(usage.Messages, 0)}, exact
	}
	return rows.Err()
}
