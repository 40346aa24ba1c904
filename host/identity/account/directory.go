package account

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/liveapid/liveapid/protocol"
)

// ErrShared is returned if several accounts have the same user.
var ErrShared = errors.New("account: shared user")

// ErrSuspended is returned for a suspended account.
var ErrSuspended = errors.New("account: suspended")

// Sources are the places that accounts come from. If several have an account of the same name, the first
// counts.
type Sources struct {
	Files       string // Directory of TOML files; "" means none.
	CPanelUsers string // A cPanel server's /var/cpanel/users; "" means none.
	UserDomains string // A cPanel server's /etc/userdomains; "" means that only the users files count.
	SystemFrom  int    // System users with this uid or a higher one are accounts without domains; 0 means none.
	Owners      string // The file in which the host remembers to which account each domain belonged; "" means none.
}

// source is a source of accounts.
type source interface {
	all(lookup) (reading, error) // The error means that the whole source can't be read.
	watched() []string           // Files and directories that the source depends on.
}

// reading is the content of a source.
type reading struct {
	accounts []protocol.Account
	names    []string // Accounts that exist but can't be read.
	errs     []error  // Why they can't be read, and other problems.
}

func (r *reading) broken(name string, err error) {
	r.names, r.errs = append(r.names, name), append(r.errs, err)
}

// Directory holds all accounts of a host, as of the last Reload.
type Directory struct {
	sources    []source
	system     int
	ownersFile string

	reloading sync.Mutex
	last      map[source]reading // The last content of each source that could be read.
	loaded    bool               // The file of owners was read.
	saved     map[string]string  // The content of the file of owners.

	mu        sync.RWMutex
	byName    map[string]protocol.Account
	byUID     map[int][]string
	owners    map[string]string   // The account of each domain.
	contested map[string][]string // The accounts that claim a domain, if there are several.
	taken     map[string]bool     // Names in any source, readable or not.
	// unread is the last known state of accounts that can't be read now.
	unread map[string]protocol.Account
	// incomplete means that a source, or the file of owners, could not be read.
	incomplete bool
}

// list returns the sources in their order.
func (s Sources) list() []source {
	var all []source
	if s.Files != "" {
		all = append(all, NewDir(s.Files, false))
	}
	if s.CPanelUsers != "" {
		all = append(all, cpanel{users: s.CPanelUsers, userdomains: s.UserDomains})
	}
	return all
}

// ByName returns a single account, for tools that need no other.
func (s Sources) ByName(name string) (protocol.Account, error) {
	if s.Files != "" {
		if a, err := NewDir(s.Files, false).ByName(name); !errors.Is(err, ErrUnknown) {
			return a, err
		}
	}
	rest := s
	rest.Files = ""
	d := NewDirectory(rest)
	_, broken := d.Reload()
	a, err := d.ByName(name)
	if errors.Is(err, ErrUnknown) {
		err = errors.Join(append([]error{err}, broken...)...)
	}
	if errors.Is(err, ErrSuspended) {
		return a, nil // As with Dir.ByName, the caller checks Suspended.
	}
	return a, err
}

// NewDirectory returns a directory that is empty until Reload.
func NewDirectory(s Sources) *Directory {
	return &Directory{sources: s.list(), system: s.SystemFrom, ownersFile: s.Owners, last: make(map[source]reading)}
}

// Reload reads all sources. It returns the names of accounts that were removed, were suspended or changed
// their user, and the errors. If a source can't be read at all, its last content stays. If an account can't
// be read, it can't be used, and no later source can provide it; once it is readable again, it is reported as
// ended if it was removed or changed its user.
func (d *Directory) Reload() (ended []string, broken []error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	index := newIndex()
	find, users, err := passwdUsers()
	if err != nil {
		return nil, []error{fmt.Errorf("accounts: %w: all stays as it was", err)}
	}
	failed := false // Some accounts are not known.
	if !d.loaded {
		if d.saved, err = loadOwners(d.ownersFile); err != nil {
			broken, failed = append(broken, err), true
		}
		d.mu.Lock()
		d.loaded, d.owners = true, d.saved
		d.mu.Unlock()
	}
	for _, s := range d.sources {
		r, err := s.all(find)
		if err != nil {
			broken, failed = append(broken, err), true
			r = d.last[s]
		} else {
			broken = append(broken, r.errs...)
			d.last[s] = r
		}
		for _, name := range r.names {
			index.addUnreadable(name, d.owners)
		}
		for _, a := range r.accounts {
			broken = append(broken, index.add(a)...)
		}
	}
	if d.system > 0 {
		for _, u := range users {
			if u.UID >= d.system && len(index.byUID[u.UID]) == 0 && ValidName(u.Name) {
				broken = append(broken, index.add(u)...)
			}
		}
	}
	if failed {
		index.keepOwners(d.owners)
	}
	broken = append(broken, index.settle(d.owners)...)
	d.mu.Lock()
	defer d.mu.Unlock()
	unread := make(map[string]protocol.Account)
	for name, old := range d.unread {
		if a, there := index.byName[name]; there && changed(old, a) || !there && !index.taken[name] {
			ended = append(ended, name)
		} else if !there {
			unread[name] = old
		}
	}
	for name, old := range d.byName {
		a, there := index.byName[name]
		if !there || changed(old, a) {
			ended = append(ended, name)
		}
		if !there && index.taken[name] {
			unread[name] = old
		}
	}
	d.unread = unread
	slices.Sort(ended)
	d.incomplete = failed
	d.byName, d.byUID, d.owners, d.contested, d.taken = index.byName, index.byUID, index.owners, index.contested, index.taken
	return ended, broken
}

