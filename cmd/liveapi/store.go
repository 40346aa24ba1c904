package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/admin/accounts"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/plugins/email"
	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/email/store/files"
	"github.com/liveapid/liveapid/plugins/email/store/migrate"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore"
	"github.com/liveapid/liveapid/protocol"
)

func storeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "store", Short: "Set up, check and fill the store of mailboxes in a database"}
	var path string
	cmd.PersistentFlags().StringVar(&path, "config", "", "the host's configuration")
	cmd.AddCommand(storeInitCommand(&path), storeCheckCommand(&path), storeMigrateCommand(&path))
	cmd.RunE = func(cmd *cobra.Command, words []string) error {
		if len(words) > 0 {
			return admin.Usage(fmt.Errorf("unknown command %q", "store "+words[0]))
		}
		return cmd.Help()
	}
	cmd.Args = cobra.ArbitraryArgs
	return cmd
}

// openDatabase opens the database in which the Email plugin stores the mailboxes. It returns an error if the
// configuration's store is files.
func openDatabase(path string) (*config.Config, *sqlstore.Store, error) {
	c, err := config.Find(path)
	if err != nil {
		return nil, nil, err
	}
	settings, err := emailSettings(c)
	if err != nil {
		return nil, nil, err
	}
	if settings.Store == email.FilesStore {
		return nil, nil, errors.New("the configured store is files, which needs no setup; to use a database, set store and database in [plugin.settings]")
	}
	db, err := sqlstore.Open(sqlstore.Driver(settings.Store), settings.Database, settings.Pool)
	return c, db, err
}

func storeInitCommand(path *string) *cobra.Command {
	return &cobra.Command{
		Use: "init", Short: "Create the missing tables", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, db, err := openDatabase(*path)
			if err != nil {
				return err
			}
			defer func() { _ = db.Close() }()
			made, err := db.Init(cmd.Context())
			for _, table := range made {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), "created", table)
			}
			if err == nil && len(made) == 0 {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), "all tables exist")
			}
			return err
		},
	}
}

func storeCheckCommand(path *string) *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Print the tables and columns that the database lacks", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, db, err := openDatabase(*path)
			if err != nil {
				return err
			}
			defer func() { _ = db.Close() }()
			lacks, without, err := db.Check(cmd.Context())
			if err != nil {
				return err
			}
			for _, table := range without {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), "missing, but not needed:", table)
			}
			if len(lacks) > 0 {
				return fmt.Errorf("the database lacks %s; liveapi store init creates missing tables, and does not change existing tables", strings.Join(lacks, ", "))
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "the database has all tables and columns")
			return err
		},
	}
}

func storeMigrateCommand(path *string) *cobra.Command {
	var from, to, user string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "migrate --from files --to sql | --from sql --to files [--user NAME] [--dry-run]",
		Short: "Copy mailboxes between the accounts' files and the database",
		Long: `Copies the mailboxes of all accounts, or of one, with their hashes, quotas and suspensions.
Mailboxes that already exist at the destination are not changed; the command lists those that
differ. Nothing is removed, and messages are not moved. To copy to files, run the command as the
account's user.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !(from == "files" && to == "sql" || from == "sql" && to == "files") {
				return admin.Usage(errors.New("--from and --to must be files and sql, or sql and files"))
			}
			c, db, err := openDatabase(*path)
			if err != nil {
				return err
			}
			defer func() { _ = db.Close() }()
			all, err := accounts.Chosen(c, user)
			if err != nil {
				return err
			}
			return copyMailboxes(cmd.Context(), all, db, to == "sql", dryRun, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "files or sql")
	cmd.Flags().StringVar(&to, "to", "", "files or sql")
	cmd.Flags().StringVar(&user, "user", "", "copy only this account (default: all)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the changes without making them")
	return cmd
}

// copyMailboxes copies the mailboxes of all accounts between their files and the database, and prints a
// report to out. toSQL selects the direction. With dryRun nothing is written.
func copyMailboxes(ctx context.Context, all []protocol.Account, db *sqlstore.Store, toSQL, dryRun bool, out, progress io.Writer) error {
	var jobs []migrate.Job
	for _, a := range all {
		var from, to migrate.Store = files.NewFor(a.Home, a.UID, a.GID), db
		if !toSQL {
			if os.Geteuid() != a.UID {
				return fmt.Errorf("account %s: run the command as the account's user (uid %d), not as uid %d", a.Name, a.UID, os.Geteuid())
			}
			from, to = to, from
		}
		jobs = append(jobs, migrate.Job{Account: a.Name, Domains: a.Domains, From: from, To: to})
	}
	var b *bar
	report, err := migrate.All(ctx, jobs, dryRun, func(domain string, done, all int) {
		if b == nil || b.domain != domain {
			b.end()
			b = newBar(progress, domain)
		}
		b.show(done, all)
	})
	b.end()
	for _, d := range report.Differ {
		_, _ = fmt.Fprintln(out, "differs, not changed:", d)
	}
	for _, r := range report.Refused {
		_, _ = fmt.Fprintln(out, "could not be copied:", r)
	}
	verb := "copied"
	if dryRun {
		verb = "would be copied"
	}
	_, _ = fmt.Fprintf(out, "%d %s, %d existed already, %d differ\n", report.Copied, verb, report.Same, len(report.Differ))
	if n := len(report.Refused); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d mailboxes could not be copied", n))
	}
	return err
}

// bar draws a progress bar for the domain that is being copied. It draws nothing if the output is not a
// terminal.
type bar struct {
	out    io.Writer
	domain string
	shown  bool
}

func newBar(out io.Writer, domain string) *bar {
	f, ok := out.(*os.File)
	if !ok {
		return &bar{domain: domain}
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &bar{domain: domain}
	}
	return &bar{out: out, domain: domain}
}

func (b *bar) show(done, all int) {
	if b.out == nil || all == 0 {
		return
	}
	const width = 40
	full := width * done / all
	_, _ = fmt.Fprintf(b.out, "\r%s [%s%s] %d of %d", b.domain, strings.Repeat("#", full), strings.Repeat(".", width-full), done, all)
	b.shown = true
}

func (b *bar) end() {
	if b != nil && b.shown {
		_, _ = fmt.Fprintln(b.out)
	}
}

var _ migrate.Store = (store.Store)(nil)
