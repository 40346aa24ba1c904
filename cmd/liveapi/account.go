package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/admin/accounts"
	"github.com/liveapid/liveapid/host/admin/cpmove"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/plugins/email/store/files"
)

func accountCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "account", Short: "Manage accounts", Args: cobra.ArbitraryArgs}
	cmd.RunE = func(cmd *cobra.Command, words []string) error {
		if len(words) > 0 {
			return admin.Usage(fmt.Errorf("unknown command %q", "account "+words[0]))
		}
		return cmd.Help()
	}
	cmd.AddCommand(importCommand(), createCommand(), listAccountsCommand(), showCommand(), suspendCommand(), unsuspendCommand(), deleteCommand(), checkAccountsCommand())
	return cmd
}

// importOptions are the values of the command-line options of "liveapi account import".
type importOptions struct {
	config, name, home, users string
	dryRun                    bool
	limits                    cpmove.Limits
}

func importCommand() *cobra.Command {
	o := importOptions{limits: cpmove.DefaultLimits}
	cmd := &cobra.Command{
		Use:   "import PATH",
		Short: "Register an account from a cPanel home or archive, with its mailboxes and passwords",
		Long: `PATH is a home directory with etc and mail, or an archive cpmove-NAME.tar.gz. A home is registered
in place. Of an archive, etc and mail are unpacked into the account's home first. The domains come
from the users file (cp/NAME in the archive, or /var/cpanel/users/NAME) and from etc. In server
mode the system user NAME must exist. Archives with links, devices or names outside the archive are
rejected before anything is written.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, words []string) error {
			info, err := os.Stat(words[0])
			if err != nil {
				return err
			}
			if info.IsDir() {
				return o.fromHome(cmd.Context(), words[0], cmd.OutOrStdout())
			}
			return o.fromArchive(cmd.Context(), words[0], cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&o.config, "config", "", "the host's configuration")
	cmd.Flags().StringVar(&o.name, "name", "", "the account's name (default: the name of the directory or archive)")
	cmd.Flags().StringVar(&o.home, "home", "", "for an archive: the home to unpack into (default: the system user's home)")
	cmd.Flags().StringVar(&o.users, "users-file", "", "for a home: its users file (default: /var/cpanel/users/NAME, if it exists)")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "print the changes without making them")
	cmd.Flags().Int64Var(&o.limits.Bytes, "max-bytes", o.limits.Bytes, "reject archives with more unpacked bytes")
	return cmd
}

// owner is the system user that owns an account's files.
type owner struct {
	uid, gid int
	home     string
}

// ownerOf returns the owner of an account's files: in server mode the system user called name, otherwise the
// user that runs this command. home is set only in server mode.
func ownerOf(c *config.Config, name string) (owner, error) {
	if c.Mode != config.Server {
		return owner{uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return owner{}, fmt.Errorf("look up the system user %s (create the user before the account): %w", name, err)
	}
	uid, _ := strconv.Atoi(u.Uid) // On Linux, both ids are numbers.
	gid, _ := strconv.Atoi(u.Gid)
	return owner{uid: uid, gid: gid, home: u.HomeDir}, nil
}

func (o *importOptions) accounts() (*config.Config, error) {
	c, err := config.Find(o.config)
	if err == nil && c.Accounts == "" {
		err = errors.New("the configuration key accounts, the directory of the account files, is not set")
	}
	return c, err
}

func (o *importOptions) fromHome(ctx context.Context, path string, out io.Writer) error {
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
	own, err := ownerOf(c, o.name)
	if err != nil {
		return err
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
	found, err := cpmove.DomainsOfHome(home)
	if err != nil {
		return err
	}
	a.AddFound(found)
	if err := a.AddSites(func(name string) ([]byte, error) {
		return os.ReadFile(filepath.Join("/var/cpanel/userdata", filepath.Base(o.name), filepath.Base(name)))
	}); err != nil {
		_, _ = fmt.Fprintf(out, "the document roots are not imported: %v\n", err)
	}
	registry, f, err := registration(c, a, home)
	if err != nil {
		return err
	}
	if err := report(ctx, out, a, home, own, o.dryRun); err != nil || o.dryRun {
		return err
	}
	return register(out, registry, a, f)
}

func (o *importOptions) fromArchive(ctx context.Context, path string, out io.Writer) error {
	c, err := o.accounts()
	if err != nil {
		return err
	}
	plan, err := cpmove.Look(path, o.limits)
	if err != nil {
		return err
	}
	if o.name != "" {
		plan.Account.Name = o.name
	}
	own, err := ownerOf(c, plan.Account.Name)
	if err != nil {
		return err
	}
	home := o.home
	if home == "" {
		home = own.home
	}
	if home == "" {
		return admin.Usage(errors.New("--home is missing: name the home directory into which the archive is unpacked"))
	}
	if home, err = filepath.Abs(home); err != nil {
		return err
	}
	registry, file, err := registration(c, plan.Account, home)
	if err != nil {
		return err
	}
	for _, name := range plan.Skipped {
		_, _ = fmt.Fprintln(out, "not imported: the link", name)
	}
	for _, note := range plan.Notes {
		_, _ = fmt.Fprintln(out, note)
	}
	_, _ = fmt.Fprintf(out, "%d files of %d bytes\n", plan.Files, plan.Bytes)
	if o.dryRun {
		_, err := fmt.Fprintf(out, "would unpack them into %s and register the account %s with the domains %v\n", home, plan.Account.Name, plan.Account.Domains)
		return err
	}
	if c.Mode != config.Server {
		if err := os.MkdirAll(home, 0o755); err != nil {
			return err
		}
	}
	if err := cpmove.Unpack(path, o.limits, plan, home, own.uid, own.gid); err != nil {
		return err
	}
	if err := report(ctx, out, plan.Account, home, own, false); err != nil {
		return err
	}
	return register(out, registry, plan.Account, file)
}

// report prints the number of mailboxes of each domain, and whether the account is suspended. With dryRun, it
// also prints what would be registered.
func report(ctx context.Context, out io.Writer, a cpmove.Account, home string, own owner, dryRun bool) error {
	s := files.NewFor(home, own.uid, own.gid)
	for _, domain := range a.Domains {
		list, err := s.List(ctx, domain)
		if err != nil {
			return fmt.Errorf("domain %s: %w", domain, err)
		}
		_, _ = fmt.Fprintf(out, "%s: %d mailboxes\n", domain, len(list))
	}
	if a.Suspended {
		_, _ = fmt.Fprintln(out, "the account is suspended; the logins of its mailboxes stay suspended")
	}
	if dryRun {
		_, err := fmt.Fprintf(out, "would register the account %s with the home %s\n", a.Name, home)
		return err
	}
	return nil
}

// registration validates an imported account and returns the registry and the account file to register in it.
// It writes nothing.
func registration(c *config.Config, a cpmove.Account, home string) (r account.Registry, f account.File, err error) {
	if r, err = accounts.Registry(c); err != nil {
		return r, f, err
	}
	if f, err = accounts.FileFor(c, a.Name, home); err != nil {
		return r, f, err
	}
	if len(a.Domains) == 0 {
		return r, f, errors.New("the account has no domain: neither the users file nor the directory etc in the archive contains one")
	}
	f.Domains, f.Data, f.Lacks, f.Sites = a.Domains, a.Data, a.Lacks, account.FileSites(a.Sites)
	f, err = r.Check(a.Name, f)
	return r, f, err
}

func register(out io.Writer, r account.Registry, a cpmove.Account, f account.File) error {
	path, err := r.Register(a.Name, f, "Account "+a.Name+", imported.")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "registered %s: %s\n", a.Name, path)
	return err
}
