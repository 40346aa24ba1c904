package protocol

import "slices"

// Call is one function to run, with its arguments.
type Call struct {
	API    API
	Module string
	Func   string
	Args   Args
	// Expand says that the call came as a tag: variables in its arguments are expanded.
	Expand bool
	// Quoted says that the call came as a URL: where a value stands in double quotes, as the
	// documentation prints it, they are none of it. Secrets are taken byte for byte.
	Quoted bool
	// ReadOnly says that the call came in a way that must change nothing.
	ReadOnly bool
}

// Role is what a caller may be to an account. Functions name the roles they serve;
// a role that a function does not name is refused.
type Role string

const (
	// RoleAccount is the account's owner.
	RoleAccount Role = "account"
	// RoleMailbox is one mailbox's user, as in webmail.
	RoleMailbox Role = "mailbox"
	// RoleMailServer is the mail server, which asks about mailboxes.
	RoleMailServer Role = "mailserver"
	// RoleAdmin is the operator of the host.
	RoleAdmin Role = "admin"
)

// Account is a hosting account. It decides what a call may touch.
type Account struct {
	Name    string
	UID     int      // The system user's; files of the account belong to it.
	GID     int      // The system user's primary group.
	Home    string   // Absolute path.
	Domains []string // Lower case; the main domain is the first.
	// Suspended accounts are refused.
	Suspended bool
	// Features are those the account has; nil means all.
	Features []string
	// Data are further facts of the account, by the upper-case keys of cPanel's users
	// file: PLAN, OWNER, THEME, LOCALE, CONTACTEMAIL, IP and others.
	Data map[string]string
}

// HasFeature tells whether the account has a feature.
func (a Account) HasFeature(name string) bool {
	return a.Features == nil || slices.Contains(a.Features, name)
}

// HasFeature tells whether the caller may use a feature: a limited one nothing beyond its own, and
// so not what needs no feature either.
func (c Caller) HasFeature(name string) bool {
	if c.Features != nil && !slices.Contains(c.Features, name) {
		return false
	}
	return name == "" || c.Account.HasFeature(name)
}

// MainDomain returns the account's main domain, or "" where it has none.
func (a Account) MainDomain() string {
	if len(a.Domains) == 0 {
		return ""
	}
	return a.Domains[0]
}

// Caller is whom a call runs for, and how the host knows.
type Caller struct {
	Account Account
	Role    Role
	// Mailbox is the address of the mailbox's user; "" for other roles.
	Mailbox string
	// Features, where it is not nil, are those of the account's that this caller may use.
	Features []string
	Door     string // The front door: "socket", "stdio", "cpanel", "whm" or "webmail". For logs.
	From     string // Who or what is at the door: a peer's uid and pid, an address. For logs.
}
