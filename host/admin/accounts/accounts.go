// Package accounts implements the command liveapi account: it registers accounts in files, and finds,
// suspends, deletes and checks accounts. The package reads and writes the files of the accounts; a running
// host notices the changes by itself.
package accounts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/daemon"
	"github.com/liveapid/liveapid/host/front/control"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/host/identity/token"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/protocol"
)

// Create registers the account called name in a new file and returns the path of the file. In server mode the
// file contains the uid, the gid and the home of the system user with the same name: later changes of the
// system user do not change the account.
func Create(c *config.Config, name, home string, domains []string) (path string, err error) {
	registry, err := Registry(c)
	if err != nil {
		return "", err
	}
	if !account.ValidName(name) {
		return "", admin.Usage(fmt.Errorf("%.60q is not a valid account name: a name consists of at most 64 letters, digits and the characters _, - and .", name))
	}
	if len(domains) == 0 {
		return "", admin.Usage(errors.New("--domain is missing: name the account's domain"))
	}
	for _, domain := range domains {
		if _, err := account.ParseDomain(domain); err != nil {
			return "", admin.Usage(fmt.Errorf("--domain: %w", err))
		}
	}
	f, err := FileFor(c, name, home)
	if err != nil {
		return "", err
	}
	f.Domains = domains
	return registry.Register(name, f, "Account "+name+".")
}

// Registry returns the registry that writes the account files of the configuration c.
func Registry(c *config.Config) (account.Registry, error) {
	r := account.Registry{Dir: c.Accounts}
	if c.Accounts == "" {
		return r, errors.New("the configuration key accounts, the directory of the account files, is not set")
	}
	if c.Mode != config.Server {
		return r, nil
	}
	r.Sources = daemon.Sources(c)
	r.Credential = func(a protocol.Account) error {
		_, err := isolate.Credential(a)
		return err
	}
	if c.Control == "" {
		return r, nil
	}
	r.Served = func(domains []string) (map[string]string, error) {
		owners, err := control.Owners(context.Background(), c.Control, domains)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
			return nil, nil // No host is running, so no host serves the domains.
		}
		return owners, err
	}
	return r, nil
}

// FileFor returns the contents of an account file for the account called name, without domains. In server
// mode the uid, the gid and the home are those of the system user name. A home that is not "" replaces the
// system user's home.
func FileFor(c *config.Config, name, home string) (account.File, error) {
	var f account.File
	if c.Mode == config.Server {
		u, err := account.SystemUser(name)
		if err != nil {
			return f, fmt.Errorf("look up the system user %s (create the user before the account): %w", name, err)
		}
		f.UID, f.GID, f.Home = &u.UID, &u.GID, u.Home
	}
	if home != "" {
		abs, err := filepath.Abs(home)
		if err != nil {
			return f, err
		}
		f.Home = abs
	}
	if f.Home == "" {
		return f, admin.Usage(errors.New("--home is missing: name the account's home directory"))
	}
	return f, nil
}

// All returns all accounts of the configuration c, including suspended accounts, and an error for each
// account that can't be read.
func All(c *config.Config) (all []protocol.Account, broken []error) {
	if c.Mode == config.Personal {
		a, err := daemon.Account(c)
		if err != nil {
			return nil, []error{err}
		}
		return []protocol.Account{a}, nil
	}
	d := account.NewDirectory(daemon.Sources(c))
	_, broken = d.Reload()
	for _, name := range d.Names() {
		if a, err := d.ByName(name); err == nil || errors.Is(err, account.ErrSuspended) {
			all = append(all, a)
		}
	}
	return all, broken
}

// Find returns the account called name, even if the account is suspended.
func Find(c *config.Config, name string) (protocol.Account, error) {
	all, broken := All(c)
	for _, a := range all {
		if a.Name == name {
			return a, nil
		}
	}
	return protocol.Account{}, errors.Join(append([]error{fmt.Errorf("there is no account %.60q", name)}, broken...)...)
}

