package account

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// UsersFile is the content of the file /var/cpanel/users/NAME of a cPanel server.
type UsersFile struct {
	Domains   []string // The main domain is the first.
	Data      map[string]string
	Features  map[string]bool // The keys FEATURE-NAME: whether the account has the feature.
	Suspended bool
}

// kept lists the keys of a users file that are stored in UsersFile.Data. Other keys are ignored, apart from
// the keys for domains and for the suspension.
var kept = []string{
	"PLAN", "OWNER", "RS", "LOCALE", "LANG", "CONTACTEMAIL", "CONTACTEMAIL2", "IP", "STARTDATE", "FEATURELIST",
	"MAXPOP", "MAX_EMAILACCT_QUOTA", "HASCGI", "BWLIMIT", "MAXSUB", "MAXSQL", "MAXFTP", "MAXLST", "MAXADDON", "MAXPARK",
	"MAXPASSENGERAPPS", "MAX_EMAIL_PER_HOUR", "MAX_DEFER_FAIL_PERCENTAGE", "DEMO", "BACKUP", "LEGACY_BACKUP", "HASDKIM", "HASSPF",
	"CREATED_IN_VERSION", "DISK_BLOCK_LIMIT", "MAILBOX_FORMAT", "THEME",
}

// maxUsersFile is the maximum size of a users file, in bytes. The file /etc/userdomains lists the domains of
// all accounts and may be 64 times as large.
const maxUsersFile = 1 << 20

// ParseUsers parses a users file, which consists of lines KEY=value. The key DNS contains the main domain;
// the keys DNS1, DNS2 and so on contain further domains.
func ParseUsers(r io.Reader) (UsersFile, error) {
	a := UsersFile{Data: make(map[string]string), Features: make(map[string]bool)}
	text, err := readBounded(r, maxUsersFile, "the users file")
	if err != nil {
		return a, err
	}
	numbered := make(map[int]string)
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxUsersFile)
	for lines.Scan() {
		key, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		if !ok || value == "" {
			continue
		}
		switch number, isDNS := strings.CutPrefix(key, "DNS"); {
		case isDNS && strings.HasPrefix(value, "*."): // Wildcards are for web sites only; they have no mailboxes.
		case key == "DNS":
			a.Domains = append(a.Domains, lower(value))
		case isDNS:
			if n, err := strconv.Atoi(number); err == nil {
				numbered[n] = lower(value)
			}
		case key == "SUSPENDED":
			a.Suspended = value == "1"
		case strings.HasPrefix(key, "FEATURE-"):
			a.Features[strings.ToLower(key[len("FEATURE-"):])] = value == "1"
		case slices.Contains(kept, key):
			a.Data[key] = value
		}
	}
	numbers := make([]int, 0, len(numbered))
	for n := range numbered {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		a.Domains = append(a.Domains, numbered[n])
	}
	return a, lines.Err()
}

func readBounded(r io.Reader, most int64, what string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("%s has more than %d bytes", what, most)
	}
	return text, nil
}

// cpanel is a source that reads a cPanel server's own files: a users file for each account, and the file
// userdomains, which assigns each domain to a user. An account has all domains that its users file or
// userdomains assigns to it. If the two files disagree about a domain, userdomains decides.
type cpanel struct {
	users       string // The path of /var/cpanel/users.
	userdomains string // The path of /etc/userdomains; "" means no such file is used.
	userdata    string // The path of /etc/userdatadomains; "" means no such file is used.
	features    string // The path of /var/cpanel/features; "" means no such directory is used.
}

// shared contains what the accounts of a cPanel server have in common during one reading.
type shared struct {
	lookup   lookup
	owners   map[string]string                   // The user of each domain, from userdomains.
	lists    map[string][]string                 // The domains of each user, from userdomains.
	sites    map[string]map[string]protocol.Site // The sites of each user, from userdata.
	features *featureLists
}

