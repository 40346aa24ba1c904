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
	"syscall"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/admin/accounts"
	"github.com/liveapid/liveapid/host/admin/dovecot"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/daemon"
	"github.com/liveapid/liveapid/plugins/email"
	"github.com/liveapid/liveapid/plugins/email/mailconf"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore"
	"github.com/liveapid/liveapid/protocol"
)

// emailSettings returns the settings of the Email plugin from the configuration.
func emailSettings(c *config.Config) (email.Settings, error) {
	for _, p := range c.Plugins {
		if filepath.Base(p.Path) == "liveapi-email" {
			return email.ParseSettings(p.Settings)
		}
	}
	return email.Settings{}, errNoEmail
}

var errNoEmail = errors.New("the configuration has no plugin liveapi-email")

// mailFlags are the options of the commands "liveapi dovecot" and "liveapi postfix".
type mailFlags struct {
	config, write, mail, owner, version string
	options                             mailconf.Options
}

func (f *mailFlags) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", "", "the host's configuration")
	cmd.Flags().StringVar(&f.write, "write", "", "write the files into this directory; only their owner can read files with a password")
}

func dovecotCommand() *cobra.Command {
	var f mailFlags
	cmd := &cobra.Command{
		Use:   "dovecot [--for 2.3|2.4] [--sieve] [--write DIR]",
		Short: "Print a Dovecot configuration for the mailboxes",
		Long: `Prints a configuration for the installed Dovecot, version 2.3 or 2.4: logins of mailboxes, their
quotas, compressed mail, and no delivery to suspended mailboxes. With --sieve, mailboxes have Sieve
scripts. If the plugin's setting doveadm is set, Dovecot caches look-ups: the host tells it of changes.
With a store in a database, there are several files, those with the database's password apart. Printed
files have the password masked; --write writes complete files.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if f.options.Version, err = dovecotVersion(cmd.Context(), f.version); err != nil {
				return err
			}
			return f.run(cmd.OutOrStdout(), writers{mailconf.Files.Dovecot, mailconf.SQL.Dovecot, mailconf.Many.Dovecot})
		},
	}
	f.addTo(cmd)
	cmd.Flags().StringVar(&f.version, "for", "", "the version of Dovecot, 2.3 or 2.4; without it the installed Dovecot is asked")
	cmd.Flags().BoolVar(&f.options.Sieve, "sieve", false, "serve Sieve scripts and ManageSieve; needs Dovecot's Pigeonhole")
	cmd.Flags().StringVar(&f.mail, "mail", "/var/vmail", "for a database: the directory of the mail")
	cmd.Flags().StringVar(&f.owner, "owner", "vmail", "for a database: the user that owns the mail")
	cmd.Flags().StringVar(&f.options.Queue, "queue", "/var/spool/postfix", "Postfix's queue directory, for the sockets between Dovecot and Postfix; \"\" for no sockets")
	return cmd
}

// dovecotVersion returns the version of Dovecot for which a configuration is generated: the version in given, or the
// version of the installed Dovecot.
func dovecotVersion(ctx context.Context, given string) (mailconf.Version, error) {
	series, from := given, "--for"
	if given == "" {
		var err error
		series, err = dovecot.Version(ctx)
		if errors.Is(err, dovecot.ErrMissing) {
			return "", admin.Usage(errors.New("Dovecot is not installed here: say for which version the configuration is, with --for 2.3 or --for 2.4"))
		}
		if err != nil {
			return "", err
		}
		from = "the installed Dovecot"
	}
	switch v := mailconf.Version(series); v {
	case mailconf.Dovecot23, mailconf.Dovecot24:
		return v, nil
	}
	return "", admin.Usage(fmt.Errorf("%s: there is no configuration for the version %.20q, only for 2.3 and 2.4; choose the nearer one with --for", from, series))
}

func postfixCommand() *cobra.Command {
	var f mailFlags
	cmd := &cobra.Command{
		Use:   "postfix [--write DIR]",
		Short: "Print a Postfix configuration for the mailboxes",
		Long: `Prints lines for Postfix's main.cf: the domains, delivery through Dovecot's LMTP, and logins
through Dovecot. With a store in a database, there are several files, some of them with the
database's password. Printed files have the password masked; --write writes complete files.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.OutOrStdout(), writers{mailconf.Files.Postfix, mailconf.SQL.Postfix, mailconf.Many.Postfix})
		},
	}
	f.addTo(cmd)
	cmd.AddCommand(agentCommand())
	return cmd
}

// writers contains the functions that generate the configuration of a mail program (Dovecot or Postfix).
// ofFiles is for mailboxes in files in personal mode, ofMany for mailboxes in files in server mode, and ofSQL
// for mailboxes in a database.
type writers struct {
	ofFiles func(mailconf.Files) ([]mailconf.File, error)
	ofSQL   func(mailconf.SQL) ([]mailconf.File, error)
	ofMany  func(mailconf.Many) ([]mailconf.File, error)
}

// run generates the configuration of a mail program for the store that the host's configuration selects. With
// --write it writes the files, otherwise it prints them.
func (f *mailFlags) run(out io.Writer, w writers) error {
	c, err := config.Find(f.config)
	if err != nil {
		return err
	}
	settings, err := emailSettings(c)
	if err != nil {
		return err
	}
	dir := "/etc/liveapid/mail"
	if f.write != "" {
		if dir, err = filepath.Abs(f.write); err != nil {
			return err
		}
	}
	if f.options.Version != "" { // For Dovecot, not for Postfix.
		if err := f.tellDovecot(c, settings); err != nil {
			return err
		}
	}
	var files []mailconf.File
	switch {
	case settings.Store != email.FilesStore:
		files, err = f.forSQL(settings, dir, w)
	case c.Mode == config.Server:
		files, err = f.forMany(c, dir, w)
	default:
		files, err = f.forFiles(c, dir, w)
	}
	if err != nil {
		return err
	}
	if f.write != "" {
		return writeFiles(out, dir, files)
	}
	return printFiles(out, files)
}

