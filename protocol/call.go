package protocol

import "slices"

// Call is a function to run, with its arguments.
type Call struct {
	API    API
	Module string
	Func   string
	Args   Args
	// Expand means that the call came as a tag: variables in its arguments are expanded.
	Expand bool
	// Quoted means that the call came as a URL: double quotes around a value, as the documentation prints
	// them, do not belong to the value. Secrets are taken byte for byte.
	Quoted bool
	// ReadOnly means that the call came in a way that must not change anything.
	ReadOnly bool
}

// Role is the caller's relation to an account. Functions name the roles that may call them; all other roles
// are rejected.
type Role string

const (
	// RoleAccount is the account's owner.
	RoleAccount Role = "account"
	// RoleMailbox is a mailbox user, as in webmail.
	RoleMailbox Role = "mailbox"
	// RoleMailServer is the mail server, which asks about mailboxes.
	RoleMailServer Role = "mailserver"
	// RoleAdmin is the operator of the host.
	RoleAdmin Role = "admin"
)

// Account is a hosting account. It decides what a call may access.
type Account struct {
	Name    string
	UID     int      // The system user's; the account's files belong to it.
	GID     int      // The system user's primary group.
	Home    string   // Absolute path.
	Domains []string // Lower case; the main domain first.
	// Suspended accounts can't make calls.
	Suspended bool
	// Features are the account's features; nil means all.
	Features []string
	// Data are further facts about the account, with the upper-case keys of cPanel's users file: PLAN, OWNER,
	// THEME, LOCALE, CONTACTEMAIL, IP and others.
	Data map[string]string
}

// HasFeature reports whether the account has a feature.
func (a Account) HasFeature(name string) bool {
	return a.Features == nil || slices.Contains(a.Features, name)
}

// HasFeature reports whether the caller may use a feature. A caller with limited features may use only those,
// and so may not call functions without a feature either.
func (c Caller) HasFeature(name string) bool {
	if c.Features != nil && !slices.Contains(c.Features, name) {
		return false
	}
	return name == "" || c.Account.HasFeature(name)
}

// MainDomain returns the account's main domain, or "" if it has none.
func (a Account) MainDomain() string {
	if len(a.Domains) == 0 {
		return ""
	}
	return a.Domains[0]
}

// Caller is the account for which a call runs, and how the host identified it.
type Caller struct {
	Account Account
	Role    Role
	// Mailbox is the address of the mailbox user; "" for other roles.
	Mailbox string
	// Features limits the account's features for this caller; nil means no limit.
	Features []string
	Door     string // The front door, such as "socket", "stdio", "cpanel", "whm", "webmail" or "dovecot". For logs.
	From     string // The origin of the call: a peer's uid and pid, or an address. For logs.
}
