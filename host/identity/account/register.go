package account

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/atomicfile"
	"github.com/liveapid/liveapid/protocol"
)

// Registry is where accounts are registered: the one way in for those that are created and imported.
type Registry struct {
	Dir string // Directory of the accounts' files.
	// Sources are all that the host has, Dir among them; zero in personal mode, which serves one account.
	Sources Sources
	// Credential rejects a user that no account may have; nil in personal mode.
	Credential func(protocol.Account) error
	// Served returns the accounts that a running host serves each of some domains to; nil if none
	// can be asked.
	Served func(domains []string) (map[string]string, error)
}

// Check returns f as it would be registered under name, or why it can't be: a bad name or domain, a
// domain that another account has, a user that no account may have. It fails if an account's file
// can't be read: that account's domains are not known, then.
func (r Registry) Check(name string, f File) (File, error) {
	if !ValidName(name) {
		return f, fmt.Errorf("%.60q is no account's name: letters, digits, _, - and ., at most 64", name)
	}
	if _, err := os.Lstat(r.path(name)); err == nil {
		return f, fmt.Errorf("the account %s is registered already: %s", name, r.path(name))
	}
	if len(f.Domains) == 0 {
		return f, errors.New("the account has no domain")
	}
	for i, text := range f.Domains {
		domain, err := ParseDomain(text)
		if err != nil {
			return f, fmt.Errorf("domain %w", err)
		}
		f.Domains[i] = domain
	}
	if r.Sources == (Sources{}) {
		return f, nil // One account is served, of the host's own user: there is nobody to take from.
	}
	directory, err := r.read()
	if err != nil {
		return f, err
	}
	if err := r.checkUser(directory, name, f); err != nil {
		return f, err
	}
	return f, r.checkDomains(directory, name, f.Domains)
}

// read returns all accounts, or an error if one of them can't be read.
func (r Registry) read() (*Directory, error) {
	d := NewDirectory(r.Sources)
	_, broken := d.Reload()
	if d.incomplete {
		return nil, fmt.Errorf("nothing can be registered while not all accounts can be read: %w", errors.Join(broken...))
	}
	if unreadable := d.unreadable(); len(unreadable) > 0 {
		return nil, fmt.Errorf("nothing can be registered while these accounts can't be read, whose domains are not known: %s: %w",
			strings.Join(unreadable, ", "), errors.Join(broken...))
	}
	return d, nil
}

// checkUser checks the user of an account in server mode.
func (r Registry) checkUser(d *Directory, name string, f File) error {
	if r.Credential == nil {
		return nil
	}
	if f.UID == nil || f.GID == nil {
		return errors.New("the account has no uid and gid")
	}
	if err := r.Credential(protocol.Account{Name: name, UID: *f.UID, GID: *f.GID}); err != nil {
		return err
	}
	a, err := d.ByUID(*f.UID)
	switch {
	case errors.Is(err, ErrUnknown), a.Name == name: // It comes out of another source, and gets a file now.
		return nil
	case err == nil || errors.Is(err, ErrSuspended):
		return fmt.Errorf("uid %d is the account %s's: neither could connect", *f.UID, a.Name)
	}
	return err
}

// checkDomains fails if a domain is another account's, by the files or to the host that runs.
func (r Registry) checkDomains(d *Directory, name string, domains []string) error {
	var taken []string
	for _, domain := range domains {
		for _, owner := range d.claimants(domain) {
			if owner != name {
				taken = append(taken, fmt.Sprintf("the domain %s is the account %s's", domain, owner))
			}
		}
	}
	if len(taken) == 0 && r.Served != nil {
		served, err := r.Served(domains)
		if err != nil {
			return fmt.Errorf("the running host can't be asked whose the domains are: %w", err)
		}
		for domain, owner := range served {
			if owner != name {
				taken = append(taken, fmt.Sprintf("the running host serves the domain %s to the account %s", domain, owner))
			}
		}
	}
	if len(taken) > 0 {
		return fmt.Errorf("not registered: %s", strings.Join(taken, "; "))
	}
	return nil
}

// Register checks an account and writes its file, whole or not at all; comment is its first line.
func (r Registry) Register(name string, f File, comment string) (path string, err error) {
	lock, err := r.lock()
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }()
	if f, err = r.Check(name, f); err != nil {
		return "", err
	}
	text, err := toml.Marshal(f)
	if err != nil {
		return "", err
	}
	path = r.path(name)
	err = atomicfile.WriteNew(path, append([]byte("# "+comment+"\n"), text...), 0o644)
	if errors.Is(err, os.ErrExist) {
		err = fmt.Errorf("the account %s is registered already: %s", name, path)
	}
	return path, err
}

func (r Registry) path(name string) string { return filepath.Join(r.Dir, name+".toml") }

// lock keeps two registrations from each missing what the other writes. The lock is the directory's own.
func (r Registry) lock() (*os.File, error) {
	f, err := os.Open(r.Dir)
	if err != nil {
		return nil, fmt.Errorf("lock the accounts: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the accounts: %w", err), f.Close())
	}
	return f, nil
}
