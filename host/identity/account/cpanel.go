package account

import (
	"bufio"
	"bytes"
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

// UsersFile is the content of a cPanel server's /var/cpanel/users/NAME.
type UsersFile struct {
	Domains   []string // The main domain first.
	Data      map[string]string
	Suspended bool
}

// kept are the keys of a users file that programs use.
var kept = []string{
	"PLAN", "OWNER", "RS", "LOCALE", "LANG", "CONTACTEMAIL", "CONTACTEMAIL2", "IP", "STARTDATE", "FEATURELIST",
	"MAXPOP", "MAX_EMAILACCT_QUOTA", "HASCGI", "BWLIMIT",
}

// maxUsersFile limits a users file, in bytes. /etc/userdomains, which covers all accounts, may be 64 times as
// large.
const maxUsersFile = 1 << 20

// ParseUsers reads a users file with lines KEY=value. The main domain is DNS, further domains are DNS1, DNS2
// and so on.
func ParseUsers(r io.Reader) (UsersFile, error) {
	a := UsersFile{Data: make(map[string]string)}
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
		case isDNS && strings.HasPrefix(value, "*."): // All names below a domain: it serves a web site and has no mailbox.
		case key == "DNS":
			a.Domains = append(a.Domains, lower(value))
		case isDNS:
			if n, err := strconv.Atoi(number); err == nil {
				numbered[n] = lower(value)
			}
		case key == "SUSPENDED":
			a.Suspended = value == "1"
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

// cpanel is a cPanel server's own files as a source: a users file for each account, and userdomains, which
// assigns each domain to a user. An account has the domains of both files. If userdomains assigns a domain to
// another user, the account does not have it, even if its users file names it.
type cpanel struct {
	users       string // /var/cpanel/users
	userdomains string // /etc/userdomains; "" means that only the users files count.
}

// notUsers are files in the users directory that belong to no account.
var notUsers = []string{"system", "root", "nobody", "cpanel"}

// all implements source.
func (c cpanel) all(lookup lookup) (r reading, err error) {
	entries, err := os.ReadDir(c.users)
	if err != nil {
		return r, fmt.Errorf("accounts: %w", err)
	}
	owners, lists := map[string]string{}, map[string][]string{}
	if c.userdomains != "" {
		var twice []string
		if owners, lists, twice, err = readUserDomains(c.userdomains); err != nil {
			return r, err // Without it nobody knows to which account a domain belongs.
		}
		for _, domain := range twice {
			r.errs = append(r.errs, fmt.Errorf("%s: the domain %.80q has two owners, and so none", c.userdomains, domain))
		}
	}
	for _, e := range entries {
		name := e.Name()
		if !e.Type().IsRegular() || !ValidName(name) || slices.Contains(notUsers, name) {
			continue
		}
		a, err := c.read(name, lookup, owners, lists[name])
		if err != nil {
			r.broken(name, fmt.Errorf("account file %s: %w", filepath.Join(c.users, name), err))
			continue
		}
		r.accounts = append(r.accounts, a)
	}
	return r, nil
}

func (c cpanel) read(name string, lookup lookup, owners map[string]string, more []string) (protocol.Account, error) {
	f, err := os.Open(filepath.Join(c.users, name))
	if err != nil {
		return protocol.Account{}, err
	}
	defer func() { _ = f.Close() }()
	file, err := ParseUsers(f)
	if err != nil {
		return protocol.Account{}, err
	}
	a, err := lookup(name)
	if err != nil {
		return a, fmt.Errorf("user: %w", err)
	}
	a.Data, a.Suspended = file.Data, file.Suspended
	for _, domain := range append(file.Domains, more...) {
		if owner, known := owners[domain]; (!known || owner == name) && !slices.Contains(a.Domains, domain) {
			a.Domains = append(a.Domains, domain)
		}
	}
	if len(a.Domains) == 0 {
		return a, errors.New("it has no domain")
	}
	return a, nil
}

// watched implements source.
func (c cpanel) watched() []string {
	if c.userdomains == "" {
		return []string{c.users}
	}
	return []string{c.users, c.userdomains}
}

// readUserDomains reads lines "domain: user". If a domain has two users, it is returned in twice, and its
// owner is "".
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
