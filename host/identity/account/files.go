package account

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/liveapid/liveapid/host/config/strictoml"
	"github.com/liveapid/liveapid/protocol"
)

// File is the content of an account's TOML file. The file's name without .toml is the account's name.
type File struct {
	User    string   `toml:"user,omitempty"` // System user; "" means the account's name.
	UID     *int     `toml:"uid,omitempty"`  // Overrides the uid of the system user.
	GID     *int     `toml:"gid,omitempty"`  // Overrides the gid of the system user.
	Home    string   `toml:"home,omitempty"` // Overrides the home; a relative path starts at Dir's parent.
	Domains []string `toml:"domains"`        // The main domain is the first.
	// Suspended means that the account can't make calls.
	Suspended bool `toml:"suspended,omitempty"`
	// SuspendReason and SuspendTime say why and when (Unix time) the account was suspended.
	SuspendReason string `toml:"suspend_reason,omitempty"`
	SuspendTime   int64  `toml:"suspend_time,omitempty"`
	// Features lists the features that the account may use. If the key is missing, the account may use all
	// features.
	Features []string `toml:"features,omitempty"`
	// The contact address, the plan, the theme and the locale are facts for programs. They are the same as
	// the keys CONTACTEMAIL, PLAN, THEME and LOCALE in Data, and replace these.
	Contact string `toml:"contact,omitempty"`
	Plan    string `toml:"plan,omitempty"`
	Theme   string `toml:"theme,omitempty"`
	Locale  string `toml:"locale,omitempty"`
	// Data contains further facts about the account, for programs. The keys are cPanel's upper-case keys,
	// such as IP and OWNER.
	Data map[string]string `toml:"data,omitempty"`
	// Lacks lists features that the account may not use, even if the key features is missing.
	Lacks []string `toml:"lacks,omitempty"`
	// Sites describes the web sites of domains; without it, see protocol.Account.Site.
	Sites map[string]FileSite `toml:"sites,omitempty"`
}

// data returns the facts in f, by cPanel's keys.
func (f File) data() map[string]string {
	suspended := ""
	if f.SuspendTime != 0 {
		suspended = strconv.FormatInt(f.SuspendTime, 10)
	}
	for key, value := range map[string]string{
		"CONTACTEMAIL": f.Contact, "PLAN": f.Plan, "THEME": f.Theme, "LOCALE": f.Locale, "SUSPENDREASON": f.SuspendReason, "SUSPENDTIME": suspended,
	} {
		if value == "" {
			continue
		}
		if f.Data == nil {
			f.Data = make(map[string]string)
		}
		f.Data[key] = value
	}
	return f.Data
}

// Dir is a directory of account files. Nothing is cached: each call reads the files again.
type Dir struct {
	path     string
	personal bool
	lookup   lookup
}

// NewDir returns a Dir for the directory at path. If personal is true, the files of an account belong to the
// user that runs the host, whatever the name of the account is.
func NewDir(path string, personal bool) *Dir {
	return &Dir{path: path, personal: personal, lookup: systemUser}
}

// ByName returns the account called name, or ErrUnknown if there is no such file. A suspended account is
// returned without an error.
func (d *Dir) ByName(name string) (protocol.Account, error) {
	if !ValidName(name) {
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
	var f File
	if err := strictoml.Decode(text, &f); err != nil {
		return protocol.Account{}, fmt.Errorf("account file %s: %w", path, err)
	}
	account, err := d.build(name, f)
	if err != nil {
		return protocol.Account{}, fmt.Errorf("account file %s: %w", path, err)
	}
	return account, nil
}

func (d *Dir) build(name string, f File) (protocol.Account, error) {
	a := protocol.Account{
		Name: name, Home: f.Home, UID: os.Geteuid(), GID: os.Getegid(), Suspended: f.Suspended, Features: f.Features, Lacks: f.Lacks, Data: f.data(),
	}
	var err error
	if a.Sites, err = sitesOf(f); err != nil {
		return a, err
	}
	if !d.personal {
		if a.UID, a.GID, a.Home, err = d.owner(f, name); err != nil {
			return a, err
		}
	}
	if a.Home == "" {
		return a, errors.New("home: must be set")
	}
	if !filepath.IsAbs(a.Home) {
		a.Home = filepath.Join(filepath.Dir(d.path), a.Home)
	}
	for _, domain := range f.Domains {
		a.Domains = append(a.Domains, lower(domain))
	}
	if len(a.Domains) == 0 {
		return a, errors.New("domains: must contain at least one domain")
	}
	return a, nil
}

// owner returns the account's uid, gid and home. It uses the values in f, and takes missing values from the
// system user.
func (d *Dir) owner(f File, name string) (uid, gid int, home string, err error) {
	if f.UID != nil && f.GID != nil && f.Home != "" {
		return *f.UID, *f.GID, f.Home, nil
	}
	if f.User != "" {
		name = f.User
	}
	a, err := d.lookup(name)
	if err != nil {
		return 0, 0, "", fmt.Errorf("look up the system user: %w", err)
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

// Names returns the sorted names of all account files. The names do not contain the suffix .toml.
func (d *Dir) Names() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".toml"); ok && ValidName(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// all implements source: it reads all account files.
func (d *Dir) all(lookup lookup) (r reading, err error) {
	names, err := d.Names()
	if err != nil {
		return r, err
	}
	from := &Dir{path: d.path, personal: d.personal, lookup: lookup}
	for _, name := range names {
		switch a, err := from.ByName(name); {
		case errors.Is(err, ErrUnknown): // The file was removed after Names had listed it.
		case err != nil:
			r.broken(name, err)
		default:
			r.accounts = append(r.accounts, a)
		}
	}
	return r, nil
}

// watched implements source: it returns the directory.
func (d *Dir) watched() []string { return []string{d.path} }
