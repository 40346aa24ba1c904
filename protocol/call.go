package protocol

import "slices"

// Call is a request to run a function, with the function's arguments.
type Call struct {
	API    API
	Module string
	Func   string
	Args   Args
	// Expand is true if the call came as a tag: the host then expands the variables in its arguments.
	Expand bool
	// Quoted is true if the call came as a URL. cPanel's documentation prints values in URLs in double
	// quotes, so the host removes double quotes around a value. Secrets keep their quotes, because a password
	// may contain them.
	Quoted bool
	// ReadOnly is true if the call came in a way that must not change anything, such as an HTTP GET request.
	// The host then rejects functions that change something, and open functions.
	ReadOnly bool
	// Compact is true if the caller accepts a Records as the data of the Result.
	Compact bool
}

// Role is the relation of a caller to the account. Each function lists the roles that may call it, and the
// host rejects callers with any other role.
type Role string

const (
	// RoleAccount is the role of the account's owner.
	RoleAccount Role = "account"
	// RoleMailbox is the role of the user of a mailbox of the account, for example in webmail.
	RoleMailbox Role = "mailbox"
	// RoleMailServer is the role of the mail server, which queries mailboxes.
	RoleMailServer Role = "mailserver"
	// RoleAdmin is the role of the operator of the host.
	RoleAdmin Role = "admin"
)

// Account is a hosting account, which corresponds to a system user. The account determines which files,
// domains and features a call may access.
type Account struct {
	Name    string
	UID     int      // The uid of the system user that owns the account's files.
	GID     int      // The primary group of that system user.
	Home    string   // The account's home directory, an absolute path.
	Domains []string // In lower case; the main domain comes first.
	// Suspended is true if the account is suspended. The host rejects the calls of a suspended account.
	Suspended bool
	// Features lists the features that the account may use. Nil means all features; an empty list means none.
	Features []string
	// Lacks lists features that the account may not use, even if Features is nil. A cPanel server's feature
	// lists name the features that an account does not have.
	Lacks []string
	// Sites describes the web sites of some of the Domains; see Site. Workers do not receive it.
	Sites map[string]Site
	// Data contains further properties of the account. The keys are the upper-case keys of cPanel's users
	// file: PLAN, OWNER, THEME, LOCALE, CONTACTEMAIL, IP and others.
	Data map[string]string
}

// HasFeature reports whether the account may use the feature called name.
func (a Account) HasFeature(name string) bool {
	return (a.Features == nil || slices.Contains(a.Features, name)) && !slices.Contains(a.Lacks, name)
}

// HasFeature reports whether the caller may call a function that requires the feature called name; "" means
// that the function requires no feature. If the caller's Features is not nil, the caller may only call
// functions that require one of these features, so functions that require no feature are also rejected.
func (c Caller) HasFeature(name string) bool {
	if c.Features != nil && !slices.Contains(c.Features, name) {
		return false
	}
	return name == "" || c.Account.HasFeature(name)
}

// MainDomain returns the first domain of the account, or "" if the account has no domain.
func (a Account) MainDomain() string {
	if len(a.Domains) == 0 {
		return ""
	}
	return a.Domains[0]
}

// Caller identifies the caller of a call: the account for which the call runs, the role, and how the call reached
// the host.
type Caller struct {
	Account Account
	Role    Role
	// Mailbox is the address of the mailbox if Role is RoleMailbox, otherwise "".
	Mailbox string
	// Features restricts this caller to a subset of the account's features, for example because of a token.
	// Nil means no restriction.
	Features []string
	Door     string // The front door: socket, cpanel, webmail etc. For logs.
	From     string // The peer's uid and pid, or its address. For logs.
}
