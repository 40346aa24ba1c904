package protocol

import (
	"path/filepath"
	"strings"
)

// SiteKind is the relation of a domain's web site to the account's main domain, as cPanel names it.
type SiteKind string

// The kinds of sites. An addon domain has its own directory. A parked domain, also called an alias, shows the
// main domain's site. A subdomain belongs to another domain of the account.
const (
	MainSite   SiteKind = "main"
	AddonSite  SiteKind = "addon"
	ParkedSite SiteKind = "parked"
	SubSite    SiteKind = "sub"
)

// Site describes the web site of a domain.
type Site struct {
	Kind SiteKind
	Root string // The document root; a relative path starts at the account's home.
	// Sub is the subdomain to which an addon domain belongs in cPanel, such as addon.example.com, or "".
	Sub string
}

// Site returns the site of a domain of the account. Missing values get defaults: the first domain is
// the main domain, with the document root public_html. A domain below another domain of the account
// is a subdomain, and any other domain is parked.
func (a Account) Site(domain string) Site {
	s := a.Sites[domain]
	main := domain == a.MainDomain()
	if main {
		s.Kind = MainSite
	}
	if s.Kind == "" {
		s.Kind = ParkedSite
		for _, other := range a.Domains {
			if strings.HasSuffix(domain, "."+other) {
				s.Kind = SubSite
			}
		}
	}
	if s.Root == "" && (s.Kind == AddonSite || s.Kind == SubSite) {
		s.Root = domain
	}
	if s.Root == "" && !main && s.Kind == ParkedSite {
		s.Root = a.Site(a.MainDomain()).Root
	}
	if s.Root == "" {
		s.Root = "public_html"
	}
	if !filepath.IsAbs(s.Root) {
		s.Root = filepath.Join(a.Home, s.Root)
	}
	return s
}

// DomainsOf returns the account's domains of the given kinds, in the order of Domains. Wildcards, such as
// *.example.com, are left out.
func (a Account) DomainsOf(kinds ...SiteKind) []string {
	var out []string
	for _, domain := range a.Domains {
		kind := a.Site(domain).Kind
		for _, k := range kinds {
			if k == kind && !strings.HasPrefix(domain, "*.") {
				out = append(out, domain)
				break
			}
		}
	}
	return out
}
