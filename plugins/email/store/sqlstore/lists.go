package sqlstore

import (
	"cmp"
	"context"
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

// rows calls each with the mailboxes of the domains, in one query. ok is false for a row that is no mailbox of them.
func (s *Store) rows(ctx context.Context, domains []string, each func(e store.Entry, name string, ok bool)) error {
	if len(domains) == 0 {
		return nil
	}
	in, args := among(domains)
	rows, err := s.db.QueryContext(ctx, s.d.rebind("SELECT m.domain, "+columns+" WHERE m.domain IN "+in), args...)
	if err != nil {
		return s.classify("list the mailboxes", err)
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
			return s.classify("list the mailboxes", err)
		}
		e, ok := r.entry()
		each(e, r.username, ok && wanted[e.Domain] && store.Lower(strings.TrimRight(domain, " ")) == e.Domain)
	}
	return s.classify("list the mailboxes", rows.Err())
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
	if len(domains) == 0 {
		return 0, nil
	}
	in, args := among(domains)
	// A row counts if List returns it: its username is a valid local part, an @, and its domain, in lower case.
	const at = "POSITION('@' IN m.username)"
	const pattern = "'^[a-z0-9_+=&~][a-z0-9_+=&~-]*([.][a-z0-9_+=&~-]+)*@[^@]+$'"
	query := "SELECT COUNT(*) FROM mailbox m WHERE m.domain IN " + in +
		" AND " + s.d.exact("m.username") + " " + s.d.matches + " " + pattern + " AND " + at + " <= 65" +
		" AND " + s.d.exact("SUBSTRING(m.username, "+at+" + 1)") + " IN " + in +
		" AND " + s.d.exact("SUBSTRING(m.username, "+at+" + 1)") + " = " + s.d.exact("LOWER(RTRIM(m.domain))")
	var n int
	err := s.db.QueryRowContext(ctx, s.d.rebind(query), append(args, args...)...).Scan(&n)
	return n, s.classify("count the mailboxes", err)
}

// maxNames is the maximum number of mailboxes that a query names. For more, it reads all of their domains.
const maxNames = 1000

// Usage implements store.Store. It reads the table quota2, which Dovecot's quota plugin maintains.
func (s *Store) Usage(ctx context.Context, box store.Address) (store.Usage, error) {
	usages, err := s.Usages(ctx, []store.Address{box})
	if err != nil {
		return store.Usage{}, err
	}
	return usages[0], nil
}

// Usages implements store.Store, in one query. A mailbox without a row has no usage: no mail has arrived, or Dovecot
// does not count it.
func (s *Store) Usages(ctx context.Context, boxes []store.Address) ([]store.Usage, error) {
	usages := make([]store.Usage, len(boxes))
	if len(boxes) == 0 {
		return usages, nil
	}
	at := make(map[string]int, len(boxes))
	names, domains := make([]string, len(boxes)), make([]string, 0, 1)
	for i, box := range boxes {
		names[i] = box.String()
		at[names[i]] = i
		if len(domains) == 0 || domains[len(domains)-1] != box.Domain {
			domains = append(domains, box.Domain)
		}
	}
	in, args := among(names[:min(len(names), maxNames)])
	query := "SELECT username, bytes, messages FROM quota2 WHERE username IN " + in
	if len(names) > maxNames {
		in, args = among(slices.Compact(slices.Sorted(slices.Values(domains))))
		query = "SELECT q.username, q.bytes, q.messages FROM quota2 q JOIN mailbox m ON m.username = q.username WHERE m.domain IN " + in
	}
	rows, err := s.db.QueryContext(ctx, s.d.rebind(query), args...)
	if s.d.missing(err) {
		return usages, nil
	}
	if err != nil {
		return nil, s.classify("read the usage", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		var usage store.Usage
		if err := rows.Scan(&name, &usage.Bytes, &usage.Messages); err != nil {
			return nil, s.classify("read the usage", err)
		}
		if i, ok := at[name]; ok {
			usages[i] = store.Usage{Bytes: max(usage.Bytes, 0), Messages: max(usage.Messages, 0)}
		}
	}
	if err := rows.Err(); !s.d.missing(err) {
		return usages, s.classify("read the usage", err)
	}
	return usages, nil
}
