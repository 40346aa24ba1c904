package https

import (
	"cmp"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/listing"
)

func (c *whmCall) version() {
	data := map[string]any{"version": APILevel}
	c.reply(data, data)
}

func (c *whmCall) appList() {
	names := make([]string, 0, len(whmFunctions()))
	for name := range whmFunctions() {
		names = append(names, name)
	}
	slices.Sort(names)
	data := map[string]any{"app": names}
	c.reply(data, data)
}

// own returns the accounts for which the caller may act, including suspended accounts, sorted by name.
func (c *whmCall) own() []protocol.Account {
	all := slices.DeleteFunc(c.q.front.o.Backend.Accounts(), func(a protocol.Account) bool { return !c.q.owns(a) })
	slices.SortFunc(all, func(a, b protocol.Account) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// listAccounts implements listaccts. The parameter search is a regular expression, and searchtype names the
// field of an account that must match the expression.
func (c *whmCall) listAccounts() {
	search, problem := c.values.Take("search")
	kind, more := c.values.Take("searchtype")
	method, _ := c.values.Take("searchmethod")
	if problem == nil {
		problem = more
	}
	if problem != nil {
		c.fail(problem.Status, problem.Message)
		return
	}
	field := map[string]string{"": "domain", "domain": "domain", "user": "user", "username": "user", "owner": "owner", "ip": "ip", "package": "plan"}[kind]
	if field == "" {
		c.fail(http.StatusOK, "The ‘searchtype’ argument must be domain, owner, user, ip or package.")
		return
	}
	if method == "exact" && search != "" {
		search = "^" + regexp.QuoteMeta(search) + "$"
	}
	searched, wrong := listing.Parse(listing.Dialect{API: protocol.UAPI, Name: func(string) string { return "search" }},
		map[string]string{"filter_column": field, "filter_type": "matches", "filter_term": "(?i)" + search})
	if wrong != nil {
		c.fail(http.StatusOK, wrong.Message)
		return
	}
	want, problem := c.values.Take("want")
	if problem != nil {
		c.fail(problem.Status, problem.Message)
		return
	}
	options, wrong := takeListOptions(c.values)
	if wrong != nil {
		c.fail(http.StatusOK, wrong.Message)
		return
	}
	records := []any{}
	for _, a := range c.own() {
		records = append(records, summary(a))
	}
	pause, end := c.q.front.o.Pace(c.q.who.user)
	defer end()
	found := &protocol.Result{Data: records}
	if search != "" {
		if err := searched.Apply(c.q.r.Context(), found, pause); err != nil {
			c.fail(http.StatusOK, err.Error())
			return
		}
		records, _ = found.Data.([]any)
	}
	shaped, meta, err := options.apply(c.q.r.Context(), records, pause)
	end() // End the turn before writing: a slow client delays writing.
	if err != nil {
		c.fail(http.StatusOK, err.Error())
		return
	}
	if fields := strings.Split(want, ","); want != "" {
		for i, item := range shaped {
			record, _ := item.(map[string]any)
			shaped[i] = maps.Collect(func(yield func(string, any) bool) {
				for _, name := range fields {
					if value, ok := record[strings.TrimSpace(name)]; ok && !yield(strings.TrimSpace(name), value) {
						return
					}
				}
			})
		}
	}
	c.meta = meta
	c.reply(map[string]any{"acct": shaped}, map[string]any{"acct": shaped, "status": 1, "statusmsg": "Ok"})
}

// accountSummary implements accountsummary. The account is given by its name or by one of its domains.
func (c *whmCall) accountSummary() {
	user, domain := c.text("user"), c.text("domain")
	if user == "" && domain == "" {
		c.fail(http.StatusOK, "Provide the ‘user’ or the ‘domain’ argument.")
		return
	}
	for _, a := range c.own() {
		if user != "" && a.Name == user || user == "" && slices.Contains(a.Domains, account.ASCIIDomain(domain)) {
			records := []any{summary(a)}
			c.reply(map[string]any{"acct": records}, map[string]any{"acct": records, "status": 1, "statusmsg": "Ok"})
			return
		}
	}
	c.fail(http.StatusOK, "Account does not exist.")
}

// summary returns an account's record in the form that clients of WHM expect. The fields follow the
// documentation of accountsummary in WHM API 1. Limits and usage that this server does not count are reported
// as unlimited or 0, with the words that WHM uses.
func summary(a protocol.Account) map[string]any {
	suspended, reason, since := 0, "not suspended", any(nil)
	if a.Suspended {
		suspended, reason = 1, cmp.Or(a.Data["SUSPENDREASON"], "Unknown")
		if at, err := strconv.ParseInt(a.Data["SUSPENDTIME"], 10, 64); err == nil {
			since = at
		}
	}
	started, day := int64(0), "unknown"
	if at, err := strconv.ParseInt(a.Data["STARTDATE"], 10, 64); err == nil {
		started, day = at, time.Unix(at, 0).UTC().Format("06 Jan 02 15:04")
	}
	return map[string]any{
		"user": a.Name, "domain": a.MainDomain(), "owner": cmp.Or(a.Data["OWNER"], root), "email": cmp.Or(a.Data["CONTACTEMAIL"], "*unknown*"),
		"plan": cmp.Or(a.Data["PLAN"], "default"), "ip": a.Data["IP"], "theme": cmp.Or(a.Data["THEME"], a.Data["RS"]), "uid": a.UID,
		"suspended": suspended, "suspendreason": reason, "suspendtime": since, "is_locked": 0, "shell": "", "partition": "",
		"outgoing_mail_suspended": 0, "outgoing_mail_hold": 0, "mailbox_format": "maildir", "backup": 0, "legacy_backup": 0,
		"ipv6": []any{}, "child_nodes": []any{}, "inodesused": 0, "inodeslimit": "unlimited", "max_emailacct_quota": "unlimited",
		"max_email_per_hour": "unlimited", "max_defer_fail_percentage": "unlimited", "min_defer_fail_to_trigger_protection": "5",
		"diskused": "none", "disklimit": "unlimited", "maxpop": cmp.Or(a.Data["MAXPOP"], "unlimited"), "maxsub": "unlimited",
		"maxftp": "unlimited", "maxlst": "unlimited", "maxsql": "unlimited", "maxaddons": "unlimited", "maxparked": "unlimited",
		"startdate": day, "unix_startdate": started,
	}
}

func (c *whmCall) hostname() {
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	data := map[string]any{"hostname": name}
	c.reply(data, data)
}

// privileges implements myprivs. Root may do everything. A reseller has the privileges for the functions that
// this server offers to resellers.
func (c *whmCall) privileges() {
	of := map[string]any{"all": 1}
	if c.q.who.role != protocol.RoleAdmin {
		of = map[string]any{"all": 0, "list-accts": 1, "suspend-acct": 1, "passwd": 1, "create-user-session": 1, "manage-api-tokens": 1, "track-email": 0}
	}
	data := map[string]any{"privileges": []any{of}}
	c.reply(data, map[string]any{"privs": of})
}

// listSuspended implements listsuspended.
func (c *whmCall) listSuspended() {
	records := []any{}
	for _, a := range c.own() {
		if !a.Suspended {
			continue
		}
		at, _ := strconv.ParseInt(a.Data["SUSPENDTIME"], 10, 64)
		when := ""
		if at > 0 {
			when = time.Unix(at, 0).UTC().Format(time.ANSIC)
		}
		records = append(records, map[string]any{
			"user": a.Name, "owner": cmp.Or(a.Data["OWNER"], root), "reason": a.Data["SUSPENDREASON"], "time": when, "unixtime": at, "is_locked": 0,
		})
	}
	c.reply(map[string]any{"account": records}, map[string]any{"accts": records, "status": 1, "statusmsg": ""})
}

func (c *whmCall) listPackages() {
	c.reply(map[string]any{"pkg": []any{}}, map[string]any{"package": []any{}})
}

// featureNames implements get_feature_names.
func (c *whmCall) featureNames() {
	caller := c.q.who.account
	if caller.Name == "" { // Root has no account.
		caller.Name = c.q.holder()
	}
	records, problem := c.ask(caller, "Features", "get_feature_metadata", nil)
	if problem != nil {
		c.fail(http.StatusOK, problem.Message)
		return
	}
	out := []any{}
	if list, ok := records.([]any); ok {
		for _, item := range list {
			record, _ := item.(map[string]any)
			out = append(out, map[string]any{"id": record["id"], "name": record["name"]})
		}
	}
	data := map[string]any{"feature": out}
	c.reply(data, data)
}

// hasFeature implements verify_user_has_feature.
func (c *whmCall) hasFeature() {
	a, ok := c.account()
	if !ok {
		return
	}
	has := 0
	if a.HasFeature(c.text("feature")) {
		has = 1
	}
	data := map[string]any{"has_feature": has}
	c.reply(data, data)
}

// strengths implements getminimumpasswordstrengths. Accounts may require more than the server; the answer is
// for the first account of the caller.
func (c *whmCall) strengths() {
	data := map[string]any{}
	for _, a := range c.own() {
		if a.Suspended {
			continue
		}
		result := c.q.front.o.Admin.Run(c.ctx, c.as(a), []protocol.Call{{API: protocol.API2, Module: "PasswdStrength", Func: "appstrengths", Args: protocol.Args{Named: map[string]any{}}}})[0]
		records, _ := result.Data.([]any)
		for _, item := range records {
			if record, ok := item.(map[string]any); ok {
				app, _ := record["app"].(string)
				data[app] = record["strength"]
				data["default"] = record["strength"]
			}
		}
		break
	}
	c.reply(data, data)
}

// domainUserData implements domainuserdata.
func (c *whmCall) domainUserData() {
	domain := account.ASCIIDomain(c.text("domain"))
	for _, a := range c.own() {
		if !slices.Contains(a.Domains, domain) {
			continue
		}
		site, problem := c.ask(a, "DomainInfo", "single_domain_data", map[string]any{"domain": domain})
		if problem != nil {
			c.fail(http.StatusOK, problem.Message)
			return
		}
		data := map[string]any{"userdata": site}
		c.reply(data, map[string]any{"userdata": site, "result": []any{map[string]any{"status": 1, "statusmsg": "Obtained userdata."}}})
		return
	}
	c.fail(http.StatusOK, "The domain “"+protocol.Clip(c.text("domain"), maxLogged)+"” does not exist.")
}

// domainInfo implements get_domain_info.
func (c *whmCall) domainInfo() {
	records := []any{}
	for _, a := range c.own() {
		for _, domain := range a.DomainsOf(protocol.MainSite, protocol.AddonSite, protocol.ParkedSite, protocol.SubSite) {
			site := a.Site(domain)
			records = append(records, map[string]any{
				"domain": domain, "user": a.Name, "user_owner": cmp.Or(a.Data["OWNER"], root), "docroot": site.Root, "domain_type": string(site.Kind),
				"parent_domain": cmp.Or(site.Sub, a.MainDomain()), "ipv4": a.Data["IP"], "ipv6": nil, "ipv6_is_dedicated": 0, "php_version": nil,
				"port": "80", "ssl_port": "443", "ipv4_ssl": a.Data["IP"], "modsecurity_enabled": 0,
			})
		}
	}
	data := map[string]any{"domains": records}
	c.reply(data, data)
}