// changed reports whether the sessions, tokens and workers of an account must end.
func changed(old, now protocol.Account) bool {
	return now.Suspended && !old.Suspended || now.UID != old.UID || now.GID != old.GID
}

// ByName returns the account with a name, or ErrUnknown, or ErrSuspended together with the account.
func (d *Directory) ByName(name string) (protocol.Account, error) {
	d.mu.RLock()
	a, ok := d.byName[name]
	d.mu.RUnlock()
	switch {
	case !ok:
		return protocol.Account{}, fmt.Errorf("%w: name %.40q", ErrUnknown, name)
	case a.Suspended:
		return a, fmt.Errorf("%w: %s", ErrSuspended, name)
	}
	return a, nil
}

// ByUID returns the account of a uid, or ErrUnknown, or ErrSuspended. If several accounts have the uid, it
// returns ErrShared, because nobody can tell which is meant.
func (d *Directory) ByUID(uid int) (protocol.Account, error) {
	d.mu.RLock()
	names := d.byUID[uid]
	d.mu.RUnlock()
	switch len(names) {
	case 0:
		return protocol.Account{}, fmt.Errorf("%w: uid %d", ErrUnknown, uid)
	case 1:
		return d.ByName(names[0])
	}
	return protocol.Account{}, fmt.Errorf("%w: accounts %s and %s share uid %d", ErrShared, names[0], names[1], uid)
}

// ByDomain returns the account of a domain, like ByName. If the account can't be read, the error is not
// ErrUnknown, because the domain has an owner.
func (d *Directory) ByDomain(domain string) (protocol.Account, error) {
	d.mu.RLock()
	name, ok := d.owners[domain]
	claimed := d.contested[domain]
	d.mu.RUnlock()
	if !ok && len(claimed) > 0 {
		return protocol.Account{}, fmt.Errorf("the domain %.80q is claimed by the accounts %s", domain, strings.Join(claimed, ", "))
	}
	if !ok {
		return protocol.Account{}, fmt.Errorf("%w: domain %.80q", ErrUnknown, domain)
	}
	a, err := d.ByName(name)
	if errors.Is(err, ErrUnknown) {
		return a, fmt.Errorf("the account %s, which has the domain %.80q, can't be read", name, domain)
	}
	return a, err
}

// Unreadable reports whether a source has an account of that name that can't be read.
func (d *Directory) Unreadable(name string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, known := d.byName[name]
	return !known && d.taken[name]
}

// unreadable returns the names of the accounts that can't be read.
func (d *Directory) unreadable() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var out []string
	for name := range d.taken {
		if _, known := d.byName[name]; !known {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// claimants returns the accounts that have or claim a domain.
func (d *Directory) claimants(domain string) []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if names := d.contested[domain]; len(names) > 0 {
		return names
	}
	if owner, ok := d.owners[domain]; ok {
		return []string{owner}
	}
	return nil
}

// Owner returns the account that has a domain, or "".
func (d *Directory) Owner(domain string) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.owners[domain]
}

// Names returns the names of all accounts in order.
func (d *Directory) Names() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	names := make([]string, 0, len(d.byName))
	for name := range d.byName {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// settle is how long the sources must stay unchanged before they are read, because programs write them in
// several steps; latest is the longest such wait. again is the interval of reading without a change.
const (
	settle = 100 * time.Millisecond
	latest = 500 * time.Millisecond
	again  = time.Minute
)

// Watch calls changed after each change of the sources, until ctx ends.
func (d *Directory) Watch(ctx context.Context, changed func()) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch the accounts: %w", err)
	}
	defer func() { _ = watcher.Close() }()
	files := make(map[string]bool)
	dirs := make(map[string]bool)
	// Accounts without their own uids depend on the system's file.
	files[passwdFile], dirs[filepath.Dir(passwdFile)] = true, false
	for _, s := range d.sources {
		for i, path := range s.watched() {
			path = filepath.Clean(path) // As events name it.
			if i == 0 {
				dirs[path] = true
				continue
			}
			// A file is replaced by a rename, so its directory is watched.
			files[path] = true
			dirs[filepath.Dir(path)] = dirs[filepath.Dir(path)] || false
		}
	}
	for dir := range dirs {
		if err := watcher.Add(dir); err != nil {
			return fmt.Errorf("watch %s: %w", dir, err)
		}
	}
	changed() // Changes before the watch began.
	// Some changes cause no event, such as a replaced directory, so the sources are also read from time to
	// time.
	anyway := time.NewTicker(again)
	defer anyway.Stop()
	still := time.NewTimer(time.Hour)
	still.Stop()
	var first time.Time // When the first unseen change happened: reading can't be put off for ever.
	note := func() {
		if first.IsZero() {
			first = time.Now()
		}
		if time.Since(first) < latest {
			still.Reset(settle)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-watcher.Events:
			if !ok {
				return nil
			}
			if dirs[filepath.Dir(e.Name)] || files[e.Name] {
				note()
			}
		case <-watcher.Errors:
			note() // Events were lost, so the sources must be read.
		case <-anyway.C:
			changed()
		case <-still.C:
			first = time.Time{}
			changed()
		}
	}
}
