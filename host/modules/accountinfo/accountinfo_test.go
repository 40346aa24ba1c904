package accountinfo_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/modules/accountinfo"
	"github.com/liveapid/liveapid/protocol"
)

var demo = protocol.Account{
	Name: "demo", UID: 1001, GID: 1002, Home: "/home/demo",
	Domains: []string{"example.com", "addon.example", "alias.example", "shop.example.com", "*.example.com"},
	Data:    map[string]string{"MAXPOP": "10", "MAXSUB": "unlimited", "LOCALE": "he", "CONTACTEMAIL": "me@example.net", "OWNER": "res", "IP": "192.0.2.1", "STARTDATE": "1700000000"},
	Lacks:   []string{"ftpaccts", "own_plugin"},
	Sites: map[string]protocol.Site{
		"addon.example": {Kind: protocol.AddonSite, Root: "/home/demo/addon", Sub: "addon.example.com"}, "alias.example": {Kind: protocol.ParkedSite},
	},
}

// module returns the modules with a host that knows 8 mailboxes, a disk use of 3 MiB and a quota of 4 MiB.
func module() *accountinfo.Plugin {
	return accountinfo.New(accountinfo.Options{
		APILevel: "11.136.0.0", Hostname: func() string { return "host.example" }, HasWeb: true,
		Do: func(_ context.Context, _ protocol.Caller, call protocol.Call) *protocol.Result {
			switch call.Func {
			case "count_pops":
				return &protocol.Result{Data: int64(8)}
			case "get_local_quota_info":
				return &protocol.Result{Data: map[string]any{"bytes_used": int64(3 << 20), "byte_limit": int64(4 << 20), "inodes_used": int64(7), "inode_limit": int64(0)}}
			case "get_required_strength":
				return &protocol.Result{Data: map[string]any{"strength": int64(65)}}
			}
			return protocol.Failed(protocol.NewError(protocol.KindNoModule, ""))
		},
	})
}

// call calls a function as the host does: with arguments that were checked.
func call(t *testing.T, api protocol.API, moduleName, name string, args map[string]any) *protocol.Result {
	t.Helper()
	p := module()
	all, err := p.Modules(t.Context(), demo)
	require.NoError(t, err)
	for _, m := range all {
		require.NoError(t, m.Validate())
		for _, f := range m.Functions {
			if m.Name != moduleName || f.API != api || f.Name != name {
				continue
			}
			checked, refused := f.Check(protocol.Args{Named: args})
			if refused != nil {
				return protocol.Failed(refused)
			}
			result, err := p.Call(t.Context(), host.Request{Caller: protocol.Caller{Account: demo, Role: protocol.RoleAccount}, Function: f,
				Call: protocol.Call{API: api, Module: moduleName, Func: name, Args: checked}})
			require.NoError(t, err)
			return result
		}
	}
	require.Fail(t, "no such function", "%s::%s", moduleName, name)
	return nil
}

// ask returns the data of a UAPI function that must not fail.
func ask(t *testing.T, moduleName, name string, args map[string]any) any {
	t.Helper()
	result := call(t, protocol.UAPI, moduleName, name, args)
	require.Nil(t, result.Err)
	return result.Data
}

