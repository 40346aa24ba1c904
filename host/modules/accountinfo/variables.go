package accountinfo

import (
	"cmp"
	"context"
	"strconv"
	"strings"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/protocol"
)

// The functions of Variables follow the OpenAPI document of UAPI. Services that this server does not have,
// such as a web server, are reported as absent or turned off.

func (p *Plugin) variables() []function {
	name := protocol.Param{Name: "name", List: true, Help: "The facts to return; it may be repeated. Default: all."}
	session := uapi("get_session_information", "Show facts about the session.", "An object with host.", func(_ context.Context, r host.Request) (*protocol.Result, error) {
		return chosen(r, map[string]any{"host": p.o.Hostname()})
	}, name)
	session.Roles = everyone
	return []function{
		uapi("get_user_information", "Show facts about the account.", "An object.", func(_ context.Context, r host.Request) (*protocol.Result, error) {
			return chosen(r, userFacts(r.Caller.Account))
		}, name),
		uapi("get_server_information", "Show facts about the server.", "An object.", func(ctx context.Context, r host.Request) (*protocol.Result, error) {
			return chosen(r, p.serverFacts(ctx, r.Caller))
		}, name),
		session,
	}
}

// chosen returns the facts that the argument name lists, or all facts. A name that is not known is an error,
// so that a misspelt name is noticed.
func chosen(r host.Request, facts map[string]any) (*protocol.Result, error) {
	names, _ := r.Call.Args.Named["name"].([]any)
	if len(names) == 0 {
		return data(facts)
	}
	out := make(map[string]any, len(names))
	for _, n := range names {
		name, _ := n.(string)
		value, known := facts[name]
		if !known {
			return invalid("The ‘name’ argument is not the name of a fact: “" + protocol.Clip(name, 100) + "”.")
		}
		out[name] = value
	}
	return data(out)
}

// number returns the whole number in a fact, or the word unlimited. A value that is neither means that the
// limit is not known, and is reported as unlimited, too.
func number(value string) any {
	if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 {
		return n
	}
	return "unlimited"
}

