package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/liveapid/liveapid/host/admin/dovecot"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/identity/account"
)

// Mail says which mail store the Email plugin has, so that Examine can check the mail server.
type Mail struct {
	Email    bool   // The configuration has the Email plugin.
	Database string // Dovecot's driver for the store: pgsql or mysql; "" for a store in files.
	// Weak returns the mailboxes whose passwords have a scheme that Dovecot 2.4 refuses, with their schemes. With an
	// error, it returns those that could be read.
	Weak func(ctx context.Context) ([]string, error)
}

// mail checks the mail server: the user of its look-ups, without which the host does not start, and the parts of Dovecot
// that the configuration of "liveapi dovecot" needs.
func (d *diagnosis) mail(ctx context.Context, c *config.Config, mail Mail) {
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
	series, err := dovecot.Version(ctx)
	switch {
	case errors.Is(err, dovecot.ErrMissing):
		d.note("Dovecot is not installed: the mailboxes exist, but nobody can read their mail on this machine")
	case err != nil:
		d.bad("Dovecot: %v", err)
	case series != "2.3" && series != "2.4":
		d.bad("Dovecot %s is installed, but liveapi dovecot writes configurations for 2.3 and 2.4: install one of these", series)
	default:
		d.parts(c, series, mail.Database)
	}
	if mail.Weak != nil {
		d.weak(ctx, series, mail)
	}
}

// parts checks that all parts of Dovecot are installed that its configuration needs.
func (d *diagnosis) parts(c *config.Config, series, database string) {
	needs := dovecot.Needs{Driver: database}
	if database == "" && series != "2.3" {
		// Dovecot asks the host with its driver for PostgreSQL, or reads the limits of an account's mailboxes with a script.
		if c.Mode == config.Server {
			needs.Driver = "pgsql"
		} else {
			needs.Lua = true
		}
	}
	if install := dovecot.Missing(needs); install != "" {
		d.bad("Dovecot can't use the configuration of liveapi dovecot: %s", install)
	} else {
		d.well("Dovecot %s has all that the configuration of liveapi dovecot needs", series)
	}
}

// mostNamed is the number of mailboxes that a finding names.
const mostNamed = 20

// weak names the mailboxes whose passwords Dovecot 2.4 refuses.
func (d *diagnosis) weak(ctx context.Context, series string, mail Mail) {
	weak, err := mail.Weak(ctx)
	if err != nil {
		d.note("the schemes of the passwords could not all be read: %v", err)
	}
	if len(weak) == 0 {
		return
	}
	named := strings.Join(weak[:min(len(weak), mostNamed)], ", ")
	if more := len(weak) - mostNamed; more > 0 {
		named += fmt.Sprintf(" and %d others", more)
	}
	const repair = "set new passwords with passwd_pop, or set auth_allow_weak_schemes = yes in Dovecot's configuration until their owners have changed them"
	if series == "2.4" {
		d.bad("%d mailboxes have passwords of weak schemes, which Dovecot 2.4 refuses, so nobody can log in to them: %s: %s", len(weak), named, repair)
		return
	}
	d.note("%d mailboxes have passwords of weak schemes, which Dovecot 2.4 refuses: %s: before an upgrade to 2.4, %s", len(weak), named, repair)
}
