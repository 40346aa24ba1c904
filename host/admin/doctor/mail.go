package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/identity/account"
)

// Mail says which mail store the Email plugin has, so that Examine can check the mail server.
type Mail struct {
	Email    bool   // The configuration has the Email plugin.
	Database string // Dovecot's driver for the store: pgsql or mysql; "" for a store in files.
}

// dovecotDirs are the directories in which distributions install Dovecot's programs, with its modules below.
var dovecotDirs = []string{"/usr/lib/dovecot", "/usr/libexec/dovecot"}

// mail checks the mail server: the user of its look-ups, without which the host does not start, and the parts of Dovecot
// that the configuration of "liveapi dovecot" needs.
func (d *diagnosis) mail(c *config.Config, mail Mail) {
	if c.Mode == config.Server && c.DovecotSocket != "" {
		if asking, err := account.SystemUser(c.MailUser); err != nil {
			d.bad("mail_user: %v: the host does not start without this user: install Dovecot, or set mail_user to the user of its auth process", err)
		} else {
			d.well("Dovecot asks as %s, uid %d, on %s", c.MailUser, asking.UID, c.DovecotSocket)
		}
	}
	if !mail.Email {
		return
	}
	missing, installed := missingDovecot(mail.Database)
	switch {
	case !installed:
		d.note("Dovecot is not installed: the mailboxes exist, but nobody can read their mail on this machine")
	case len(missing) > 0:
		d.bad("Dovecot can't use the configuration of liveapi dovecot: apt-get install %s", strings.Join(missing, " "))
	default:
		d.well("Dovecot has all that the configuration of liveapi dovecot needs")
	}
}

// missingDovecot returns Debian's packages of the parts of Dovecot that are missing. installed is false if Dovecot itself
// is missing.
func missingDovecot(database string) (packages []string, installed bool) {
	if _, err := os.Stat("/usr/sbin/dovecot"); err != nil {
		return nil, false
	}
	needed := map[string]string{"imap": "dovecot-imapd", "lmtp": "dovecot-lmtpd"}
	if database != "" {
		needed["libdriver_"+database+".so"] = "dovecot-" + database
	}
	for file, name := range needed {
		if !dovecotHas(file) {
			packages = append(packages, name)
		}
	}
	slices.Sort(packages)
	return packages, true
}

func dovecotHas(file string) bool {
	for _, dir := range dovecotDirs {
		for _, path := range []string{filepath.Join(dir, file), filepath.Join(dir, "modules", file)} {
			if _, err := os.Stat(path); err == nil {
				return true
			}
		}
	}
	return false
}
