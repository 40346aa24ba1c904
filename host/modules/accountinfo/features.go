package accountinfo

import (
	"context"
	"slices"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/protocol"
)

// features lists the ids and names of cPanel's features, as its documentation of the feature manager names
// them. An account that is not limited has all of them, because plugins ask for features of the interface
// that they extend.
var features = []struct{ id, name string }{
	{"addondomains", "Addon Domains"}, {"analog", "Analog Stats"}, {"api_shell", "API Shell"}, {"apitokens", "Manage API Tokens"},
	{"autoresponders", "Autoresponders"}, {"autossl", "AutoSSL"}, {"awstats", "Awstats"}, {"backup", "Backup"},
	{"backupwizard", "Backup Wizard"}, {"bandwidth", "Bandwidth Stats"}, {"blockers", "IP Deny Manager"}, {"boxtrapper", "BoxTrapper Spam Trap"},
	{"calendarcontact", "Calendars and Contacts"}, {"changemx", "MX Entry"}, {"cpanelpro_support", "Contact System Administrator"},
	{"cpanelpro_images", "Images"}, {"cpanelpro_leech", "Leech Protection"}, {"cron", "Cron Jobs"}, {"csvimport", "Address Importer"},
	{"defaultaddress", "Default Address Manager"}, {"diskusage", "Disk Usage Viewer"}, {"emailauth", "Email Authentication"},
	{"emailarchive", "Email Archiving"}, {"emaildomainfwd", "Email Domain Forwarding"}, {"emailscripts", "Email Delivery Route"},
	{"emailtrace", "Email Trace"}, {"errlog", "Error Log"}, {"errpgs", "Custom Error Pages"}, {"fileman", "File Manager"},
	{"forwarders", "Email Forwarders"}, {"ftpaccts", "FTP Accounts"}, {"ftpsetup", "FTP Settings"}, {"getstart", "Getting Started Wizard"},
	{"gnupg", "GnuPG"}, {"handlers", "Apache Handlers"}, {"hotlink", "Hotlink Protection"}, {"indexmanager", "Index Manager"},
	{"ipdeny", "IP Blocker"}, {"lastvisits", "Latest Visitors"}, {"lists", "Mailing List Manager"}, {"mime", "MIME Types Manager"},
	{"modsecurity", "ModSecurity Domain Manager"}, {"multiphp", "MultiPHP"}, {"multiphp_ini_editor", "MultiPHP INI Editor"},
	{"mysql", "MySQL"}, {"parkeddomains", "Parked Domains"}, {"passengerapps", "Application Manager"}, {"phpmyadmin", "phpMyAdmin"},
	{"phppgadmin", "phpPgAdmin"}, {"popaccts", "Email Accounts"}, {"postgres", "PostgreSQL"}, {"rawlog", "Raw Access Logs"},
	{"redirects", "Redirects"}, {"resource_usage", "Resource Usage"}, {"searchsubmit", "Search Engine Submit Tool"},
	{"setlang", "Change Language"}, {"spamassassin", "Spam Filters"}, {"spambox", "Spam Box"}, {"ssh", "SSH Access & Terminal"},
	{"sslinstall", "SSL Host Installer"}, {"sslmanager", "SSL Manager"}, {"style", "Change Style"}, {"subdomains", "Subdomain Manager"},
	{"subdomainstats", "Subdomain Stats"}, {"team_manager", "Team Manager"}, {"theme_switching", "Theme Switching"},
	{"traceaddy", "Email Address Trace"}, {"twofactorauth", "Two-Factor Authentication"}, {"updatecontact", "Update Contact Information"},
	{"updatenotificationprefs", "Update Notification Preferences"}, {"userlog", "User Log"}, {"user_manager", "User Manager"},
	{"version_control", "Git Version Control"}, {"videotut", "Video Tutorials"}, {"webdisk", "Web Disk"}, {"webmail", "Webmail"},
	{"webprotect", "Directory Privacy"}, {"webstats", "Choose Log Programs"}, {"zoneedit", "Zone Editor"},
}

// FeatureNames returns the ids of all known features, sorted.
func FeatureNames() []string {
	names := make([]string, 0, len(features))
	for _, f := range features {
		names = append(names, f.id)
	}
	slices.Sort(names)
	return names
}

func featureFunctions() []function {
	return []function{
		uapi("list_features", "List all features.", "An object: 1 for each feature that the account has, 0 for others.", listFeatures),
		uapi("has_feature", "Tell whether the account has a feature.", "Nothing; the status is 1 or 0.", hasFeature,
			protocol.Param{Name: "name", Required: true, Help: "The feature's id, such as popaccts."}),
		uapi("get_feature_metadata", "Describe all features.", "A record for each: id, name, is_plugin, is_cpaddon.", featureMetadata),
	}
}

// allFeatures returns the known features, and those that only the account's own lists contain.
func allFeatures(a protocol.Account) []string {
	names := slices.Concat(FeatureNames(), a.Features, a.Lacks)
	slices.Sort(names)
	return slices.Compact(names)
}

func listFeatures(_ context.Context, r host.Request) (*protocol.Result, error) {
	out := make(map[string]any)
	for _, name := range allFeatures(r.Caller.Account) {
		out[name] = flag(r.Caller.Account.HasFeature(name))
	}
	return data(out)
}

func hasFeature(_ context.Context, r host.Request) (*protocol.Result, error) {
	a, name := r.Caller.Account, text(r, "name")
	known := slices.Contains(allFeatures(a), name)
	switch {
	case known && a.HasFeature(name):
		return data(nil)
	case known: // The documentation quotes this message.
		return &protocol.Result{No: true, Messages: []string{"The feature “" + protocol.Clip(name, 100) + "” exists but is not enabled."}}, nil
	}
	return &protocol.Result{No: true}, nil
}

func featureMetadata(_ context.Context, r host.Request) (*protocol.Result, error) {
	names := make(map[string]string, len(features))
	for _, f := range features {
		names[f.id] = f.name
	}
	out := []any{}
	for _, id := range allFeatures(r.Caller.Account) {
		name, known := names[id]
		if !known {
			name = id
		}
		out = append(out, map[string]any{"id": id, "name": name, "is_plugin": flag(!known), "is_cpaddon": int64(0)})
	}
	return data(out)
}
