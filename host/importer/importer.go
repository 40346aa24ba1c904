// Package importer takes accounts out of what a cPanel server leaves: a home with etc and mail,
// its users file, or a cpmove archive. It reads archives as what an enemy wrote: they are looked
// through before anything of them is written, and nothing is written outside the home.
package importer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/liveapid/liveapid/host/account"
)

// Account is what is known of an account that is imported.
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

// AddFound adds domains that have mailboxes and that the users file does not name.
func (a *Account) AddFound(domains []string) {
	for _, d := range domains {
		if !slices.Contains(a.Domains, d) {
			a.Domains = append(a.Domains, d)
		}
	}
}

// IsDomain tells whether the name of a folder in etc is a domain's. cPanel keeps other things
// there, and a Maildir has cur, new and tmp.
func IsDomain(name string) bool {
	if !strings.Contains(name, ".") || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || len(name) > 253 || strings.Contains(name, "..") {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// DomainsOfHome returns the domains that have a folder in a home's etc.
func DomainsOfHome(home string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(home, "etc"))
	if err != nil {
		return nil, fmt.Errorf("%s is no home with mailboxes: %w", home, err)
	}
	var domains []string
	for _, e := range entries {
		if e.IsDir() && IsDomain(e.Name()) {
			domains = append(domains, e.Name())
		}
	}
	return domains, nil
}

// Register writes an account's file into the folder of the accounts. One that is there stays.
func Register(dir string, a Account, home string) (path string, err error) {
	if !validName(a.Name) {
		return "", fmt.Errorf("%.60q is no account's name: lower-case letters, digits, _ and -, at most 32", a.Name)
	}
	if len(a.Domains) == 0 {
		return "", errors.New("the account has no domain: neither its users file names one, nor is there one in its etc")
	}
	text, err := toml.Marshal(account.File{Home: home, Domains: a.Domains, Data: a.Data})
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, a.Name+".toml")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("the account %s is registered already: %s", a.Name, path)
	}
	if err != nil {
		return "", err
	}
	_, err = f.Write(append([]byte("# Account "+a.Name+", imported.\n"), text...))
	if err := errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path)
		return "", err
	}
	return path, nil
}
