package mailconf

import (
	"fmt"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// Files are the parameters of a configuration for the store of files of one account.
type Files struct {
	Account  string
	Home     string
	User     string // The system user that owns the mail.
	UID, GID int
	Domains  []string
	Queue    string // Postfix's queue directory, for the sockets between the two; "" makes none.
}

// Dovecot returns the configuration for an account's files.
//
// The account can write the file with the hashes, and with it everything that Dovecot reads from there: names
// of users, settings, plugins to load. So every Dovecot process that reads that file or serves a user runs as
// the account's own user from its start, never as root. The configuration sets uid, gid and home, and the
// fields that could make one user another.
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

// Postfix returns the configuration for an account's files. Postfix reads none of them: Dovecot tells it which
// mailboxes exist, and rejects mail to those that get none.
func (f Files) Postfix() ([]File, error) {
	for _, d := range f.Domains {
		// Postfix's list may also hold names of files and tables, patterns and exceptions.
		if err := store.CheckDomain(d); err != nil {
			return nil, fmt.Errorf("domain %.80q %w, and can't be used in Postfix's list of domains", d, err)
		}
	}
	text, err := render("files-postfix.cf.tmpl", f)
	return []File{{Name: postfixName, Text: text}}, err
}