// Chosen returns the account called name, or, if name is "", all accounts of the configuration c. If name is
// "" and one account can't be read, Chosen returns an error: a command that works on all accounts must not
// leave some out.
func Chosen(c *config.Config, name string) ([]protocol.Account, error) {
	if name != "" && c.Mode == config.Server {
		a, err := daemon.Sources(c).ByName(name)
		return []protocol.Account{a}, err
	}
	all, broken := All(c)
	if len(broken) > 0 {
		return nil, errors.Join(broken...)
	}
	if name != "" && all[0].Name != name {
		return nil, fmt.Errorf("the configuration serves only the account %s", all[0].Name)
	}
	return all, nil
}

// explained returns an error for people if no file defines the account called name. It returns other errors
// unchanged.
func explained(c *config.Config, name string, err error) error {
	if !errors.Is(err, account.ErrNoFile) {
		return err
	}
	if a, err := Find(c, name); err == nil {
		return fmt.Errorf("the account %s comes from %s: change the account there", a.Name, c.CPanelUsers)
	}
	return fmt.Errorf("there is no account %.60q", name)
}

// SetSuspended suspends or unsuspends the account called name. It changes only the lines about the suspension
// in the account's file.
func SetSuspended(c *config.Config, name string, suspended bool) error {
	_, err := account.Edit(c.Accounts, name, account.Suspension(suspended, "", time.Now()))
	return explained(c, name, err)
}

// Delete removes the file of the account called name and revokes the account's tokens and its password for
// the HTTPS API. The system user, the home and the mail stay.
func Delete(c *config.Config, name string) error {
	if err := account.Remove(c.Accounts, name); err != nil {
		return explained(c, name, err)
	}
	if !c.Web.On() {
		return nil
	}
	// A running host would also revoke the tokens and the password, but it is possible that no host is
	// running. If a new account with this name is registered before the next host starts, the old tokens must
	// not give access to the new account.
	if err := token.Open(c.Web.Tokens()).RevokeUser(name, -1); err != nil {
		return fmt.Errorf("the account %s was removed, but its tokens could not be revoked: %w", name, err)
	}
	if err := daemon.DeletePassword(c.Web, name); err != nil {
		return fmt.Errorf("the account %s was removed, but its password for the HTTPS API could not be deleted: %w", name, err)
	}
	return nil
}

// Check returns all accounts of the configuration c, and a text for each problem that it finds: unreadable
// files, duplicate uids and domains, invalid domains, and homes that are
// missing, are not directories, or belong to another uid.
func Check(c *config.Config) (all []protocol.Account, problems []string) {
	all, broken := All(c)
	for _, err := range broken {
		problems = append(problems, err.Error())
	}
	add := func(a protocol.Account, format string, args ...any) {
		problems = append(problems, "account "+a.Name+": "+fmt.Sprintf(format, args...))
	}
	uids, domains := map[int]string{}, map[string]string{}
	for _, a := range all {
		if c.Mode == config.Server {
			if _, err := isolate.Credential(a); err != nil {
				problems = append(problems, err.Error())
			}
			if other, twice := uids[a.UID]; twice {
				add(a, "the account %s has the same uid, so neither account can connect: give each account its own system user", other)
			}
			uids[a.UID] = a.Name
		}
		for _, domain := range a.Domains {
			if other, twice := domains[domain]; twice {
				add(a, "its domain %s also belongs to the account %s: remove the domain from one of the two accounts", domain, other)
			}
			domains[domain] = a.Name
			if _, err := account.ParseDomain(domain); err != nil {
				add(a, "domain %v", err)
			}
		}
		if problem := checkHome(a); problem != "" {
			add(a, "its home directory %s", problem)
		}
	}
	return all, problems
}

func checkHome(a protocol.Account) string {
	var st unix.Stat_t
	switch err := unix.Lstat(a.Home, &st); {
	case err != nil:
		return fmt.Sprintf("%s: %v", a.Home, err)
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return a.Home + " is not a directory"
	case int(st.Uid) != a.UID:
		return fmt.Sprintf("%s belongs to uid %d, not to the account's uid %d", a.Home, st.Uid, a.UID)
	}
	return ""
}
