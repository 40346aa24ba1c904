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

// ErrShared is returned if several accounts have the given uid.
var ErrShared = errors.New("account: several accounts have the same user")

// ErrSuspended is returned if the account is suspended.
var ErrSuspended = errors.New("account: suspended")

// Sources configures where accounts come from. If several sources define an account with the same name, the
// first source is used, in the order of the fields.
type Sources struct {
	Files       string // Directory of TOML files; "" means none.
	CPanelUsers string // Path of a cPanel server's /var/cpanel/users; "" means none.
	UserDomains string // Path of a cPanel server's /etc/userdomains; "" means none.
	UserData    string // Path of a cPanel server's /etc/userdatadomains; "" means none.
	Features    string // Path of a cPanel server's /var/cpanel/features; "" means none.
	SystemFrom  int    // System users with this uid or a higher uid are accounts; 0 means none.
	Owners      string // File with the last known owner of each domain; "" means none.
}

// source is a place that accounts come from. It must be comparable, because Directory uses it as a key of a
// map.
type source interface {
	all(lookup) (reading, error) // Reads all accounts; the error means nothing could be read.
	watched() []string           // The paths of the source: first a directory, then files.
}

// reading is the result of reading a source.
type reading struct {
	accounts []protocol.Account
	names    []string // Names of accounts that exist but can't be read.
	errs     []error  // Why these accounts can't be read, and other problems.
}

func (r *reading) broken(name string, err error) {
	r.names, r.errs = append(r.names, name), append(r.errs, err)
}

// Directory contains all accounts of a host, as of the last call of Reload. It is safe for concurrent use.
type Directory struct {
	sources    []source
	system     int
	ownersFile string

	reloading sync.Mutex
	last      map[source]reading // Result of the last successful reading of each source.
	loaded    bool               // Whether Reload has tried to read the file of owners.
	saved     map[string]string  // Content of the file of owners.

	mu        sync.RWMutex
	byName    map[string]protocol.Account
	byUID     map[int][]string
	owners    map[string]string   // Maps each domain to the name of its account.
	contested map[string][]string // Maps each domain with several claimants to these accounts.
	taken     map[string]bool     // Names of all accounts, including unreadable accounts.
	// unread contains the last known state of each account that can't be read now.
	unread map[string]protocol.Account
	// incomplete means that a source or the file of owners could not be read in the last Reload.
	incomplete bool
}

// list returns the configured sources, the one with the highest priority first.
func (s Sources) list() []source {
	var all []source
	if s.Files != "" {
		all = append(all, NewDir(s.Files, false))
	}
	if s.CPanelUsers != "" {
		all = append(all, cpanel{users: s.CPanelUsers, userdomains: s.UserDomains, userdata: s.UserData, features: s.Features})
	}
	return all
}

// ByName reads the account called name, without reading all accounts if possible. It is for tools that need a
// single account. A suspended account is returned without an error.
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
		return a, nil // As with Dir.ByName, the caller must check Suspended.
	}
	return a, err
}

// NewDirectory returns a directory for the given sources. It contains no accounts until Reload is called.
func NewDirectory(s Sources) *Directory {
	return &Directory{sources: s.list(), system: s.SystemFrom, ownersFile: s.Owners, last: make(map[source]reading)}
}

