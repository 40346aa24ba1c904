package files

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"sort"
	"strings"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// domainFiles contains the mailboxes of a domain while readDomain reads its files. It needs no map of the names, because programs write the lines of
// all files in the same order: the next line of a file is usually for the next mailbox of the shadow file.
type domainFiles struct {
	domain  string
	entries []store.Entry // Sorted by local part.
	odd     []store.Odd
	lines   []line  // The lines of the shadow file in their order.
	entryOf []int32 // For each of the lines, its mailbox in entries; -1 if it has none.
	lineOf  []int32 // For each of the entries, its line.
	next    int     // The line whose mailbox is expected next.
}

// Read returns the mailboxes of a domain, sorted by local part, and the lines that are not taken as mailboxes. read
// returns the contents of the file called name, or nothing if there is no such file.
func Read(domain string, read func(name string) ([]byte, error)) ([]store.Entry, []store.Odd, error) {
	return readDomain(domain, true, read)
}

// readDomain does the same as Read. If hashes is false, it leaves the hashes out.
func readDomain(domain string, hashes bool, read func(name string) ([]byte, error)) ([]store.Entry, []store.Odd, error) {
	passwd, err := read(passwdName)
	if err != nil {
		return nil, nil, err
	}
	shadow, err := read(shadowName)
	if err != nil {
		return nil, nil, err
	}
	r := &domainFiles{domain: domain}
	r.addShadow(shadow, hashes)
	r.addPasswd(passwd, hashes)
	quota, err := read(quotaName)
	if err != nil {
		return nil, nil, err
	}
	r.addQuotas(quota)
	for _, f := range flagFiles {
		content, err := read(f.name)
		if err != nil {
			return nil, nil, err
		}
		r.next = 0
		for l := range each(content) {
			if i := r.find(l.name); i >= 0 {
				r.entries[i].Suspended |= f.flag
			}
		}
	}
	slices.SortFunc(r.odd, func(a, b store.Odd) int { return cmp.Compare(a.Name+"\x00"+a.Where, b.Name+"\x00"+b.Where) })
	return r.entries, slices.CompactFunc(r.odd, func(a, b store.Odd) bool { return a.Name == b.Name }), nil
}

// addShadow adds the mailboxes of the shadow file.
func (r *domainFiles) addShadow(content []byte, hashes bool) {
	const shortest = 16 // Most lines are longer; a file of empty lines must not need much memory.
	r.lines = make([]line, 0, min(bytes.Count(content, []byte{'\n'})+1, len(content)/shortest+1))
	for l := range each(content) {
		r.lines = append(r.lines, l)
	}
	order := make([]int32, len(r.lines))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		x, y := &r.lines[a], &r.lines[b]
		if c := bytes.Compare(x.name, y.name); c != 0 {
			return c
		}
		if x.before(*y) {
			return -1
		}
		return 1
	})
	r.entries, r.lineOf = make([]store.Entry, 0, len(order)), make([]int32, 0, len(order))
	r.entryOf = make([]int32, len(r.lines))
	for k, i := range order {
		if k > 0 && bytes.Equal(r.lines[i].name, r.lines[order[k-1]].name) {
			r.entryOf[i] = r.entryOf[order[k-1]] // A line that does not count.
			continue
		}
		r.entryOf[i] = -1
		e, ok := r.entry(shadowName, string(r.lines[i].name))
		if !ok {
			continue
		}
		e.Suspended, e.Hash = store.ParseField(string(r.lines[i].field))
		if !r.lines[i].exact {
			e.Suspended |= store.Login
		}
		if !hashes {
			e.Hash = ""
		}
		r.entryOf[i] = int32(len(r.entries))
		r.entries, r.lineOf = append(r.entries, e), append(r.lineOf, i)
	}
}

// entry returns a mailbox without a password. ok is false if no mailbox can have the name; the name is then odd.
func (r *domainFiles) entry(file, name string) (e store.Entry, ok bool) {
	a, err := store.NewAddress(name, r.domain)
	if err == nil && a.Localpart != name {
		err = errors.New("has upper-case letters; a mail server looks mailboxes up in lower case")
	}
	if err != nil {
		r.odd = append(r.odd, store.Odd{Name: name, Where: "etc/" + r.domain + "/" + file, Reason: "the name " + strings.TrimPrefix(err.Error(), "email: ")})
		return e, false
	}
	return store.Entry{Mailbox: store.Mailbox{Address: a, Suspended: store.Login}, Hash: store.NoPassword}, true
}

// find returns the mailbox with the given name as its place in entries, or -1 if it does not exist.
func (r *domainFiles) find(name []byte) int {
	if r.next < len(r.lines) && bytes.Equal(r.lines[r.next].name, name) {
		r.next++
		return int(r.entryOf[r.next-1])
	}
	i := sort.Search(len(r.entries), func(i int) bool { return r.entries[i].Localpart >= string(name) })
	if i == len(r.entries) || r.entries[i].Localpart != string(name) {
		return -1
	}
	if i < len(r.lineOf) {
		r.next = int(r.lineOf[i]) + 1
	}
	return i
}

// addPasswd adds the mailboxes that only the passwd file has. Nobody can log in to them.
func (r *domainFiles) addPasswd(content []byte, hashes bool) {
	var more []store.Entry
	known := make(map[string]bool)
	for l := range each(content) {
		if r.find(l.name) >= 0 || known[string(l.name)] {
			continue
		}
		known[string(l.name)] = true
		if e, ok := r.entry(passwdName, string(l.name)); ok {
			if !hashes {
				e.Hash = ""
			}
			more = append(more, e)
		}
	}
	if more == nil {
		return
	}
	r.entries = append(r.entries, more...)
	slices.SortFunc(r.entries, func(a, b store.Entry) int { return cmp.Compare(a.Localpart, b.Localpart) })
	r.lines, r.entryOf, r.lineOf = nil, nil, nil // The places have changed; find searches.
}

// addQuotas sets the quotas of the mailboxes.
func (r *domainFiles) addQuotas(content []byte) {
	counting := make([]line, len(r.entries)) // The line that counts for each mailbox.
	r.next = 0
	for l := range each(content) {
		i := r.find(l.name)
		if i < 0 || counting[i].name != nil && !l.before(counting[i]) {
			continue
		}
		counting[i] = l
		r.entries[i].Quota, r.entries[i].BadQuota = parseQuota(l.field)
	}
}