func TestDomains(t *testing.T) {
	require.Equal(t, map[string]any{
		"main_domain": "example.com", "addon_domains": []any{"addon.example"}, "parked_domains": []any{"alias.example"}, "sub_domains": []any{"shop.example.com"},
	}, ask(t, "DomainInfo", "list_domains", nil))
	hash := ask(t, "DomainInfo", "domains_data", map[string]any{"format": "hash"}).(map[string]any)
	main := hash["main_domain"].(map[string]any)
	require.Equal(t, map[string]any{
		"documentroot": "/home/demo/public_html", "domain": "example.com", "group": "demo", "hascgi": int64(1), "homedir": "/home/demo", "ip": "192.0.2.1",
		"owner": "res", "serveradmin": "webmaster@example.com", "serveralias": "mail.example.com www.example.com", "servername": "example.com",
		"type": "main_domain", "usecanonicalname": "Off", "user": "demo", "userdirprotect": int64(0),
	}, main)
	addon := hash["addon_domains"].([]any)[0].(map[string]any)
	require.Equal(t, "addon.example.com", addon["servername"])
	require.Equal(t, "addon_domain", addon["type"])
	require.Equal(t, "/home/demo/addon", addon["documentroot"])
	require.NotContains(t, addon, "is_https_redirecting")
	list := ask(t, "DomainInfo", "domains_data", map[string]any{"format": "list", "return_https_redirects_status": "1"}).([]any)
	require.Len(t, list, 4, "no wildcard")
	require.Equal(t, int64(0), list[0].(map[string]any)["is_https_redirecting"])
	require.Equal(t, "parked_domain", ask(t, "DomainInfo", "single_domain_data", map[string]any{"domain": "ALIAS.example"}).(map[string]any)["type"])
	for _, c := range []struct {
		name string
		args map[string]any
		says string
	}{
		{"domains_data", map[string]any{"format": "yaml"}, "‘format’ argument must be hash or list"},
		{"single_domain_data", nil, "Provide the ‘domain’ argument."},
		{"single_domain_data", map[string]any{"domain": "other.example"}, "“other.example” is none"},
	} {
		require.ErrorContains(t, call(t, protocol.UAPI, "DomainInfo", c.name, c.args).Err, c.says)
	}
	for name, want := range map[string]any{
		"getmaindomain":    []any{map[string]any{"main_domain": "example.com"}},
		"getbasedomains":   []any{map[string]any{"domain": "example.com"}, map[string]any{"domain": "addon.example"}, map[string]any{"domain": "alias.example"}},
		"countbasedomains": []any{map[string]any{"count": int64(3)}},
		"getdocroots": []any{
			map[string]any{"domain": "addon.example", "docroot": "/home/demo/addon"}, map[string]any{"domain": "alias.example", "docroot": "/home/demo/public_html"},
			map[string]any{"domain": "example.com", "docroot": "/home/demo/public_html"}, map[string]any{"domain": "shop.example.com", "docroot": "/home/demo/shop.example.com"},
		},
	} {
		require.Equal(t, want, call(t, protocol.API2, "DomainLookup", name, nil).Data, name)
	}
	require.Equal(t, []any{map[string]any{"docroot": "/home/demo/addon", "reldocroot": "addon"}},
		call(t, protocol.API2, "DomainLookup", "getdocroot", map[string]any{"domain": "addon.example"}).Data)
	require.Equal(t, []any{map[string]any{"docroot": "/home/demo/public_html", "reldocroot": "public_html"}},
		call(t, protocol.API2, "DomainLookup", "getdocroot", map[string]any{"domain": "unknown.example"}).Data, "as documented")
}

func TestVariables(t *testing.T) {
	all := ask(t, "Variables", "get_user_information", nil).(map[string]any)
	for name, want := range map[string]any{
		"user": "demo", "uid": int64(1001), "gid": int64(1002), "domain": "example.com", "maximum_mail_accounts": int64(10), "maximum_subdomains": "unlimited",
		"contact_email": "me@example.net", "created": int64(1700000000), "locale": "he", "plan": "default", "owner": "res", "theme": "jupiter",
		"domains": []any{"addon.example", "alias.example", "shop.example.com", "*.example.com"},
	} {
		require.Equal(t, want, all[name], name)
	}
	require.Equal(t, int64(0), all["feature"].(map[string]any)["ftpaccts"])
	require.Equal(t, int64(1), all["feature"].(map[string]any)["popaccts"])
	require.Equal(t, map[string]any{"user": "demo", "home": "/home/demo"}, ask(t, "Variables", "get_user_information", map[string]any{"name": "user", "name-1": "home"}))
	require.ErrorContains(t, call(t, protocol.UAPI, "Variables", "get_user_information", map[string]any{"name": "usr"}).Err, "“usr”")
	require.Equal(t, map[string]any{"host": "host.example"}, ask(t, "Variables", "get_session_information", nil))
	server := ask(t, "Variables", "get_server_information", nil).(map[string]any)
	require.Equal(t, int64(65), server["minimum_password_strength"])
	require.Equal(t, "11.136.0.0", server["version"])
	require.ErrorContains(t, call(t, protocol.UAPI, "Variables", "get_server_information", map[string]any{"name": "secret"}).Err, "“secret”")
}

