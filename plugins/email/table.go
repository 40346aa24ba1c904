package email

import (
	"context"

	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// operation describes an operation of the module: its function in each of the three APIs, with name,
// parameters and result. The behaviour is the same in all three APIs and is implemented by do. The
// differences between the APIs are in the table of operations, so that they can be compared with the
// documentation: api.docs.cpanel.net, "Email" (API 2), the OpenAPI document of UAPI, and the wiki's pages
// about API 1.
type operation struct {
	help    string
	returns string
	changes bool
	do      part
	// The part before runs before do, and the part after runs after do; both may be nil. They run in the
	// process that receives the secrets in the call and in the settings: the helper, if there is one. If
	// shared is true, do also runs in that process.
	before, after part
	shared        bool
	// roles lists the roles that may call the operation in addition to the account's owner.
	roles []protocol.Role
	api1  *form
	api2  []form // An operation may have several names in API 2.
	uapi  *form
}

// part is a step of an operation: its before, do or after.
type part func(ctx context.Context, call *sdk.Call) (any, error)

// form describes the function of an operation in one of the APIs.
type form struct {
	name   string
	params []protocol.Param
	// answer converts the operation's result to the form of this API. If answer is nil, the function returns
	// the API's record of success.
	answer func(any) any
}

// Parameters that several functions share.
var (
	pDomain = protocol.Param{Name: "domain", Help: "A domain of the account, such as example.com. Default: the main domain."}
	// pDomainOf is the domain of API 2's functions. The documentation requires it, but clients send a whole
	// address in email instead.
	pDomainOf = protocol.Param{Name: "domain", Help: "The mailbox's domain, such as example.com. It may be missing if email is a whole address."}
	pEmail    = protocol.Param{Name: "email", Required: true, Help: "The mailbox's name, such as user, or its whole address."}
	pAddress  = protocol.Param{Name: "email", Required: true, Help: "The mailbox's whole address, such as user@example.com."}
	pPassword = protocol.Param{Name: "password", Type: protocol.TypeSecret, Required: true, Help: "The new password."}
	pQuota    = protocol.Param{Name: "quota", Help: "The quota in MiB, a whole number; 0 or unlimited for none."}
	pAccount  = protocol.Param{Name: "account", Help: "A mailbox's address. Default: the account's own mailbox."}
	pRegex    = protocol.Param{Name: "regex", Help: "A Perl regular expression that the mailbox's name or its address must match."}
)

func required(p protocol.Param) protocol.Param { p.Required = true; return p }
func optional(p protocol.Param) protocol.Param { p.Required = false; return p }

func flag(name, help string) protocol.Param {
	return protocol.Param{Name: name, Type: protocol.TypeFlag, Help: help}
}

func text(name, help string) protocol.Param { return protocol.Param{Name: name, Help: help} }

// ownMailbox are the roles of an operation that the user of a mailbox may call for the own mailbox.
var ownMailbox = []protocol.Role{protocol.RoleMailbox}

// Functions that convert results for an API.
func asIs(v any) any      { return v }
func record(v any) any    { return []any{v} }
func returnNull(any) any  { return nil }
func returnOne(any) any   { return 1 }
func returnEmpty(any) any { return "" }
func statusOne(any) any   { return []any{map[string]any{"status": 1}} }
func rawDone(any) any     { return []any{map[string]any{"raw": "", "reason": "", "result": 1}} }
func inField(n string) func(any) any {
	return func(v any) any { return []any{map[string]any{n: v}} }
}

func (m *Module) operations() []operation {
	return []operation{
		{
			help: "Change a mailbox's password.", changes: true, before: m.hashPassword, do: m.passwdPop, after: m.notifyMailServer(logins),
			roles: ownMailbox, // The user has proved to be the owner by signing in with the old password.
			api2:  []form{{name: "passwdpop", params: []protocol.Param{pDomainOf, pEmail, pPassword}}},
			uapi:  &form{name: "passwd_pop", params: []protocol.Param{pEmail, pPassword, pDomain}},
		},
		{
			help: "Verify a mailbox's password.", do: m.storedHash, after: m.verifyPassword,
			roles:   []protocol.Role{protocol.RoleMailServer},
			returns: "1, or 0 if the password is wrong or the mailbox's login is suspended.",
			uapi: &form{name: "verify_password", answer: asIs, params: []protocol.Param{pAddress,
				{Name: "password", Type: protocol.TypeSecret, Required: true, Help: "The password to try."}}},
		},
		{
			help: "Create a mailbox.", changes: true, before: m.hashNewPassword, do: m.addPop, after: m.welcome,
			returns: "The mailbox: user+example.com in UAPI, its address in API 1.",
			api1:    &form{name: "addpop", answer: asIs, params: []protocol.Param{pEmail, pPassword, pQuota, pDomain}},
			api2: []form{{name: "addpop", params: []protocol.Param{pDomainOf, pEmail, pPassword, pQuota,
				flag("send_welcome_email", "Mail the settings to the new mailbox.")}}},
			uapi: &form{name: "add_pop", params: []protocol.Param{pEmail, optional(pPassword),
				{Name: "password_hash", Type: protocol.TypeSecret, Help: "A crypt hash, in place of the password."},
				pQuota, pDomain,
				flag("send_welcome_email", "Mail the settings to the new mailbox."),
				flag("skip_update_db", "Accepted for compatibility; there is no such database.")},
				answer: plusForm},
		},
		{
			help: "Delete a mailbox and its mail.", changes: true, do: m.deletePop, after: m.notifyMailServer(logins),
			api1: &form{name: "delpop", answer: returnEmpty, params: []protocol.Param{pEmail,
				{Name: "password", Type: protocol.TypeSecret, Help: "Accepted for compatibility."}, pDomain}},
			api2: []form{{name: "delpop", answer: rawDone, params: []protocol.Param{pDomainOf, pEmail}}},
			uapi: &form{name: "delete_pop", params: []protocol.Param{pEmail, pDomain,
				text("flags", "passwd keeps the mail."), flag("skip_quota", "Keep the quota's line.")}},
		},
		{
			help: "List the mailboxes.", do: m.listPops, returns: "A record for each: email, login, suspended_login, suspended_incoming.",
			api2: []form{
				{name: "listpops", answer: asIs, params: []protocol.Param{pRegex}},
				{name: "listpopssingle", answer: asIs, params: []protocol.Param{pRegex}},
				{name: "listpopswithimage", answer: withImage, params: []protocol.Param{pRegex}},
			},
			uapi: &form{name: "list_pops", answer: asIs, params: []protocol.Param{pRegex,
				flag("skip_main", "Leave out the account's own mailbox."),
				flag("no_validate", "Accepted for compatibility: the list always comes from the store.")}},
		},
		{
			help: "List the mailboxes with their quotas and their disk use.", do: m.listPopsWithDisk,
			returns: "A record for each.",
			api2: []form{{name: "listpopswithdisk", answer: asIs, params: []protocol.Param{
				text("domain", "Only this domain's mailboxes."), pRegex,
				flag("nearquotaonly", "Only mailboxes that are full to 95 % or more."),
				flag("no_validate", "Accepted for compatibility: the list always comes from the store.")}}},
			uapi: &form{name: "list_pops_with_disk", answer: asIs, params: []protocol.Param{
				text("domain", "Only this domain's mailboxes."), text("email", "Only this mailbox."), pRegex,
				{Name: "maxaccounts", Type: protocol.TypeInteger, Help: "The maximum number of mailboxes."},
				flag("no_disk", "Do not measure the mail."),
				flag("no_validate", "Accepted for compatibility: the list always comes from the store."),
				flag("get_restrictions", "With has_suspended, suspended_outgoing and hold_outgoing."),
				text("infinityimg", "The path of an image for no quota."),
				flag("infinitylang", "∞ for no quota.")}},
		},
		{
			help: "Count the mailboxes.", do: m.countPops, returns: "The number.",
			uapi: &form{name: "count_pops", answer: asIs},
		},
		{
			help: "List the domains that can have mailboxes.", do: m.listDomains, returns: "A record with domain for each, the main domain first.",
			api2: []form{{name: "listmaildomains", answer: asIs, params: []protocol.Param{flag("skipmain", "Leave out the main domain.")}}},
			uapi: &form{name: "list_mail_domains", answer: asIs, params: []protocol.Param{
				text("select", "Mark this domain with select."),
				flag("add_www", "With www. in front of each, too."), flag("include_wildcard", "With *. in front of each, too.")}},
		},
		{
			help: "Show a mailbox's name.", do: m.accountName, roles: ownMailbox,
			api2: []form{{name: "accountname", answer: inField("account"), params: []protocol.Param{
				text("account", "A mailbox's name, or its address."), text("display", "With no account: all mail.")}}},
			uapi: &form{name: "account_name", answer: asIs, params: []protocol.Param{
				text("account", "A mailbox's address."), text("display", "With no account: all mail.")}},
		},
		{
			help: "Change a mailbox's quota.", changes: true, do: m.editQuota, after: m.notifyMailServer(limits),
			api2: []form{{name: "editquota", params: []protocol.Param{pDomainOf, pEmail, required(pQuota)}}},
			uapi: &form{name: "edit_pop_quota", params: []protocol.Param{pEmail, pDomainOf, pQuota}},
		},
		{
			help: "Show a mailbox's quota.", do: m.getQuota, roles: ownMailbox, returns: "The quota in MiB, or in bytes; unlimited if there is none.",
			api1: &form{name: "getpopquota", answer: asIs, params: []protocol.Param{pEmail, pDomain}},
			uapi: &form{name: "get_pop_quota", answer: asIs, params: []protocol.Param{pEmail, pDomain, flag("as_bytes", "In bytes; 0 for none.")}},
		},
		{
			help: "Show the disk use of a mailbox.", do: m.getDiskUsage, returns: "diskused in MiB, domain, login and user.",
			api2: []form{{name: "getdiskusage", answer: record, params: []protocol.Param{
				text("user", "The mailbox's name, or its whole address."), text("login", "The same as user, as older documentation names it."), pDomainOf}}},
			uapi: &form{name: "get_disk_usage", answer: asIs, params: []protocol.Param{required(text("user", "The mailbox's name, or its whole address.")), pDomainOf}},
		},
		{
			help: "Measure a mailbox's disk use again.", do: m.clearCache,
			api2: []form{{name: "clearpopcache", answer: statusOne, params: []protocol.Param{{Name: "username", Required: true, Help: "The mailbox's whole address."}}}},
		},
		{
			help: "Show the disk use of the account's own mailbox.", do: m.mainUsageText,
			uapi: &form{name: "get_main_account_disk_usage", answer: asIs},
		},
		{
			help: "Show the disk use of the account's own mailbox, in bytes.", do: m.mainUsage,
			uapi: &form{name: "get_main_account_disk_usage_bytes", answer: asIs},
		},
		{
			help: "Show the quota that new mailboxes have, in bytes; in API 2 in MiB.", do: bytesOf(defaultQuota),
			api2: []form{{name: "get_default_email_quota", answer: inField("get_default_email_quota")}},
			uapi: &form{name: "get_default_email_quota", answer: asIs},
		},
		{
			help: "Show the quota that new mailboxes have, in MiB.", do: mibOf(defaultQuota),
			uapi: &form{name: "get_default_email_quota_mib", answer: asIs},
		},
		{
			help: "Show the highest quota that a mailbox may have, in bytes; in API 2 in MiB.", do: bytesOf(maxQuota),
			api2: []form{{name: "get_max_email_quota", answer: inField("get_max_email_quota")}},
			uapi: &form{name: "get_max_email_quota", answer: asIs},
		},
		{
			help: "Show the highest quota that a mailbox may have, in MiB.", do: mibOf(maxQuota),
			uapi: &form{name: "get_max_email_quota_mib", answer: asIs},
		},
		m.suspension("suspend_login", "Reject logins to a mailbox; its mail still arrives.", login, true, returnNull),
		m.suspension("unsuspend_login", "Accept logins to a mailbox again.", login, false, returnNull),
		m.suspension("suspend_incoming", "Reject mail to a mailbox; logins work.", incoming, true, returnNull),
		m.suspension("unsuspend_incoming", "Accept mail to a mailbox again.", incoming, false, returnOne),
		m.suspension("suspend_outgoing", "Reject mail that a mailbox sends; logins work.", outgoing, true, returnOne),
		m.suspension("unsuspend_outgoing", "Take mail that a mailbox sends again.", outgoing, false, returnNull),
		m.suspension("hold_outgoing", "Hold mail that a mailbox sends in the queue.", hold, true, returnNull),
		{
			help: "End all sessions of the account's mailboxes.", changes: true, do: m.endSessions, shared: true,
			uapi: &form{name: "terminate_mailbox_sessions"},
		},
		{
			help: "Show the settings of a mailbox for a mail program.", do: m.clientSettings, roles: ownMailbox,
			returns: "Names, ports and services of the servers.",
			uapi:    &form{name: "get_client_settings", answer: asIs, params: []protocol.Param{pAccount}},
		},
		{
			help: "Mail the settings of a mailbox for a mail program.", changes: true, do: m.checkSettings, after: m.dispatchSettings,
			uapi: &form{name: "dispatch_client_settings", params: []protocol.Param{required(pAccount), required(text("to", "The address to mail it to."))}},
		},
		{
			help: "Show the settings of a mailbox for a webmail program.", do: m.webmailSettings, roles: ownMailbox,
			returns: "domain, has_maildir and user.",
			uapi:    &form{name: "get_webmail_settings", answer: asIs, params: []protocol.Param{pAccount}},
		},
		{
			help: "Tell whether the mail server accepts passwords without TLS.", do: m.plaintextLogin,
			uapi: &form{name: "has_plaintext_authentication", answer: asIs},
		},
		m.release(),
		{
			help: "Count the messages that are held of a mailbox.", returns: "The number.", do: m.requireMailbox, after: m.onQueue("count"),
			uapi: &form{name: "get_held_message_count", answer: asIs, params: []protocol.Param{pAddress}},
		},
		{
			help: "Delete the messages that are held of a mailbox.", returns: "The number of those that were deleted.", changes: true,
			do: m.requireMailbox, after: m.onQueue("delete"),
			uapi: &form{name: "delete_held_messages", answer: asIs, params: []protocol.Param{pAddress}},
		},
	}
}

// functions returns all operations as the table of functions that the SDK expects.
func (m *Module) functions() []sdk.Function {
	all := []sdk.Function{m.lookupFunction(), m.unlockFunction()}
	example := examples()
	for _, op := range m.operations() {
		add := func(api protocol.API, f *form) {
			if f != nil {
				name := map[protocol.API]string{protocol.API1: "api1 ", protocol.API2: "api2 ", protocol.UAPI: "uapi "}[api] + f.name
				all = append(all, op.function(api, *f, example[name]))
			}
		}
		add(protocol.API1, op.api1)
		for i := range op.api2 {
			add(protocol.API2, &op.api2[i])
		}
		add(protocol.UAPI, op.uapi)
	}
	return all
}

func (op operation) function(api protocol.API, f form, example any) sdk.Function {
	returns := op.returns
	if returns == "" && f.answer == nil {
		returns = "Nothing."
		if api == protocol.API2 {
			returns = "One record: result is 1, or 0 with the reason."
		}
	}
	fn := sdk.Function{
		Function: protocol.Function{
			API: api, Name: f.name, Help: op.help, Returns: returns, Params: f.params, Changes: op.changes,
			Roles: append([]protocol.Role{protocol.RoleAccount}, op.roles...), Feature: feature, Shared: op.shared,
		},
		Do: op.do, Before: op.before, After: op.after,
	}
	fn.Example = example
	if op.after == nil {
		fn.Do = f.answers(op.do)
	} else {
		fn.After = f.answers(op.after)
	}
	return fn
}

// answers wraps last, the part of an operation that runs last, in a part that also converts the result to the
// form of this API.
func (f form) answers(last part) part {
	return func(ctx context.Context, call *sdk.Call) (any, error) {
		result, err := last(ctx, call)
		if err != nil {
			return nil, err
		}
		if f.answer == nil {
			return call.Done(), nil
		}
		return f.answer(result), nil
	}
}

// feature is cPanel's name of the feature that gives an account access to the pages for mailboxes.
const feature = "popaccts"
