package account

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/host/atomicfile"
	"github.com/liveapid/liveapid/protocol"
)

// A new account must not get a domain that another account owns. The order of the accounts' files and the
// users who wrote them make no difference. If several accounts claim a domain, the domain stays with the
// account that owned it before. This rule also applies after a restart of the host, and while the file of the
// previous owner can't be read. If none of the claimants owned the domain before, no account gets the domain
// until only one account claims it.

// index collects accounts and their claims to domains during a Reload, and then decides which account owns
// each domain.
type index struct {
	byName map[string]protocol.Account
	byUID  map[int][]string
	taken  map[string]bool     // Names that later sources can't define.
	claims map[string][]string // Maps each domain to the accounts that claim it.
	// owners and contested are the result of the method settle.
	owners    map[string]string
	contested map[string][]string
}

func newIndex() *index {
	return &index{
		byName: make(map[string]protocol.Account), byUID: make(map[int][]string), taken: make(map[string]bool), claims: make(map[string][]string),
		owners: make(map[string]string), contested: make(map[string][]string),
	}
}

// add adds the account a and its claims to domains. It ignores a if an earlier source contains an account
// with the same name. wrong contains an error for each domain of a that is not valid.
func (x *index) add(a protocol.Account) (wrong []error) {
	if x.taken[a.Name] {
		return nil
	}
	x.taken[a.Name] = true
	domains := make([]string, 0, len(a.Domains))
	for _, text := range a.Domains {
		domain, err := ParseDomain(text)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("account %s: a domain of the account is ignored: %w", a.Name, err))
			continue
		}
		if !slices.Contains(x.claims[domain], a.Name) {
			x.claims[domain] = append(x.claims[domain], a.Name)
			domains = append(domains, domain)
		}
	}
	a.Domains = domains
	x.byName[a.Name] = a
	x.byUID[a.UID] = append(x.byUID[a.UID], a.Name)
	return wrong
}

// addUnreadable records that the file of the account called name can't be read. The account still claims the
// domains that it owned before, so that its mail waits instead of being rejected or going to another account.
// before maps domains to their previous owners.
func (x *index) addUnreadable(name string, before map[string]string) {
	if x.taken[name] {
		return
	}
	x.taken[name] = true
	for domain, owner := range before {
		if owner == name {
			x.claims[domain] = append(x.claims[domain], name)
		}
	}
}

// keepOwners keeps the domains of accounts that are missing because a source can't be read: these accounts
// still claim the domains that they owned before.
func (x *index) keepOwners(before map[string]string) {
	for domain, owner := range before {
		if _, known := x.byName[owner]; !known && !slices.Contains(x.claims[domain], owner) {
			x.claims[domain] = append(x.claims[domain], owner)
		}
	}
}

// settle decides which account owns each claimed domain. before maps domains to their previous owners. The
// result contains an error for each domain that several accounts claim.
func (x *index) settle(before map[string]string) (wrong []error) {
	for _, domain := range slices.Sorted(maps.Keys(x.claims)) {
		names := x.claims[domain]
		owner := names[0]
		if len(names) > 1 {
			if owner = before[domain]; !slices.Contains(names, owner) {
				owner = ""
			}
			wrong = append(wrong, conflict(domain, names, owner))
			x.contested[domain] = names
		}
		if owner != "" {
			x.owners[domain] = owner
		}
		for _, name := range names {
			if a, ok := x.byName[name]; ok && name != owner {
				a.Domains = slices.DeleteFunc(slices.Clone(a.Domains), func(d string) bool { return d == domain })
				x.byName[name] = a
			}
		}
	}
	return wrong
}

func conflict(domain string, names []string, owner string) error {
	if owner == "" {
		return fmt.Errorf("the domain %.80q is claimed by the accounts %s, and none of these accounts had the domain before, so none gets it; remove the domain from all account files but one", domain, strings.Join(names, ", "))
	}
	return fmt.Errorf("the domain %.80q is claimed by the accounts %s; the domain stays with its previous owner %s", domain, strings.Join(names, ", "), owner)
}

// history is the content of the file in which the host stores the last known owner of each domain.
type history struct {
	Domains map[string]string `json:"domains"`
}

// loadOwners reads the file of owners at path and maps domains to accounts. If the file does not exist, the
// map is empty.
func loadOwners(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var h history
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err != nil {
		return nil, fmt.Errorf("read the owners of domains: %w", err)
	}
	return h.Domains, nil
}

// SaveOwners writes the owners of all domains to the file Sources.Owners if they have changed. Only the host
// that serves the accounts may call SaveOwners; tools only read the file.
func (d *Directory) SaveOwners() error {
	if d.ownersFile == "" {
		return nil
	}
	d.reloading.Lock()
	defer d.reloading.Unlock()
	d.mu.RLock()
	owners, incomplete := d.owners, d.incomplete
	d.mu.RUnlock()
	if incomplete {
		return nil // The last Reload was incomplete; the file has better data.
	}
	if maps.Equal(owners, d.saved) {
		return nil
	}
	text, err := json.Marshal(history{owners})
	if err == nil {
		err = atomicfile.Write(d.ownersFile, append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the owners of domains: %w", err)
	}
	d.saved = owners
	return nil
}
