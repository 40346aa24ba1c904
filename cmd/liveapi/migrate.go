package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/admin/accounts"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/plugins/email/store/filesproc"
	"github.com/liveapid/liveapid/plugins/email/store/migrate"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore"
	"github.com/liveapid/liveapid/protocol"
)

// migration are the options of the command "liveapi store migrate".
type migration struct {
	migrate.Options
	from, to, user string
	domains        []string
	yes            bool
}

func storeMigrateCommand(path *string) *cobra.Command {
	var m migration
	cmd := &cobra.Command{
		Use:   "migrate --from files --to sql | --from sql --to files [--user NAME] [--domain DOMAIN] [--dry-run]",
		Short: "Copy mailboxes between the accounts' files and the database",
		Long: `Copies the mailboxes of all accounts, or of one, with their hashes, quotas and suspensions, and prints
by name what was copied, left or refused, and why. Mailboxes that exist at the destination with other
data are not changed, unless with --overwrite. With --mirror, mailboxes that the source lacks are
removed, too. Messages are never moved or removed. The exit status is 0 only if both stores contain
the same afterwards. In server mode, run the command as root: it reads and writes the files of an
account in a process of the account.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := m.check(); err != nil {
				return err
			}
			c, db, err := openDatabase(*path)
			if err != nil {
				return err
			}
			defer func() { _ = db.Close() }()
			all, err := accounts.Chosen(c, m.user)
			if err == nil {
				all, err = m.chosen(all)
			}
			if err != nil {
				return err
			}
			changed, err := m.run(cmd.Context(), all, db, cmd.OutOrStdout(), cmd.ErrOrStderr())
			if changed {
				forgetLogins(cmd.Context(), c, cmd.ErrOrStderr())
			}
			return err
		},
	}
	cmd.Flags().StringVar(&m.from, "from", "", "files or sql")
	cmd.Flags().StringVar(&m.to, "to", "", "files or sql")
	cmd.Flags().StringVar(&m.user, "user", "", "copy only this account (default: all)")
	cmd.Flags().StringArrayVar(&m.domains, "domain", nil, "copy only this domain; may be repeated")
	cmd.Flags().BoolVar(&m.DryRun, "dry-run", false, "print the changes without making them")
	cmd.Flags().BoolVar(&m.Overwrite, "overwrite", false, "give mailboxes that exist with other data the source's data")
	cmd.Flags().BoolVar(&m.Mirror, "mirror", false, "the same, and remove mailboxes that the source lacks; needs --yes")
	cmd.Flags().BoolVar(&m.yes, "yes", false, "with --mirror: really remove mailboxes")
	return cmd
}

// forgetLogins makes the mail server forget its cached logins. A failure is only printed, because the mailboxes were
// changed.
func forgetLogins(ctx context.Context, c *config.Config, out io.Writer) {
	settings, err := emailSettings(c)
	if err == nil {
		err = settings.ForgetLogins(ctx)
	}
	if err != nil {
		_, _ = fmt.Fprintln(out, "liveapi: warning:", err)
	}
}

func (m *migration) check() error {
	switch {
	case !(m.from == "files" && m.to == "sql" || m.from == "sql" && m.to == "files"):
		return admin.Usage(errors.New("--from and --to must be files and sql, or sql and files"))
	case m.Mirror && !m.yes && !m.DryRun:
		return admin.Usage(errors.New("--mirror removes mailboxes that the source lacks: look at them with --dry-run, and then pass --yes"))
	}
	return nil
}

// chosen returns the accounts with only those domains that were chosen.
func (m *migration) chosen(all []protocol.Account) ([]protocol.Account, error) {
	if len(m.domains) == 0 {
		return all, nil
	}
	var out []protocol.Account
	left := slices.Clone(m.domains)
	for _, a := range all {
		a.Domains = slices.DeleteFunc(slices.Clone(a.Domains), func(domain string) bool { return !slices.Contains(m.domains, domain) })
		left = slices.DeleteFunc(left, func(domain string) bool { return slices.Contains(a.Domains, domain) })
		if len(a.Domains) > 0 {
			out = append(out, a)
		}
	}
	if len(left) > 0 {
		return nil, fmt.Errorf("no account that was chosen has the domain %s", strings.Join(left, ", "))
	}
	return out, nil
}

// run copies the mailboxes of the accounts and prints the report to out. It reports whether anything was changed.
func (m *migration) run(ctx context.Context, all []protocol.Account, db *sqlstore.Store, out, progress io.Writer) (changed bool, err error) {
	b := newBar(progress)
	var total migrate.Report
	var failed []error
	for _, a := range all {
		report, err := m.account(ctx, a, db, b.show)
		total.Same += report.Same
		total.Items = append(total.Items, report.Items...)
		failed = append(failed, err)
	}
	b.end()
	m.print(out, total)
	err = errors.Join(failed...)
	if !total.Equal() {
		err = errors.Join(err, errors.New("the stores are not the same: see the list above"))
	}
	return !m.DryRun && total.Count(migrate.Copied)+total.Count(migrate.Replaced)+total.Count(migrate.Removed) > 0, err
}

func (m *migration) account(ctx context.Context, a protocol.Account, db *sqlstore.Store, progress migrate.Progress) (migrate.Report, error) {
	s, end, err := accountFiles(a)
	if err != nil {
		return migrate.Report{}, err
	}
	job := migrate.Job{Account: a.Name, Domains: a.Domains, From: s, To: db}
	if m.to == "files" {
		job.From, job.To = db, s
	}
	report, err := migrate.All(ctx, []migrate.Job{job}, m.Options, progress)
	return report, errors.Join(err, end())
}

func (m *migration) print(out io.Writer, report migrate.Report) {
	did := "%d copied, %d existed already, %d differ"
	words := map[migrate.Outcome]string{
		migrate.Copied: "copied", migrate.Replaced: "replaced", migrate.Removed: "removed", migrate.Left: "differs, not changed",
		migrate.Refused: "could not be copied", migrate.Extra: "only at the destination", migrate.Changed: "changed meanwhile",
	}
	if m.DryRun {
		did = "%d would be copied, %d existed already, %d differ"
		words[migrate.Copied], words[migrate.Replaced], words[migrate.Removed] = "would be copied", "would be replaced", "would be removed"
		words[migrate.Left], words[migrate.Refused] = "differs, would not be changed", "can't be copied"
	}
	for _, i := range report.Items {
		// Names and reasons may contain text that the account wrote.
		_, _ = fmt.Fprintf(out, "%s: %s", words[i.Outcome], filesproc.Printable(i.Mailbox))
		if i.Reason != "" {
			_, _ = fmt.Fprintf(out, ": %s", filesproc.Printable(i.Reason))
		}
		_, _ = fmt.Fprintln(out)
	}
	_, _ = fmt.Fprintf(out, did, report.Count(migrate.Copied), report.Same, report.Count(migrate.Left))
	for _, o := range []migrate.Outcome{migrate.Replaced, migrate.Removed, migrate.Refused, migrate.Extra, migrate.Changed} {
		if n := report.Count(o); n > 0 {
			_, _ = fmt.Fprintf(out, ", %d %s", n, words[o])
		}
	}
	_, _ = fmt.Fprintln(out)
}

// bar draws a progress bar for the domain that is being copied. It draws nothing if the output is not a
// terminal.
type bar struct {
	out    io.Writer // Nil if the output is not a terminal.
	domain string
}

func newBar(out io.Writer) *bar {
	f, ok := out.(*os.File)
	if !ok {
		return &bar{}
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &bar{}
	}
	return &bar{out: out}
}

// show draws the bar; all is 0 while the domain is being read.
func (b *bar) show(domain string, done, all int) {
	if b.out == nil {
		return
	}
	if b.domain != domain {
		b.end()
		b.domain = domain
	}
	if all == 0 {
		_, _ = fmt.Fprintf(b.out, "\r%s: reading", domain)
		return
	}
	const width = 40
	full := min(width, width*done/all)
	_, _ = fmt.Fprintf(b.out, "\r%s [%s%s] %d of %d", domain, strings.Repeat("#", full), strings.Repeat(".", width-full), done, all)
}

func (b *bar) end() {
	if b.out != nil && b.domain != "" {
		_, _ = fmt.Fprintln(b.out)
		b.domain = ""
	}
}
