package mailconf

import (
	"errors"
	"fmt"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// Files contains the parameters of a configuration for a single account with the file store.
type Files struct {
	Options
	Dir      string // The directory where the generated files will be installed.
	Account  string
	Home     string
	User     string // The system user that owns the mail.
	UID, GID int
	Domains  []string
}

// Dovecot returns Dovecot's configuration for an account's files.
//
// The account can write the file with the hashes, and therefore can change everything that Dovecot reads from
// that file: user names, settings, plugins to load. So every Dovecot process that reads the file or serves a
// user runs as the account's own user from its start, and never as root. The configuration overrides uid, gid
// and home, and the fields with which the file could turn one user into another. Dovecot 2.4 is told to use no
// field of the file but the hash.
func (f Files) Dovecot() ([]File, error) {
	if f.UID == 0 {
		return nil, errRoot
	}
	if f.Doveadm != "" && f.Version != Dovecot23 {
		// Its process needs all settings, which include the key of the certificate, or root's rights, which would be
		// the account's then.
		return nil, errors.New("doveadm: for the files of one account, Dovecot 2.4 can't be told of changes without giving the account rights that it must not have; Dovecot sees the changes within a second without it: remove the setting")
	}
	paths := map[string]string{"home": f.Home, "user": f.User}
	names := []string{"files"}
	files := []File{{Name: dovecotName}}
	if f.Version != Dovecot23 {
		paths["the files' directory"] = f.Dir
		names = append(names, "files-quota")
		files = append(files, File{Name: dovecotQuotaName})
	}
	for name, path := range paths {
		if err := checkPath(name, path); err != nil {
			return nil, err
		}
	}
	values := struct {
		Files
		Name, QuotaName string
	}{f, dovecotName, dovecotQuotaName}
	for i, name := range names {
		var err error
		if files[i].Text, err = f.dovecot(name, values); err != nil {
			return nil, err
		}
	}
	return files, nil
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
	text, err := postfix("files", f)
	return []File{{Name: postfixName, Text: text}}, err
}
