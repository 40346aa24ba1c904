// Package account finds the accounts of a host with their users and domains. The sources are TOML files in a
// directory, a cPanel server's own files, and the system's users. The package does not decide which calls an
// account may make.
package account

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// ErrUnknown is returned if no account has the given name, uid or domain.
var ErrUnknown = errors.New("account: no such account")

// Self returns an account for the user that runs this process. Its domains are the names of the directories
// in ~/etc, such as ~/etc/example.com. Only names that contain a dot, but do not begin with a dot, count as
// domains. Self is for personal mode only, because it reads the home of the account.
func Self() (protocol.Account, error) {
	u, err := user.Current()
	if err != nil {
		return protocol.Account{}, fmt.Errorf("look up the current user: %w", err)
	}
	a, err := ofUser(u)
	if err != nil {
		return a, err
	}
	entries, _ := os.ReadDir(filepath.Join(a.Home, "etc"))
	for _, e := range entries {
		if name := e.Name(); e.IsDir() && strings.Contains(name, ".") && !strings.HasPrefix(name, ".") {
			a.Domains = append(a.Domains, lower(name))
		}
	}
	return a, nil
}

// lookup returns the system user called name as an account with only a name, uid, gid and home.
type lookup func(name string) (protocol.Account, error)

// systemUser looks up the user called name in the system's user database, which may be any database that the
// system is configured to use.
func systemUser(name string) (protocol.Account, error) {
	u, err := lookUp(name)
	if err != nil {
		return protocol.Account{}, err
	}
	return ofUser(u)
}

// SystemUser returns the system user called name as an account without domains.
func SystemUser(name string) (protocol.Account, error) { return systemUser(name) }

// passwdFile is the path of the file that lists the system's local users.
const passwdFile = "/etc/passwd"

// passwdUsers reads /etc/passwd once, for callers that look up many users. It returns a lookup function and
// all users in the file. The lookup function asks the system only for users that are not in the file.
func passwdUsers() (lookup, []protocol.Account, error) {
	known := make(map[string]protocol.Account)
	var all []protocol.Account
	f, err := os.Open(passwdFile)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		u, ok := passwdUser(lines.Text())
		if !ok {
			continue
		}
		a, err := ofUser(u)
		if _, twice := known[u.Username]; err == nil && !twice {
			known[u.Username] = a
			all = append(all, a)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", passwdFile, err)
	}
	return func(name string) (protocol.Account, error) {
		if a, ok := known[name]; ok {
			return a, nil
		}
		return systemUser(name)
	}, all, nil
}

func ofUser(u *user.User) (protocol.Account, error) {
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return protocol.Account{}, fmt.Errorf("user %s: uid %q: %w", u.Username, u.Uid, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return protocol.Account{}, fmt.Errorf("user %s: gid %q: %w", u.Username, u.Gid, err)
	}
	return protocol.Account{Name: u.Username, UID: uid, GID: gid, Home: u.HomeDir}, nil
}

// ValidName reports whether name is a valid account name: at most 64 characters that are safe in file names
// and in log lines.
func ValidName(name string) bool {
	if name == "" || len(name) > 64 || name[0] == '-' || name[0] == '.' {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}
