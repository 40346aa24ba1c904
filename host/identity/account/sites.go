package account

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/liveapid/liveapid/protocol"
)

// FileSite is a table [sites."DOMAIN"] in an account's file. It describes the web site of one of the domains.
type FileSite struct {
	// Kind is addon, parked or sub. The main domain needs no kind.
	Kind string `toml:"kind,omitempty"`
	// Root is the document root; a relative path starts at the home.
	Root string `toml:"document_root,omitempty"`
	// Sub is the subdomain to which an addon domain belongs in cPanel.
	Sub string `toml:"subdomain,omitempty"`
}

// sitesOf validates the sites of an account's file.
func sitesOf(f File) (map[string]protocol.Site, error) {
	if len(f.Sites) == 0 {
		return nil, nil
	}
	sites := make(map[string]protocol.Site, len(f.Sites))
	for domain, s := range f.Sites {
		kind := protocol.SiteKind(s.Kind)
		if !slices.Contains([]protocol.SiteKind{"", protocol.AddonSite, protocol.ParkedSite, protocol.SubSite}, kind) {
			return nil, fmt.Errorf("sites.%q: kind: must be addon, parked or sub", domain)
		}
		if !slices.ContainsFunc(f.Domains, func(d string) bool { return lower(d) == lower(domain) }) {
			return nil, fmt.Errorf("sites.%q: the domain is not in the list domains", domain)
		}
		sites[lower(domain)] = protocol.Site{Kind: kind, Root: s.Root, Sub: s.Sub}
	}
	return sites, nil
}

// FileSites converts sites to the form in which an account's file contains them.
func FileSites(sites map[string]protocol.Site) map[string]FileSite {
	if len(sites) == 0 {
		return nil
	}
	out := make(map[string]FileSite, len(sites))
	for domain, s := range sites {
		kind := s.Kind
		if kind == protocol.MainSite {
			kind = ""
		}
		out[domain] = FileSite{Kind: string(kind), Root: s.Root, Sub: s.Sub}
	}
	return out
}

// siteKinds maps the words of a cPanel server's files to the kinds of sites.
var siteKinds = map[string]protocol.SiteKind{
	"main": protocol.MainSite, "addon": protocol.AddonSite, "parked": protocol.ParkedSite, "sub": protocol.SubSite,
}

// readUserDataDomains reads a cPanel server's file /etc/userdatadomains, which has a line for each domain:
// "DOMAIN: USER==OWNER==KIND==SERVERNAME==DOCUMENTROOT==...". It returns the sites of each user.
func readUserDataDomains(path string) (map[string]map[string]protocol.Site, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := readBounded(f, 256*maxUsersFile, path)
	if err != nil {
		return nil, err
	}
	out := make(map[string]map[string]protocol.Site)
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxUsersFile)
	for lines.Scan() {
		domain, rest, ok := strings.Cut(lines.Text(), ": ")
		fields := strings.Split(rest, "==")
		if !ok || len(fields) < 5 || siteKinds[fields[2]] == "" {
			continue
		}
		s := protocol.Site{Kind: siteKinds[fields[2]], Root: fields[4]}
		if s.Kind == protocol.AddonSite {
			s.Sub = lower(fields[3])
		}
		if out[fields[0]] == nil {
			out[fields[0]] = make(map[string]protocol.Site)
		}
		out[fields[0]][lower(domain)] = s
	}
	return out, lines.Err()
}

// maxUserData is the maximum size in bytes of a file in a directory userdata.
const maxUserData = 1 << 20

// UserData reads the sites of an account from the files of its directory userdata on a cPanel server or in an
// archive. read returns the file called name; it returns fs.ErrNotExist if there is no such file. The file
// main lists the domains of each kind, and a file for each site contains the document root.
func UserData(read func(name string) ([]byte, error)) (map[string]protocol.Site, error) {
	text, err := read("main")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var main struct {
		Main   string            `yaml:"main_domain"`
		Addon  map[string]string `yaml:"addon_domains"`
		Parked []string          `yaml:"parked_domains"`
		Sub    []string          `yaml:"sub_domains"`
	}
	if err := decodeUserData(text, &main); err != nil {
		return nil, fmt.Errorf("userdata: main: %w", err)
	}
	root := func(name string) string {
		text, err := read(name)
		var site struct {
			Root string `yaml:"documentroot"`
			Home string `yaml:"homedir"`
		}
		if err != nil || decodeUserData(text, &site) != nil {
			return "" // The default directory is used.
		}
		if relative, ok := strings.CutPrefix(site.Root, site.Home+"/"); ok && site.Home != "" {
			return relative // The home may have another path now.
		}
		return site.Root
	}
	sites := make(map[string]protocol.Site)
	if main.Main != "" {
		sites[lower(main.Main)] = protocol.Site{Kind: protocol.MainSite, Root: root(main.Main)}
	}
	for _, domain := range main.Sub {
		sites[lower(domain)] = protocol.Site{Kind: protocol.SubSite, Root: root(domain)}
	}
	for _, domain := range main.Parked {
		sites[lower(domain)] = protocol.Site{Kind: protocol.ParkedSite}
	}
	for domain, sub := range main.Addon {
		sites[lower(domain)] = protocol.Site{Kind: protocol.AddonSite, Root: root(sub), Sub: lower(sub)}
	}
	return sites, nil
}

func decodeUserData(text []byte, into any) error {
	if len(text) > maxUserData {
		return fmt.Errorf("the file has more than %d bytes", maxUserData)
	}
	return yaml.Unmarshal(text, into)
}

// featureLists reads a cPanel server's feature lists, each of them once.
type featureLists struct {
	dir  string // /var/cpanel/features; "" means none.
	read map[string]map[string]bool
}

// list returns the features that the list called name sets: true for 1, false for 0. A list that does not
// exist sets nothing.
func (l *featureLists) list(name string) (map[string]bool, error) {
	if known, ok := l.read[name]; ok {
		return known, nil
	}
	if strings.ContainsAny(name, "/\x00") || name == "" || name[0] == '.' {
		return nil, fmt.Errorf("feature list %.60q: not a name of a feature list", name)
	}
	f, err := os.Open(filepath.Join(l.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("feature list: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := readBounded(f, maxUsersFile, "the feature list "+name)
	if err != nil {
		return nil, err
	}
	set := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && (value == "0" || value == "1") {
			set[key] = value == "1"
		}
	}
	l.read[name] = set
	return set, nil
}

// lacks returns the features that an account does not have: those that its feature list, the list called
// disabled, or its users file turn off. own contains the features in the users file. A feature that the users
// file turns on is not lacking, unless the list disabled contains it.
func (l *featureLists) lacks(list string, own map[string]bool) ([]string, error) {
	off := make(map[string]bool)
	if l.dir != "" {
		set, err := l.list(list)
		if err != nil {
			return nil, err
		}
		for name, on := range set {
			if !on {
				off[name] = true
			}
		}
	}
	for name, on := range own {
		off[name] = !on
	}
	if l.dir != "" {
		set, err := l.list("disabled")
		if err != nil {
			return nil, err
		}
		for name, on := range set {
			if !on {
				off[name] = true
			}
		}
	}
	var out []string
	for name, is := range off {
		if is {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}
