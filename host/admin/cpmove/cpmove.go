// Package cpmove reads accounts from the files of a cPanel server: from a home with the directories etc and
// mail, from a users file, or from a cpmove archive. Archives may be hostile: the whole archive is checked
// before a file is written, and nothing is written outside the home.
package cpmove

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/protocol"
)

// Account is an account that can be imported, as the cPanel server describes it.
type Account struct {
	Name      string
	Domains   []string // The main domain is the first.
	Data      map[string]string
	Suspended bool
	Lacks     []string                 // Features that the users file turns off.
	Sites     map[string]protocol.Site // From the files of userdata.
}

// ParseUsers reads the users file of the account called name. On a cPanel server this file is
// /var/cpanel/users/NAME.
func ParseUsers(name string, r io.Reader) (Account, error) {
	f, err := account.ParseUsers(r)
	a := Account{Name: name, Data: f.Data, Suspended: f.Suspended}
	for _, domain := range f.Domains {
		a.Domains = append(a.Domains, account.ASCIIDomain(domain))
	}
	for feature, on := range f.Features {
		if !on {
			a.Lacks = append(a.Lacks, feature)
		}
	}
	slices.Sort(a.Lacks)
	return a, err
}

// AddSites adds the sites of userdata; read is as for account.UserData. Sites of domains that the account does
// not have are left out. A document root outside of the account's home, which may be somebody else's, is
// replaced by the default.
func (a *Account) AddSites(read func(name string) ([]byte, error)) error {
	sites, err := account.UserData(read)
	if err != nil {
		return err
	}
	own := a.domainSet()
	for domain, site := range sites {
		if !own[domain] {
			delete(sites, domain)
			continue
		}
		if !filepath.IsLocal(site.Root) {
			site.Root = ""
			sites[domain] = site
		}
	}
	a.Sites = sites
	return nil
}

// AddFound adds the given domains to the account, except those that it already contains. The caller found
// these domains as directories with mailboxes; the users file may not list them.
func (a *Account) AddFound(domains []string) {
	own := a.domainSet()
	for _, d := range domains {
		if !own[d] {
			own[d] = true
			a.Domains = append(a.Domains, d)
		}
	}
}

func (a *Account) domainSet() map[string]bool {
	set := make(map[string]bool, len(a.Domains))
	for _, d := range a.Domains {
		set[d] = true
	}
	return set
}

// isDomain reports whether name, the name of a directory in the home's etc, is a domain in canonical
// spelling. cPanel also creates directories in etc that do not belong to a domain.
func isDomain(name string) bool {
	domain, err := account.ParseDomain(name)
	return err == nil && domain == name
}

// DomainsOfHome returns the domains that are the names of directories in the etc of the given home, and the names
// of directories with mailboxes whose names are not valid domains.
func DomainsOfHome(home string) (domains, odd []string, err error) {
	entries, err := os.ReadDir(filepath.Join(home, "etc"))
	if err != nil {
		return nil, nil, fmt.Errorf("%s is not a home directory with mailboxes: %w", home, err)
	}
	for _, e := range entries {
		switch {
		case !e.IsDir():
		case isDomain(e.Name()):
			domains = append(domains, e.Name())
		case strings.Contains(e.Name(), "."):
			for _, list := range []string{"passwd", "shadow"} {
				if _, err := os.Lstat(filepath.Join(home, "etc", e.Name(), list)); err == nil {
					odd = append(odd, e.Name())
					break
				}
			}
		}
	}
	return domains, odd, nil
}
