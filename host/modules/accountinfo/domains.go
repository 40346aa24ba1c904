package accountinfo

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/protocol"
)

// The functions of DomainInfo follow the OpenAPI document of UAPI. Where it and answers of live servers
// differ, clients in the field read the live form: main_domain is a single text or object, not a list.

func (p *Plugin) domainInfo() []function {
	redirects := protocol.Param{Name: "return_https_redirects_status", Type: protocol.TypeFlag, Help: "Also return whether each domain redirects to HTTPS."}
	redirect := protocol.Param{Name: "return_https_redirect_status", Type: protocol.TypeFlag, Help: redirects.Help}
	return []function{
		uapi("list_domains", "List the account's domains by their kind.", "main_domain, and the lists addon_domains, parked_domains and sub_domains.", listDomains),
		uapi("domains_data", "Show the web site of each domain.", "An object with main_domain, addon_domains, parked_domains and sub_domains, or a list.", domainsData,
			protocol.Param{Name: "format", Help: "hash (the default) or list."}, redirects),
		uapi("single_domain_data", "Show the web site of a domain.", "An object with domain, documentroot, servername, type and others.", singleDomain,
			protocol.Param{Name: "domain", Required: true, Help: "One of the account's domains."}, redirect),
		uapi("main_domain_builtin_subdomain_aliases", "List the names below the main domain that show its site.", "A list of labels, such as www.", builtinAliases),
	}
}

func (p *Plugin) domainLookup() []function {
	return []function{
		api2("getmaindomain", "Show the main domain.", "A record with main_domain.", func(_ context.Context, r host.Request) (*protocol.Result, error) {
			return data([]any{map[string]any{"main_domain": r.Caller.Account.MainDomain()}})
		}),
		api2("getbasedomains", "List the main, addon and parked domains.", "A record with domain for each.", func(_ context.Context, r host.Request) (*protocol.Result, error) {
			return data(domainRecords(r.Caller.Account))
		}),
		api2("countbasedomains", "Count the main, addon and parked domains.", "A record with count.", func(_ context.Context, r host.Request) (*protocol.Result, error) {
			return data([]any{map[string]any{"count": int64(len(domainRecords(r.Caller.Account)))}})
		}),
		api2("getdocroots", "List the document root of each domain.", "A record with docroot and domain for each.", docRoots),
		api2("getdocroot", "Show the document root of a domain.", "A record with docroot and reldocroot.", docRoot,
			protocol.Param{Name: "domain", Help: "One of the account's domains. Default: the main domain."}),
	}
}

func listDomains(_ context.Context, r host.Request) (*protocol.Result, error) {
	a := r.Caller.Account
	return data(map[string]any{
		"main_domain":    a.MainDomain(),
		"addon_domains":  texts(a.DomainsOf(protocol.AddonSite)),
		"parked_domains": texts(a.DomainsOf(protocol.ParkedSite)),
		"sub_domains":    texts(a.DomainsOf(protocol.SubSite)),
	})
}

func domainsData(_ context.Context, r host.Request) (*protocol.Result, error) {
	a := r.Caller.Account
	withRedirects := text(r, "return_https_redirects_status") == "1"
	records := func(kinds ...protocol.SiteKind) []any {
		out := []any{}
		for _, domain := range a.DomainsOf(kinds...) {
			out = append(out, siteRecord(a, domain, "parked_domains", withRedirects))
		}
		return out
	}
	switch text(r, "format") {
	case "list":
		return data(records(protocol.MainSite, protocol.AddonSite, protocol.SubSite, protocol.ParkedSite))
	case "", "hash":
		var main any
		if domain := a.MainDomain(); domain != "" {
			main = siteRecord(a, domain, "parked_domains", withRedirects)
		}
		return data(map[string]any{
			"main_domain": main, "addon_domains": records(protocol.AddonSite),
			"parked_domains": records(protocol.ParkedSite), "sub_domains": records(protocol.SubSite),
		})
	}
	return invalid("The ‘format’ argument must be hash or list.")
}

func singleDomain(_ context.Context, r host.Request) (*protocol.Result, error) {
	a := r.Caller.Account
	domain := strings.ToLower(text(r, "domain"))
	if !slices.Contains(a.Domains, domain) {
		return invalid("The ‘domain’ argument must be a domain of the account. “" + protocol.Clip(text(r, "domain"), 100) + "” is none.")
	}
	return data(siteRecord(a, domain, "parked_domain", text(r, "return_https_redirect_status") == "1"))
}

// siteRecord returns the record of a domain. parked is the word for the type of a parked domain, which
// differs between functions in the documentation.
func siteRecord(a protocol.Account, domain, parked string, withRedirects bool) map[string]any {
	s := a.Site(domain)
	kind := map[protocol.SiteKind]string{
		protocol.MainSite: "main_domain", protocol.AddonSite: "addon_domain", protocol.SubSite: "sub_domain", protocol.ParkedSite: parked,
	}[s.Kind]
	server := domain
	switch s.Kind {
	case protocol.AddonSite:
		server = cmp.Or(s.Sub, domain+"."+a.MainDomain())
	case protocol.ParkedSite:
		server = a.MainDomain()
	}
	aliases := []string{"www." + domain}
	if s.Kind != protocol.SubSite {
		aliases = append([]string{"mail." + domain}, aliases...)
	}
	if server != domain {
		aliases = append(aliases, domain)
	}
	record := map[string]any{
		"documentroot": s.Root, "domain": domain, "group": a.Name, "hascgi": flag(a.Data["HASCGI"] != "0"), "homedir": a.Home,
		"ip": a.Data["IP"], "owner": cmp.Or(a.Data["OWNER"], "root"), "serveradmin": "webmaster@" + server,
		"serveralias": strings.Join(aliases, " "), "servername": server, "type": kind, "usecanonicalname": "Off", "user": a.Name,
		"userdirprotect": int64(0),
	}
	if withRedirects {
		record["all_aliases_valid"], record["can_https_redirect"], record["is_https_redirecting"] = int64(0), int64(0), int64(0)
	}
	return record
}

// builtinAliases returns the labels that a cPanel server adds below the main domain.
func builtinAliases(context.Context, host.Request) (*protocol.Result, error) {
	return list([]any{"mail", "www"})
}

func domainRecords(a protocol.Account) []any {
	out := []any{}
	for _, domain := range a.DomainsOf(protocol.MainSite, protocol.AddonSite, protocol.ParkedSite) {
		out = append(out, map[string]any{"domain": domain})
	}
	return out
}

func docRoots(_ context.Context, r host.Request) (*protocol.Result, error) {
	a := r.Caller.Account
	domains := a.DomainsOf(protocol.MainSite, protocol.AddonSite, protocol.ParkedSite, protocol.SubSite)
	slices.Sort(domains) // The documentation says that the list is sorted.
	out := []any{}
	for _, domain := range domains {
		out = append(out, map[string]any{"docroot": a.Site(domain).Root, "domain": domain})
	}
	return data(out)
}

// docRoot returns the document root of a domain. According to the documentation, a domain that the account
// does not have is not an error: the result is then the directory of the main domain.
func docRoot(_ context.Context, r host.Request) (*protocol.Result, error) {
	a := r.Caller.Account
	domain := strings.ToLower(text(r, "domain"))
	if !slices.Contains(a.Domains, domain) {
		domain = a.MainDomain()
	}
	root := a.Site(domain).Root
	relative, err := filepath.Rel(a.Home, root)
	if err != nil || strings.HasPrefix(relative, "..") {
		relative = root
	}
	return data([]any{map[string]any{"docroot": root, "reldocroot": relative}})
}
