package mailconf

import (
	"fmt"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// Files contains the parameters of a configuration for a single account with the file store.
type Files struct {
	Account  string
	Home     string
	User     string // The system user that owns the mail.
	UID, GID int
	Domains  []string
	Queue    string // Postfix's queue directory, for sockets; "" for no sockets.
}

// Dovecot returns Dovecot's configuration for an account's files.
//
// The account can write the file with the hashes, and therefore can change everything that Dovecot reads from
// that file: user names, settings, plugins to load. So every Dovecot process that reads the file or serves a
// user runs as the account's own user from its start, and never as root. The configuration overrides uid, gid
// and home, and the fields with which the file could turn one user into another.
func (f Files) Dovecot() ([]File, error) {
	if f.UID == 0 {
		return nil, errRoot
	}
	for name, path := range map[string]string{"home": f.Home, "user": f.User} {
		if err := checkPath(name, path); err != nil {
			return nil, err
		}
	}
	text, err := render("files-dovecot.conf.tmpl", struct {
		Files
		Name string
	}{f, dovecotName})
	return []File{{Name: dovecotName, Text: text}}, err
}

// Postfix returns Postfix's configuration for an account's files. Postfix does not read those files: it asks
// Dovecot which mailboxes exist, and Dovecot rejects mail to mailboxes that may not receive mail.
func (f Files) Postfix() ([]File, error) {
	for _, d := range f.Domains {
		// In its list of domains, Postfix also accepts file names, table names, patterns and exceptions. So
		// only valid domains are written to the list.
		if err := store.CheckDomain(d); err != nil {
			return nil, fmt.Errorf("domain %.80q %w, so it can't be used in Postfix's list of domains", d, err)
		}
	}
	text, err := render("files-postfix.cf.tmpl", f)
	return []File{{Name: postfixName, Text: text}}, err
}