func whole(value string) int64 {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func userFacts(a protocol.Account) map[string]any {
	d := func(key string) string { return a.Data[key] }
	enabled := make(map[string]any)
	for _, name := range allFeatures(a) {
		enabled[name] = flag(a.HasFeature(name))
	}
	mx := make(map[string]any, len(a.Domains))
	for _, domain := range a.Domains {
		mx[domain] = "local"
	}
	others := a.Domains
	if len(others) > 0 {
		others = others[1:]
	}
	facts := map[string]any{
		"backup_enabled": flag(d("BACKUP") == "1"), "bandwidth_limit": whole(d("BWLIMIT")), "cgi_enabled": flag(d("HASCGI") != "0"),
		"contact_email": d("CONTACTEMAIL"), "contact_email_2": d("CONTACTEMAIL2"), "cpanel_root_directory": cpanelRoot,
		"created": whole(d("STARTDATE")), "created_in_version": d("CREATED_IN_VERSION"), "database_owner": a.Name, "dead_domains": []any{},
		"demo_mode": flag(d("DEMO") == "1"), "disk_block_limit": whole(d("DISK_BLOCK_LIMIT")), "dkim_enabled": flag(d("HASDKIM") == "1"),
		"domain": a.MainDomain(), "domains": texts(others), "feature": enabled, "feature_list": cmp.Or(d("FEATURELIST"), "default"),
		"gid": int64(a.GID), "home": a.Home, "home_directory_links": []any{}, "ip": d("IP"), "lang": LocaleOf(a), "last_modified": int64(0),
		"legacy_backup_enabled": flag(d("LEGACY_BACKUP") == "1"), "locale": LocaleOf(a), "mailbox_format": cmp.Or(d("MAILBOX_FORMAT"), "maildir"),
		"maximum_addon_domains": number(d("MAXADDON")), "maximum_databases": number(d("MAXSQL")), "maximum_defer_fail_percentage": number(d("MAX_DEFER_FAIL_PERCENTAGE")),
		"maximum_email_account_disk_quota": number(d("MAX_EMAILACCT_QUOTA")), "maximum_emails_per_hour": number(d("MAX_EMAIL_PER_HOUR")),
		"maximum_ftp_accounts": number(d("MAXFTP")), "maximum_mail_accounts": number(d("MAXPOP")), "maximum_mailing_lists": number(d("MAXLST")),
		"maximum_parked_domains": number(d("MAXPARK")), "maximum_passenger_apps": number(d("MAXPASSENGERAPPS")), "maximum_subdomains": number(d("MAXSUB")),
		"mxcheck": mx, "owner": cmp.Or(d("OWNER"), "root"), "package_extensions": []any{}, "plan": cmp.Or(d("PLAN"), "default"),
		"pushbullet_access_token": "", "shell": noShell, "spf_enabled": flag(d("HASSPF") == "1"), "ssl_default_key_type": "system",
		"theme": ThemeOf(a), "uid": int64(a.UID), "user": a.Name, "utf8_mailbox": int64(0),
	}
	// cPanel's notifications; this server sends none.
	for _, what := range []string{
		"account_authn_link", "account_authn_link_notification_disabled", "account_login", "account_login_for_known_netblock",
		"account_login_notification_disabled", "autossl_expiry", "autossl_expiry_coverage", "autossl_renewal_coverage",
		"autossl_renewal_coverage_reduced", "autossl_renewal_uncovered_domains", "bandwidth_limit", "contact_address_change",
		"contact_address_change_notification_disabled", "disk_limit", "password_change", "password_change_notification_disabled",
		"ssl_expiry", "twofactorauth_change", "twofactorauth_change_notification_disabled",
	} {
		facts["notify_"+what] = int64(0)
	}
	return facts
}

const (
	cpanelRoot = "/usr/local/cpanel"
	// noShell is reported as the account's shell: the host does not read the shells of system users.
	noShell = "/usr/local/cpanel/bin/noshell"
)

func (p *Plugin) serverFacts(ctx context.Context, caller protocol.Caller) map[string]any {
	strength := int64(0)
	result := p.o.Do(ctx, caller, protocol.Call{
		API: protocol.UAPI, Module: "PasswdStrength", Func: "get_required_strength", Args: protocol.Args{Named: map[string]any{"app": "pop"}},
	})
	if object, ok := result.Data.(map[string]any); ok && result.Err == nil {
		strength, _ = protocol.WholeNumber(object["strength"])
	}
	facts := map[string]any{
		"apache_port": "0.0.0.0:80", "apache_ssl_port": "0.0.0.0:443", "cpanel_root_directory": cpanelRoot, "default_theme": DefaultTheme,
		"dnsadmin_app": "", "email_filter_storage_directory": "", "empty_trash_days": "", "ftp_server": "disabled", "local_nameserver_type": "disabled",
		"logout_redirect_url": "", "mail_server": "dovecot", "mailbox_storage_format": "maildir", "mysql_host": "localhost", "mysql_version": "",
		"php_loader": "", "php_system_default_version": "", "ssl_default_key_type": "rsa-2048", "version": p.o.APILevel,
		"file_upload_maximum_bytes": int64(0), "file_upload_must_leave_bytes": int64(0), "htaccess_check_recurse": int64(0),
		"minimum_password_strength": strength, "minimum_password_strength_mysql": strength, "php_maximum_execution_time": int64(0),
		"php_post_maximum_size": int64(0), "php_upload_maximum_filesize": int64(0),
		"api_shell": flag(p.o.HasWeb), "require_ssl": flag(p.o.RequireTLS),
	}
	for _, name := range []string{ // This server does not have these services.
		"disable_analog", "disable_awstats", "disable_boxtrapper", "disable_mailman", "disable_roundcube", "disable_spamassassin", "disable_spambox",
		"disable_webalizer", "docroots_in_public_html_only", "skip_bandwidth_limit_check", "skip_mailbox_warnings_check",
	} {
		facts[name] = int64(1)
	}
	for _, name := range []string{
		"allow_park_subdomain_on_hostname", "allow_remote_domains", "allow_reset_password", "allow_reset_password_for_subaccounts",
		"allow_unregistered_domains", "awstats_browser_update", "awstats_reverse_dns", "database_prefix_required", "display_cpanel_doclinks",
		"enable_file_protect", "file_usage", "invite_sub", "ipv6_listen", "is_mod_userdir_enabled", "php_open_basedir_home",
		"phpmyadmin_disable_search_info_schema", "skip_apache_clients_optimizer", "use_information_schema", "use_mail_for_mailman_url",
	} {
		facts[name] = int64(0)
	}
	return facts
}

// Lookup returns a function that looks up the variables of cPanel's tags for programs of the account, such as
// $user and $CPDATA{'PLAN'}. All values are facts about the account and the server; nothing is taken from the
// host's environment.
func Lookup(a protocol.Account, hostname, apiLevel string) func(name, key string) string {
	theme, locale := ThemeOf(a), LocaleOf(a)
	plain := map[string]string{
		"user": a.Name, "homedir": a.Home, "abshomedir": a.Home, "domain": a.MainDomain(), "DOMAIN": a.MainDomain(),
		"theme": theme, "lang": locale, "locale": locale, "haspostgres": "0", "isreseller": "0", "isresellerlogin": "0", "hasvalidshell": "0",
		"authuser": a.Name, "hostname": hostname, "version": apiLevel, "ip": a.Data["IP"],
	}
	data := map[string]string{
		"USER": a.Name, "DNS": a.MainDomain(), "HOMEDIR": a.Home, "THEME": theme, "RS": theme, "LOCALE": locale, "LANG": locale,
		"PLAN": "default", "OWNER": "root", "FEATURELIST": "default", "CONTACTEMAIL": "", "DEMO": "0", "HASCGI": "1",
	}
	env := map[string]string{
		"HOME": a.Home, "USER": a.Name, "LOGNAME": a.Name, "REMOTE_USER": a.Name, "DOMAIN": a.MainDomain(), "LANG": "C.UTF-8",
	}
	return func(name, key string) string {
		switch name {
		case "CPDATA":
			if value, ok := a.Data[key]; ok {
				return value
			}
			if value, ok := data[key]; ok {
				return value
			}
			if strings.HasPrefix(key, "MAX") { // A limit that is not set does not limit.
				return "unlimited"
			}
			return ""
		case "ENV":
			return env[key]
		}
		if key != "" {
			return "" // Includes $FORM (there is no form) and $CONF (private).
		}
		return plain[name]
	}
}