func TestFeatures(t *testing.T) {
	has := func(name string) *protocol.Result {
		return call(t, protocol.UAPI, "Features", "has_feature", map[string]any{"name": name})
	}
	require.Equal(t, &protocol.Result{}, has("popaccts"))
	require.Equal(t, &protocol.Result{No: true, Messages: []string{"The feature “ftpaccts” exists but is not enabled."}}, has("ftpaccts"))
	require.Equal(t, &protocol.Result{No: true}, has("nothing"))
	require.ErrorContains(t, has("").Err, "‘name’")
	list := ask(t, "Features", "list_features", nil).(map[string]any)
	require.Equal(t, int64(1), list["popaccts"])
	require.Equal(t, int64(0), list["own_plugin"], "a feature that only the account's lists contain")
	require.Contains(t, ask(t, "Features", "get_feature_metadata", nil), map[string]any{"id": "popaccts", "name": "Email Accounts", "is_plugin": int64(0), "is_cpaddon": int64(0)})
	require.IsIncreasing(t, accountinfo.FeatureNames(), "sorted, and none twice")
}

func TestLocaleAndTheme(t *testing.T) {
	require.Equal(t, map[string]any{"locale": "he", "name": "Hebrew", "encoding": "utf-8", "direction": "rtl"}, ask(t, "Locale", "get_attributes", nil))
	require.Contains(t, ask(t, "Locale", "list_locales", nil), map[string]any{"locale": "de", "name": "German", "local_name": "Deutsch", "direction": "ltr"})
	require.Equal(t, "jupiter", ask(t, "Themes", "get_theme_base", nil))
	require.Equal(t, "", call(t, protocol.API1, "Branding", "include", nil).Data)
}

func TestStatsBar(t *testing.T) {
	result := call(t, protocol.UAPI, "StatsBar", "get_stats", map[string]any{"display": "emailaccounts|diskusage|subdomains|hostname|mysqldatabases", "rowcounter": "even"})
	require.Nil(t, result.Err)
	require.Equal(t, []string{"The item “mysqldatabases” is not known to this server."}, result.Warnings)
	records := result.Data.([]any)
	require.Len(t, records, 4)
	for i, want := range []map[string]any{
		{"id": "emailaccounts", "count": "8", "max": "10", "percent": int64(80), "percent20": int64(80), "is_maxed": int64(0), "rowtype": "even"},
		{"id": "diskusage", "_count": "3.00", "_max": "4.00", "percent": int64(75), "percent10": int64(70), "percent5": int64(75), "units": "MB", "rowtype": "odd"},
		{"id": "subdomains", "count": "1", "max": "unlimited", "percent": int64(0), "rowtype": "even"},
		{"id": "hostname", "value": "host.example", "rowtype": "odd"},
	} {
		require.Subset(t, records[i], want)
	}
	near := call(t, protocol.API2, "StatsBar", "stat", map[string]any{"display": "emailaccounts|diskusage|subdomains", "warnings": "1", "warninglevel": "high"})
	require.Len(t, near.Data, 1, "only what is near its limit")
	require.Equal(t, "∞", call(t, protocol.UAPI, "StatsBar", "get_stats", map[string]any{"display": "subdomains", "infinitylang": "1"}).Data.([]any)[0].(map[string]any)["max"])
	require.ErrorContains(t, call(t, protocol.UAPI, "StatsBar", "get_stats", map[string]any{"display": "x", "warninglevel": "a lot"}).Err, "‘warninglevel’")
	require.ErrorContains(t, call(t, protocol.UAPI, "StatsBar", "get_stats", nil).Err, "‘display’")
}
