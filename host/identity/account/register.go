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

// Registry registers new accounts, by writing their files. It is used for creating and for importing
// accounts.
type Registry struct {
	Dir string // Directory of the accounts' TOML files.
	// Sources are all sources of the host, including Dir. In personal mode, Sources is the zero value: there
	// is only one account.
	Sources Sources
	// Credential returns an error if the uid or the gid of the given account must not be used by any account.
	// In personal mode, Credential is nil.
	Credential func(protocol.Account) error
	// Served asks the running host which accounts own the given domains, and maps domains to accounts. It is
	// nil if no host can be asked.
	Served func(domains []string) (map[string]string, error)
}

// Check returns f in the form in which it would be registered under name. It returns an error if the name or
// a domain is not valid, if name is registered already, if a domain belongs to another account, or if the
// account may not use the uid and gid in f. It also returns an error if the file of any account can't be
// read, because the domains of that account are not known.
func (r Registry) Check(name string, f File) (File, error) {
	if !ValidName(name) {
		return f, fmt.Errorf("%.60q is not a valid account name: a name consists of at most 64 letters, digits and the characters _, - and .", name)
	}
	if _, err := os.Lstat(r.path(name)); err == nil {
		return f, fmt.Errorf("the account %s is already registered in the file %s", name, r.path(name))
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
		return f, nil // Personal mode: there are no other accounts to protect.
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

// read returns the directory of all accounts. It returns an error if a source or an account can't be read.
func (r Registry) read() (*Directory, error) {
	d := NewDirectory(r.Sources)
	_, broken := d.Reload()
	if d.incomplete {
		return nil, fmt.Errorf("can't register an account, because not all sources of accounts can be read: %w", errors.Join(broken...))
	}
	if unreadable := d.unreadable(); len(unreadable) > 0 {
		return nil, fmt.Errorf("can't register an account, because these accounts can't be read and their domains are not known: %s: %w",
			strings.Join(unreadable, ", "), errors.Join(broken...))
	}
	return d, nil
}

// checkUser returns an error if the account has no uid or gid, if Credential rejects them, or if another
// account has the same uid. It checks nothing if Credential is nil, as in personal mode.
func (r Registry) checkUser(d *Directory, name string, f File) error {
	if r.Credential == nil {
		return nil
	}
	if f.UID == nil || f.GID == nil {
		return errors.New("the account's uid or gid is not set")
	}
	if err := r.Credential(protocol.Account{Name: name, UID: *f.UID, GID: *f.GID}); err != nil {
		return err
	}
	a, err := d.ByUID(*f.UID)
	switch {
	case errors.Is(err, ErrUnknown), a.Name == name: // a.Name == name: another source defines this account.
		return nil
	case err == nil || errors.Is(err, ErrSuspended):
		return fmt.Errorf("uid %d belongs to the account %s; two accounts with the same uid can't connect", *f.UID, a.Name)
	}
	return err
}

// checkDomains returns an error if another account owns or claims a domain, according to the sources or to
// the running host.
func (r Registry) checkDomains(d *Directory, name string, domains []string) error {
	var taken []string
	for _, domain := range domains {
		for _, owner := range d.claimants(domain) {
			if owner != name {
				taken = append(taken, fmt.Sprintf("the domain %s belongs to the account %s", domain, owner))
			}
		}
	}
	if len(taken) == 0 && r.Served != nil {
		served, err := r.Served(domains)
		if err != nil {
			return fmt.Errorf("ask the running host for the owners of domains: %w", err)
		}
		for domain, owner := range served {
			if owner != name {
				taken = append(taken, fmt.Sprintf("in the running host, the domain %s belongs to the account %s", domain, owner))
			}
		}
	}
	if len(taken) > 0 {
		return fmt.Errorf("the account was not registered: %s", strings.Join(taken, "; "))
	}
	return nil
}

// Register checks a new account and writes its file atomically. The file begins with comment as a comment
// line. Register returns the path of the file.
func (r Registry) Register(name string, f File, comment string) (path string, err error) {
	lock, err := lockDir(r.Dir)
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
		err = fmt.Errorf("the account %s is already registered in the file %s", name, path)
	}
	return path, err
}

func (r Registry) path(name string) string { return filepath.Join(r.Dir, name+".toml") }

// lockDir locks the directory of accounts until the returned file is closed. It serializes all changes of
// accounts, so that each change sees the files as all earlier changes left them.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock the accounts: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the accounts: %w", err), f.Close())
	}
	return f, nil
}