// tellDovecot sets the options for a Dovecot that is told of changes.
func (f *mailFlags) tellDovecot(c *config.Config, settings email.Settings) error {
	f.options.Cache = settings.Doveadm != ""
	if !filepath.IsAbs(settings.Doveadm) {
		if f.options.Cache && f.options.Version == mailconf.Dovecot24 {
			return errors.New("the plugin's setting doveadm is an address, but the HTTP API of Dovecot 2.4 can't be told of changes: set it to the path of a socket, such as /run/dovecot/liveapi")
		}
		return nil
	}
	teller := strconv.Itoa(os.Geteuid())
	if c.Mode == config.Server {
		teller = c.Helper
	} else if account, err := personalAccount(c); err == nil {
		teller = strconv.Itoa(account.UID)
	}
	user, err := lookUpUser(teller)
	if err != nil {
		return fmt.Errorf("look up the user that tells Dovecot of changes: %w", err)
	}
	f.options.Doveadm, f.options.DoveadmUser = settings.Doveadm, user.Username
	return nil
}

// lookUpUser returns the system user with a name or with a uid.
func lookUpUser(name string) (*user.User, error) {
	if u, err := user.Lookup(name); err == nil {
		return u, nil
	}
	return user.LookupId(name)
}

func (f *mailFlags) forMany(c *config.Config, dir string, w writers) ([]mailconf.File, error) {
	if c.DovecotSocket == "" {
		return nil, errors.New(`the configuration key mail_door is not set: in server mode with the store files, Dovecot asks the host through this socket; set mail_door = "/run/liveapid/mail.sock" and restart the host`)
	}
	many := mailconf.Many{Options: f.options, Socket: c.DovecotSocket, Dir: dir}
	all, broken := accounts.All(c)
	for _, a := range all {
		many.Domains = append(many.Domains, a.Domains...)
	}
	files, err := w.ofMany(many)
	if err != nil {
		return nil, errors.Join(append(broken, err)...)
	}
	return files, nil
}

func (f *mailFlags) forFiles(c *config.Config, dir string, w writers) ([]mailconf.File, error) {
	account, err := personalAccount(c)
	if err != nil {
		return nil, err
	}
	owner, err := user.LookupId(strconv.Itoa(account.UID))
	if err != nil {
		return nil, fmt.Errorf("look up the account's system user for Dovecot's configuration: %w", err)
	}
	return w.ofFiles(mailconf.Files{
		Options: f.options, Dir: dir, Account: account.Name, Home: account.Home, User: owner.Username, UID: account.UID, GID: account.GID, Domains: account.Domains,
	})
}

// personalAccount returns the account of a host in personal mode. If root runs the command, it returns the uid and gid
// of the owner of the account's home, because that user runs the host.
func personalAccount(c *config.Config) (protocol.Account, error) {
	account, err := daemon.Account(c)
	if err != nil || account.UID != 0 {
		return account, err
	}
	info, err := os.Stat(account.Home)
	if err != nil {
		return account, fmt.Errorf("the account's home: %w", err)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		account.UID, account.GID = int(owner.Uid), int(owner.Gid)
	}
	return account, nil
}

func (f *mailFlags) forSQL(settings email.Settings, dir string, w writers) ([]mailconf.File, error) {
	owner := &user.User{}
	if f.owner != "" {
		var err error
		if owner, err = user.Lookup(f.owner); err != nil {
			return nil, admin.Usage(fmt.Errorf("--owner: %w", err))
		}
	}
	uid, _ := strconv.Atoi(owner.Uid) // On Linux, both ids are numbers. Without --owner both are empty, which gives 0.
	gid, _ := strconv.Atoi(owner.Gid)
	return w.ofSQL(mailconf.SQL{
		Options: f.options, Driver: sqlstore.Driver(settings.Store), Database: settings.Database, Dir: dir, Mail: f.mail, Owner: owner.Username, UID: uid, GID: gid,
		Mask: f.write == "",
	})
}

func printFiles(out io.Writer, files []mailconf.File) error {
	for _, file := range files {
		text := file.Text
		if len(files) > 1 {
			text = "# --- " + file.Name + "\n" + text
		}
		if _, err := io.WriteString(out, text); err != nil {
			return err
		}
	}
	return nil
}

func writeFiles(out io.Writer, dir string, files []mailconf.File) error {
	if err := os.Mkdir(dir, 0o755); err == nil {
		// Dovecot's processes need to enter it, whatever the umask is.
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, file := range files {
		mode := os.FileMode(0o644)
		if file.Secret {
			mode = 0o600
		}
		path := filepath.Join(dir, file.Name)
		// An existing file is removed first. Otherwise the password would be readable for a moment if the old
		// file's mode gave access to other users.
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.WriteFile(path, []byte(file.Text), mode); err != nil {
			return err
		}
		if file.Group != "" && os.Geteuid() == 0 {
			group, err := user.LookupGroup(file.Group)
			if err != nil {
				return fmt.Errorf("%s: can't give the group %s access: %w", path, file.Group, err)
			}
			gid, _ := strconv.Atoi(group.Gid) // On Linux, the id is a number.
			if err := os.Chown(path, 0, gid); err != nil {
				return err
			}
			mode = 0o640
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, path); err != nil {
			return err
		}
	}
	return nil
}
