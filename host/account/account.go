// Package account says which accounts there are and whose they are: from TOML files in
// a folder, or from the system's users. It decides nothing about calls.
package account

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/liveapid/liveapid/host/strictoml"
	"github.com/liveapid/liveapid/protocol"
)

// ErrUnknown is a name or a uid without an account.
var ErrUnknown = errors.New("account: unknown")

// file is one account's TOML file. Its name, without .toml, is the account's name.
type file struct {
	User    string   `toml:"user"`    // The system user; "" is the account's name.
	UID     *int     `toml:"uid"`     // Instead of the system user's.
	GID     *int     `toml:"gid"`     // Instead of the system user's.
	Home    string   `toml:"home"`    // "" is the system user's; relative to the folder above.
	Domains []string `toml:"domains"` // The main domain first.
	// Features are those the account has; where the key is missing it has all.
	Features []string `toml:"features"`
	// Data are further facts for programs, by cPanel's upper-case keys: PLAN, OWNER, ...
	Data map[string]string `toml:"data"`
}

// Dir is a folder of account files.
type Dir struct {
	path     string
	personal bool
}

// NewDir serves the account files in path. In personal mode an account's files belong
// to the host's own user, whatever its name.
func NewDir(path string, personal bool) *Dir { return &Dir{path: path, personal: personal} }

// ByName returns the account called name, or ErrUnknown.
func (d *Dir) ByName(name string) (protocol.Account, error) {
	if !validName(name) {
		return protocol.Account{}, fmt.Errorf("%w: name %.40q", ErrUnknown, name)
	}
	path := filepath.Join(d.path, name+".toml")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return protocol.Account{}, fmt.Errorf("%w: name %.40q", ErrUnknown, name)
	}
	if err != nil {
		return protocol.Account{}, fmt.Errorf("account file: %w", err)
	}
	var f file
	if err := strictoml.Decode(text, &f); err != nil {
		return protocol.Account{}, fmt.Errorf("account file %s: %w", path, err)
	}
	account, err := d.build(name, f)
	if err != nil {
		return protocol.Account{}, fmt.Errorf("account file %s: %w", path, err)
	}
	return account, nil
}

func (d *Dir) build(name string, f file) (protocol.Account, error) {
	a := protocol.Account{Name: name, Home: f.Home, UID: os.Geteuid(), GID: os.Getegid(), Features: f.Features, Data: f.Data}
	if !d.personal {
		var err error
		if a.UID, a.GID, a.Home, err = f.owner(name); err != nil {
			return a, err
		}
	}
	if a.Home == "" {
		return a, errors.New("home: must be named")
	}
	if !filepath.IsAbs(a.Home) {
		a.Home = filepath.Join(filepath.Dir(d.path), a.Home)
	}
	for _, domain := range f.Domains {
		a.Domains = append(a.Domains, strings.ToLower(domain))
	}
	if len(a.Domains) == 0 {
		return a, errors.New("domains: at least one must be named")
	}
	return a, nil
}

// owner returns uid, gid and home, from the file where it names them and else from the
// system.
func (f file) owner(name string) (uid, gid int, home string, err error) {
	if f.UID != nil && f.GID != nil && f.Home != "" {
		return *f.UID, *f.GID, f.Home, nil
	}
	if f.User != "" {
		name = f.User
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, "", fmt.Errorf("user: %w", err)
	}
	a, err := ofUser(u)
	if err != nil {
		return 0, 0, "", err
	}
	uid, gid, home = a.UID, a.GID, a.Home
	if f.UID != nil {
		uid = *f.UID
	}
	if f.GID != nil {
		gid = *f.GID
	}
	if f.Home != "" {
		home = f.Home
	}
	return uid, gid, home, nil
}

// Names returns the names of all accounts in order.
func (d *Dir) Names() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".toml"); ok && validName(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// ByUID returns the account whose files belong to uid, or ErrUnknown. Where two
// accounts share a uid there is no telling which is meant, and that is an error.
func (d *Dir) ByUID(uid int) (protocol.Account, error) {
	names, err := d.Names()
	if err != nil {
		return protocol.Account{}, err
	}
	var found []protocol.Account
	for _, name := range names {
		// A broken file must not lock the other accounts out.
		if a, err := d.ByName(name); err == nil && a.UID == uid {
			found = append(found, a)
		}
	}
	switch len(found) {
	case 0:
		return protocol.Account{}, fmt.Errorf("%w: uid %d", ErrUnknown, uid)
	case 1:
		return found[0], nil
	}
	return protocol.Account{}, fmt.Errorf("accounts %s and %s share uid %d", found[0].Name, found[1].Name, uid)
}

// Self is the account of the running user: its domains are the folders of ~/etc, and
// where it has none of them, it has no domains. For personal mode only, since it reads
// the home.
func Self() (protocol.Account, error) {
	u, err := user.Current()
	if err != nil {
		return protocol.Account{}, fmt.Errorf("the running user: %w", err)
	}
	a, err := ofUser(u)
	if err != nil {
		return a, err
	}
	entries, _ := os.ReadDir(filepath.Join(a.Home, "etc"))
	for _, e := range entries {
		if name := e.Name(); e.IsDir() && strings.Contains(name, ".") && !strings.HasPrefix(name, ".") {
			a.Domains = append(a.Domains, strings.ToLower(name))
		}
	}
	return a, nil
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

// validName keeps names within what a file's name and a log line can bear.
func validName(name string) bool {
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