// Reload reads all sources again. ended contains the names of accounts that must lose their sessions and
// workers, because the accounts were removed, were suspended, became unreadable or changed their uid or gid.
// broken contains the problems that were found. If a whole source can't be read, Reload uses the last content
// of that source. If a single account can't be read, the account can't be used, and no later source can
// define an account with the same name. The name of an account that became unreadable may appear in ended a
// second time: when a later Reload finds that the account was removed, or that it is readable again but was
// suspended or changed its uid or gid in the meantime.
func (d *Directory) Reload() (ended []string, broken []error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	index := newIndex()
	find, users, err := passwdUsers()
	if err != nil {
		return nil, []error{fmt.Errorf("reload the accounts: %w; the host keeps the accounts that it read before", err)}
	}
	failed := false // Whether a source or the file of owners can't be read.
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

// changed reports whether the sessions and workers of an account must end, because the account was suspended
// or changed its uid or gid.
func changed(old, now protocol.Account) bool {
	return now.Suspended && !old.Suspended || now.UID != old.UID || now.GID != old.GID
}

// ByName returns the account called name. It returns ErrUnknown if there is no such account. If the account
// is suspended, it returns the account together with ErrSuspended.
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

// ByUID returns the account with the given uid. Its errors are those of ByName. If several accounts have the
// uid, it returns ErrShared, because the uid does not tell which of the accounts is meant.
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

// ByDomain returns the account that owns domain. Its errors are those of ByName. If the owner can't be read,
// or if several accounts claim the domain and none owns it, the error is not ErrUnknown, because the domain
// belongs to some account of the host.
func (d *Directory) ByDomain(domain string) (protocol.Account, error) {
	d.mu.RLock()
	name, ok := d.owners[domain]
	claimed := d.contested[domain]
	d.mu.RUnlock()
	if !ok && len(claimed) > 0 {
		return protocol.Account{}, fmt.Errorf("the domain %.80q is claimed by the accounts %s, so none of them owns the domain", domain, strings.Join(claimed, ", "))
	}
	if !ok {
		return protocol.Account{}, fmt.Errorf("%w: domain %.80q", ErrUnknown, domain)
	}
	a, err := d.ByName(name)
	if errors.Is(err, ErrUnknown) {
		return a, fmt.Errorf("the account %s, which owns the domain %.80q, can't be read", name, domain)
	}
	return a, err
}

// Unreadable reports whether a source contains an account called name that can't be read.
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

// claimants returns the names of all accounts that own or claim domain.
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

// Owner returns the name of the account that owns domain, or "".
func (d *Directory) Owner(domain string) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.owners[domain]
}

// Owners returns the owner of each domain, including accounts that can't be read at the moment. complete is
// false if domains may be missing, because a source or the file of owners could not be read. The caller must
// not change the map.
func (d *Directory) Owners() (owners map[string]string, complete bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.owners, d.loaded && !d.incomplete
}

// Names returns the names of all readable accounts, sorted.
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

// Programs often change the sources in several steps, so Watch waits until no change has happened for the
// duration settle. Each further change restarts this wait, but not if the first change is longer ago than
// latest. again is the interval at which Watch calls changed even if it has observed no change.
const (
	settle = 100 * time.Millisecond
	latest = 500 * time.Millisecond
	again  = time.Minute
)

// Watch calls changed once at the start, after changes of the sources or of /etc/passwd, and every minute,
// until ctx ends. Several changes in a short time cause only one call.
func (d *Directory) Watch(ctx context.Context, changed func()) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch the accounts: %w", err)
	}
	defer func() { _ = watcher.Close() }()
	files := make(map[string]bool)
	dirs := make(map[string]bool)
	// Accounts can take their uid, gid and home from /etc/passwd, so this file is watched, too.
	files[passwdFile], dirs[filepath.Dir(passwdFile)] = true, false
	for _, s := range d.sources {
		for i, path := range s.watched() {
			path = filepath.Clean(path) // fsnotify reports clean paths in its events.
			if i == 0 {
				dirs[path] = true
				continue
			}
			// Programs replace a file by a rename, which ends a watch on the file. So the file's directory is
			// watched.
			files[path] = true
			dirs[filepath.Dir(path)] = dirs[filepath.Dir(path)] || false
		}
	}
	for dir := range dirs {
		if err := watcher.Add(dir); err != nil {
			return fmt.Errorf("watch %s: %w", dir, err)
		}
	}
	changed() // The sources may have changed before the watch began.
	// Some changes cause no event, for example if a watched directory is replaced. So changed is also called
	// at regular intervals.
	anyway := time.NewTicker(again)
	defer anyway.Stop()
	still := time.NewTimer(time.Hour)
	still.Stop()
	var first time.Time // Time of the first change since changed was last called.
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
			note() // Events may have been lost, so read the sources.
		case <-anyway.C:
			changed()
		case <-still.C:
			first = time.Time{}
			changed()
		}
	}
}
