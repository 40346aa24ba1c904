// Package cpmove reads accounts from a cPanel server's files: a home with etc and mail, its users file, or a
// cpmove archive. Archives may be hostile: a whole archive is checked before any of it is written, and
// nothing is written outside the home.
package cpmove

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/liveapid/liveapid/host/identity/account"
)

// Account is an account to import.
type Account struct {
	Name      string
	Domains   []string // The main domain first.
	Data      map[string]string
	Suspended bool
}

// ParseUsers reads a users file, /var/cpanel/users/NAME.
func ParseUsers(name string, r io.Reader) (Account, error) {
	f, err := account.ParseUsers(r)
	return Account{Name: name, Domains: f.Domains, Data: f.Data, Suspended: f.Suspended}, err
}

// AddFound adds domains that have mailboxes but are not in the users file.
func (a *Account) AddFound(domains []string) {
	for _, d := range domains {
		if !slices.Contains(a.Domains, d) {
			a.Domains = append(a.Domains, d)
		}
	}
}

// isDomain reports whether a directory in etc belongs to a domain. cPanel has other directories there, too.
// Its name must be the canonical spelling of the domain.
func isDomain(name string) bool {
	domain, err := account.ParseDomain(name)
	return err == nil && domain == name
}

// DomainsOfHome returns the domains that have a directory in a home's etc.
func DomainsOfHome(home string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(home, "etc"))
	if err != nil {
		return nil, fmt.Errorf("%s is not a home with mailboxes: %w", home, err)
	}
	var domains []string
	for _, e := range entries {
		if e.IsDir() && isDomain(e.Name()) {
			domains = append(domains, e.Name())
		}
	}
	return domains, nil
}