// notUsers lists the files in the directory of users files that do not belong to an account.
var notUsers = []string{"system", "root", "nobody", "cpanel"}

// all implements source: it reads all users files.
func (c cpanel) all(lookup lookup) (r reading, err error) {
	entries, err := os.ReadDir(c.users)
	if err != nil {
		return r, fmt.Errorf("accounts: %w", err)
	}
	owners, lists := map[string]string{}, map[string][]string{}
	if c.userdomains != "" {
		var twice []string
		if owners, lists, twice, err = readUserDomains(c.userdomains); err != nil {
			return r, err // If userdomains can't be read, the owners are unknown.
		}
		for _, domain := range twice {
			r.errs = append(r.errs, fmt.Errorf("%s assigns the domain %.80q to two users, so no account gets the domain", c.userdomains, domain))
		}
	}
	from := shared{lookup: lookup, owners: owners, lists: lists, features: &featureLists{dir: c.features, read: map[string]map[string]bool{}}}
	if c.userdata != "" {
		if from.sites, err = readUserDataDomains(c.userdata); err != nil {
			r.errs = append(r.errs, err) // The accounts work without the facts about their sites.
		}
	}
	for _, e := range entries {
		name := e.Name()
		if !e.Type().IsRegular() || !ValidName(name) || slices.Contains(notUsers, name) {
			continue
		}
		a, err := c.read(name, from)
		if err != nil {
			r.broken(name, fmt.Errorf("account file %s: %w", filepath.Join(c.users, name), err))
			continue
		}
		r.accounts = append(r.accounts, a)
	}
	return r, nil
}

func (c cpanel) read(name string, from shared) (protocol.Account, error) {
	f, err := os.Open(filepath.Join(c.users, name))
	if err != nil {
		return protocol.Account{}, err
	}
	defer func() { _ = f.Close() }()
	file, err := ParseUsers(f)
	if err != nil {
		return protocol.Account{}, err
	}
	a, err := from.lookup(name)
	if err != nil {
		return a, fmt.Errorf("user: %w", err)
	}
	a.Data, a.Suspended, a.Sites = file.Data, file.Suspended, from.sites[name]
	// If a feature list can't be read, the account can't be used: it might lack the feature.
	if a.Lacks, err = from.features.lacks(cmp.Or(file.Data["FEATURELIST"], "default"), file.Features); err != nil {
		return a, err
	}
	for _, domain := range append(file.Domains, from.lists[name]...) {
		if owner, known := from.owners[domain]; (!known || owner == name) && !slices.Contains(a.Domains, domain) {
			a.Domains = append(a.Domains, domain)
		}
	}
	if len(a.Domains) == 0 {
		return a, errors.New("the account has no domain")
	}
	return a, nil
}

// watched implements source: it returns the directory of users files and the file userdomains.
func (c cpanel) watched() []string {
	if c.userdomains == "" {
		return []string{c.users}
	}
	return []string{c.users, c.userdomains}
}

// readUserDomains reads the file at path, which consists of lines "domain: user". owners maps each domain to
// its user, and lists maps each user to its domains. If the file assigns a domain to two users, owners maps
// the domain to "", and twice contains the domain.
func readUserDomains(path string) (owners map[string]string, lists map[string][]string, twice []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("accounts: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := readBounded(f, 64*maxUsersFile, path)
	if err != nil {
		return nil, nil, nil, err
	}
	owners, lists = make(map[string]string), make(map[string][]string)
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		domain, owner, ok := strings.Cut(lines.Text(), ":")
		domain, owner = lower(strings.TrimSpace(domain)), strings.TrimSpace(owner)
		if !ok || domain == "" || domain == "*" || owner == "" || strings.HasPrefix(domain, "#") {
			continue
		}
		if first, known := owners[domain]; known && first != owner {
			twice = append(twice, domain)
			owners[domain] = ""
			continue
		}
		owners[domain] = owner
		lists[owner] = append(lists[owner], domain)
	}
	return owners, lists, twice, lines.Err()
}
