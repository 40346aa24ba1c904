package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/admin/accounts"
	"github.com/liveapid/liveapid/host/admin/cpmove"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/plugins/email/password"
	"github.com/liveapid/liveapid/plugins/email/store/files"
	"github.com/liveapid/liveapid/plugins/email/store/filesproc"
	"github.com/liveapid/liveapid/protocol"
)

// importOptions are the values of the command-line options of "liveapi account import".
type importOptions struct {
	config, name, home, users     string
	dryRun, json                  bool
	withoutHome, withoutMailboxes bool
	limits                        cpmove.Limits
	out                           io.Writer
}

func importCommand() *cobra.Command {
	o := importOptions{limits: cpmove.DefaultLimits}
	cmd := &cobra.Command{
		Use:   "import PATH",
		Short: "Register an account from a cPanel home or archive, with its mailboxes and passwords",
		Long: `PATH is a home directory with etc and mail, or an archive: cpmove-NAME, backup-DATE_TIME_NAME or NAME,
as .tar, .tar.gz, .tar.bz2 or .tar.zst. A home is registered in place. Of an archive, etc and mail are
unpacked into the account's home first; nothing else in the archive matters. The domains come from the
users file (cp/NAME in the archive, or /var/cpanel/users/NAME) and from etc. In server mode the system
user NAME must exist. Archives with links, devices or names that lead out of etc and mail are rejected
before anything is written. --dry-run prints what would be imported, mailbox by mailbox.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, words []string) error {
			// An import that is interrupted removes the files that it has written.
			ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
			defer stop()
			o.out = cmd.OutOrStdout()
			info, err := os.Stat(words[0])
			if err != nil {
				return err
			}
			if info.IsDir() {
				err = o.fromHome(ctx, words[0])
			} else {
				err = o.fromArchive(ctx, words[0])
			}
			if errors.Is(err, context.Canceled) {
				return errors.New("the import was interrupted, and everything that it had written was removed")
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "the host's configuration")
	f.StringVar(&o.name, "name", "", "the account's name (default: the name of the directory, or the name in the archive)")
	f.StringVar(&o.home, "home", "", "for an archive: the home to unpack into (default: the system user's home)")
	f.StringVar(&o.users, "users-file", "", "for a home: its users file (default: /var/cpanel/users/NAME, if it exists)")
	f.BoolVar(&o.dryRun, "dry-run", false, "print the changes without making them")
	f.BoolVar(&o.json, "json", false, "print the report as JSON")
	f.BoolVar(&o.withoutHome, "without-home", false, "for an archive without a home directory: register the account alone")
	f.BoolVar(&o.withoutMailboxes, "without-mailboxes", false, "register the account although no mailbox was found where some were expected")
	f.Int64Var(&o.limits.Bytes, "max-bytes", o.limits.Bytes, "reject archives with more bytes in etc and mail")
	f.Int64Var(&o.limits.Ratio, "max-ratio", o.limits.Ratio, "reject archives in which etc and mail are more than this many times as large as the archive")
	return cmd
}

func (o *importOptions) accounts() (*config.Config, error) {
	if o.limits.Bytes < 1 || o.limits.Ratio < 1 {
		return nil, admin.Usage(errors.New("--max-bytes and --max-ratio must be 1 or more"))
	}
	c, err := config.Find(o.config)
	if err == nil && c.Accounts == "" {
		err = errors.New("the configuration key accounts, the directory of the account files, is not set")
	}
	return c, err
}

// importing is an import that was checked, with the account that it will register.
type importing struct {
	registry account.Registry
	account  cpmove.Account
	file     account.File
	report   *importReport
}

// check validates the account to import. It writes nothing.
func (o *importOptions) check(c *config.Config, a cpmove.Account, home string) (i importing, err error) {
	i.account = a
	if i.registry, err = accounts.Registry(c); err != nil {
		return i, err
	}
	if i.file, err = accounts.FileFor(c, a.Name, home); err != nil {
		return i, err
	}
	if len(a.Domains) == 0 {
		return i, errors.New("the account has no domain: neither the users file nor the directory etc contains one")
	}
	i.file.Domains, i.file.Data, i.file.Lacks, i.file.Sites = a.Domains, a.Data, a.Lacks, account.FileSites(a.Sites)
	i.file.Suspended = a.Suspended
	i.file, err = i.registry.Check(a.Name, i.file)
	i.report = &importReport{
		Account: a.Name, Home: i.file.Home, Domains: a.Domains, Suspended: a.Suspended, DryRun: o.dryRun, verifier: password.NewVerifier(),
	}
	return i, err
}

// owner returns the account as the owner of its files. In personal mode, all files belong to the running user.
func (i importing) owner() protocol.Account {
	a := protocol.Account{Name: i.account.Name, Home: i.file.Home, UID: os.Geteuid(), GID: os.Getegid()}
	if i.file.UID != nil && i.file.GID != nil {
		a.UID, a.GID = *i.file.UID, *i.file.GID
	}
	return a
}

// register writes the account's file and prints the report.
func (o *importOptions) register(i importing) (err error) {
	if i.report.Registered, err = i.registry.Register(i.account.Name, i.file, "Account "+i.account.Name+", imported."); err != nil {
		return err
	}
	return i.report.print(o.out, o.json)
}

func (o *importOptions) fromHome(ctx context.Context, path string) error {
	c, err := o.accounts()
	if err != nil {
		return err
	}
	home, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if o.name == "" {
		o.name = filepath.Base(home)
	}
	a := cpmove.Account{Name: o.name}
	usersFile := o.users
	if usersFile == "" {
		usersFile = filepath.Join("/var/cpanel/users", filepath.Base(o.name))
	}
	if f, err := os.Open(usersFile); err == nil {
		a, err = cpmove.ParseUsers(o.name, f)
		_ = f.Close()
		if err != nil {
			return err
		}
	} else if o.users != "" {
		return err
	}
	found, odd, err := cpmove.DomainsOfHome(home)
	if err != nil {
		return err
	}
	a.AddFound(found)
	siteErr := a.AddSites(func(name string) ([]byte, error) {
		return os.ReadFile(filepath.Join("/var/cpanel/userdata", filepath.Base(o.name), filepath.Base(name)))
	})
	i, err := o.check(c, a, home)
	if err != nil {
		return err
	}
	if siteErr != nil {
		i.report.Notes = append(i.report.Notes, "the document roots are not imported: "+siteErr.Error())
	}
	i.report.addOddDomains(odd)
	if err := i.addFiles(ctx, o.dryRun); err != nil {
		return err
	}
	if o.dryRun {
		return i.report.print(o.out, o.json)
	}
	return o.register(i)
}

// addFiles adds the mailboxes in the account's home to the report. Unless dryRun is set, it writes their limits to
// where the mail server reads them.
func (i importing) addFiles(ctx context.Context, dryRun bool) (err error) {
	s, end, err := accountFiles(i.owner())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	for _, domain := range i.account.Domains {
		entries, odd, err := s.Entries(ctx, domain)
		if err != nil {
			return fmt.Errorf("domain %s: %w", domain, err)
		}
		formats, err := s.Formats(ctx, domain)
		if err != nil {
			return fmt.Errorf("domain %s: %w", domain, err)
		}
		i.report.add(domain, entries, odd, func(localpart string) *cpmove.Mail {
			return &cpmove.Mail{Format: formats[localpart], Messages: -1}
		})
		if dryRun {
			continue
		}
		if err := s.EnforceQuotas(ctx, domain); err != nil {
			i.report.Notes = append(i.report.Notes, fmt.Sprintf("domain %s: not all quotas are enforced yet: %v", domain, err))
		}
	}
	return nil
}

func (o *importOptions) fromArchive(ctx context.Context, path string) error {
	c, err := o.accounts()
	if err != nil {
		return err
	}
	plan, err := cpmove.Look(ctx, path, o.name, o.limits)
	if err != nil {
		return err
	}
	if o.withoutHome {
		plan.LeaveForwarders()
	}
	home := o.home
	if home == "" && c.Mode != config.Server {
		return admin.Usage(errors.New("--home is missing: name the home directory into which the archive is unpacked"))
	}
	i, err := o.check(c, plan.Account, home)
	if err != nil {
		return err
	}
	switch {
	case plan.HasHome && o.withoutHome:
		return errors.New("the archive contains a home directory: import it without --without-home")
	case !plan.HasHome && !o.withoutHome:
		return errors.New("the archive contains no home directory, so there are no mailboxes and no mail in it: make the archive with the home directory, or register the account alone with --without-home")
	}
	if err := i.report.addPlan(plan); err != nil {
		return err
	}
	if err := o.expectMailboxes(plan, i.report); err != nil {
		return err
	}
	if !o.withoutHome {
		if err := cpmove.CheckEmpty(i.file.Home); err != nil {
			return err
		}
	}
	switch {
	case o.dryRun:
		return i.report.print(o.out, o.json)
	case o.withoutHome:
		return o.register(i)
	}
	return o.unpack(ctx, c, path, plan, i)
}

// expectMailboxes returns an error if the archive has no mailbox, but should have some.
func (o *importOptions) expectMailboxes(plan cpmove.Plan, report *importReport) error {
	listed := len(report.NotTaken) > 0
	for _, text := range plan.Lists {
		listed = listed || len(text) > 0
	}
	if len(report.Mailboxes) > 0 || o.withoutMailboxes || o.withoutHome || plan.HasMail && !plan.HasMessages && !listed {
		return nil
	}
	reason := "its home directory has neither etc nor mail"
	if plan.HasMail {
		reason = "it has mail, or files with mailboxes, but no valid mailbox in a file etc/DOMAIN/shadow or passwd"
	}
	for _, odd := range report.NotTaken[:min(5, len(report.NotTaken))] {
		reason += fmt.Sprintf("; %s: %s", filesproc.Printable(odd.Name), filesproc.Printable(odd.Reason))
	}
	return fmt.Errorf("no mailbox was found in the archive: %s. To register the account nevertheless, pass --without-mailboxes", reason)
}

// unpack extracts the archive into the account's home, with the limits of its mailboxes, and registers the account.
func (o *importOptions) unpack(ctx context.Context, c *config.Config, path string, plan cpmove.Plan, i importing) error {
	if c.Mode != config.Server {
		if err := os.MkdirAll(i.file.Home, 0o755); err != nil {
			return err
		}
	}
	own := i.owner()
	return cpmove.Unpack(ctx, path, o.limits, plan, i.file.Home, own.UID, own.GID, func(dir string) error {
		s := files.NewFor(dir, own.UID, own.GID)
		for _, domain := range i.account.Domains {
			if err := s.EnforceQuotas(ctx, domain); err != nil {
				return fmt.Errorf("domain %s: write the limits of mailboxes: %w", domain, err)
			}
		}
		return nil
	}, func() error { return o.register(i) })
}
