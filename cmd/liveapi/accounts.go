package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/atomicfile"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/daemon"
	"github.com/liveapid/liveapid/host/front/control"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/host/identity/token"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/protocol"
)

// accountTool is a command on accounts: it has their configuration.
func accountTool(use, short string, words cobra.PositionalArgs, do func(c *config.Config, words []string, out io.Writer) error) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: args(words),
		RunE: func(cmd *cobra.Command, words []string) error {
			c, err := config.Find(path)
			if err == nil && c.Path() == "" {
				err = errors.New("there is no configuration: name one with --config")
			}
			if err != nil {
				return err
			}
			return do(c, words, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the host's configuration")
	return cmd
}

func createCommand() *cobra.Command {
	var domains []string
	var home string
	cmd := accountTool("create NAME --domain DOMAIN", "Register a system user as an account", cobra.ExactArgs(1),
		func(c *config.Config, words []string, out io.Writer) error {
			return createAccount(c, words[0], home, domains, out)
		})
	cmd.Flags().StringArrayVar(&domains, "domain", nil, "a domain of the account, the main one first; may be repeated")
	cmd.Flags().StringVar(&home, "home", "", "its home; default: the system user's")
	return cmd
}

// createAccount registers a system user, whose uid, gid and home are written down: what the
// account is then does not change with the system's users.
func createAccount(c *config.Config, name, home string, domains []string, out io.Writer) error {
	registry, err := registryOf(c)
	if err != nil {
		return err
	}
	if !account.ValidName(name) {
		return errMisuse{fmt.Errorf("%.60q is no account's name: letters, digits, _, - and ., at most 64", name)}
	}
	if len(domains) == 0 {
		return errMisuse{errors.New("--domain: name the account's domain")}
	}
	for _, domain := range domains {
		if _, err := account.ParseDomain(domain); err != nil {
			return errMisuse{fmt.Errorf("--domain: %w", err)}
		}
	}
	f, err := fileFor(c, name, home)
	if err != nil {
		return err
	}
	f.Domains = domains
	path, err := registry.Register(name, f, "Account "+name+".")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "registered %s: %s\n", name, path)
	return err
}

// registryOf returns where a configuration's accounts are registered.
func registryOf(c *config.Config) (account.Registry, error) {
	r := account.Registry{Dir: c.Accounts}
	if c.Accounts == "" {
		return r, errors.New("the configuration names no directory accounts to register in")
	}
	if c.Mode != config.Server {
		return r, nil
	}
	r.Sources = daemon.Sources(c)
	r.Credential = func(a protocol.Account) error {
		_, err := isolate.Credential(a)
		return err
	}
	if c.Control == "" {
		return r, nil
	}
	r.Served = func(domains []string) (map[string]string, error) {
		owners, err := control.Owners(context.Background(), c.Control, domains)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
			return nil, nil // No host runs.
		}
		return owners, err
	}
	return r, nil
}

// fileFor returns an account's file without domains: in server mode with the system user's ids and home.
func fileFor(c *config.Config, name, home string) (account.File, error) {
	var f account.File
	if c.Mode == config.Server {
		u, err := account.SystemUser(name)
		if err != nil {
			return f, fmt.Errorf("the system user %s must exist first: %w", name, err)
		}
		f.UID, f.GID, f.Home = &u.UID, &u.GID, u.Home
	}
	if home != "" {
		abs, err := filepath.Abs(home)
		if err != nil {
			return f, err
		}
		f.Home = abs
	}
	if f.Home == "" {
		return f, errMisuse{errors.New("--home: name the account's home")}
	}
	return f, nil
}

// readAccounts returns all accounts of a configuration, suspended ones too, and what is broken.
func readAccounts(c *config.Config) (all []protocol.Account, broken []error) {
	if c.Mode == config.Personal {
		a, err := daemon.Account(c)
		if err != nil {
			return nil, []error{err}
		}
		return []protocol.Account{a}, nil
	}
	d := account.NewDirectory(daemon.Sources(c))
	_, broken = d.Reload()
	for _, name := range d.Names() {
		if a, err := d.ByName(name); err == nil || errors.Is(err, account.ErrSuspended) {
			all = append(all, a)
		}
	}
	return all, broken
}

func listAccountsCommand() *cobra.Command {
	return accountTool("list", "List the accounts", cobra.NoArgs, func(c *config.Config, _ []string, out io.Writer) error {
		all, broken := readAccounts(c)
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(table, "NAME\tUID\tSTATE\tDOMAINS\tHOME")
		for _, a := range all {
			_, _ = fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\n", a.Name, a.UID, stateOf(a), strings.Join(a.Domains, " "), a.Home)
		}
		return errors.Join(append(broken, table.Flush())...)
	})
}

func stateOf(a protocol.Account) string {
	if a.Suspended {
		return "suspended"
	}
	return "active"
}

func showCommand() *cobra.Command {
	return accountTool("show NAME", "Show an account", cobra.ExactArgs(1), func(c *config.Config, words []string, out io.Writer) error {
		a, err := findAccount(c, words[0])
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "name      %s\nstate     %s\nuid, gid  %d, %d\nhome      %s\ndomains   %s\n",
			a.Name, stateOf(a), a.UID, a.GID, a.Home, strings.Join(a.Domains, " "))
		features := "all"
		if a.Features != nil {
			features = strings.Join(a.Features, " ")
		}
		_, _ = fmt.Fprintf(out, "features  %s\n", features)
		keys := make([]string, 0, len(a.Data))
		for key := range a.Data {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for _, key := range keys {
			_, _ = fmt.Fprintf(out, "data      %s=%s\n", key, a.Data[key])
		}
		return nil
	})
}

func findAccount(c *config.Config, name string) (protocol.Account, error) {
	all, broken := readAccounts(c)
	for _, a := range all {
		if a.Name == name {
			return a, nil
		}
	}
	return protocol.Account{}, errors.Join(append([]error{fmt.Errorf("there is no account %.60q", name)}, broken...)...)
}

func suspendCommand() *cobra.Command {
	return accountTool("suspend NAME", "Refuse an account's calls, and end its sessions", cobra.ExactArgs(1),
		func(c *config.Config, words []string, out io.Writer) error {
			return setSuspended(c, words[0], true, out)
		})
}

func unsuspendCommand() *cobra.Command {
	return accountTool("unsuspend NAME", "Take an account's calls again", cobra.ExactArgs(1),
		func(c *config.Config, words []string, out io.Writer) error {
			return setSuspended(c, words[0], false, out)
		})
}

// ownFile returns the path of an account's file, or says that the account has none here.
func ownFile(c *config.Config, name string) (string, error) {
	path := filepath.Join(c.Accounts, name+".toml")
	if c.Accounts == "" || !account.ValidName(name) {
		return "", fmt.Errorf("there is no account %.60q in a file", name)
	}
	if _, err := os.Lstat(path); err != nil {
		if a, err := findAccount(c, name); err == nil {
			return "", fmt.Errorf("the account %s comes from %s: change it there", a.Name, c.CPanelUsers)
		}
		return "", fmt.Errorf("there is no account %.60q", name)
	}
	return path, nil
}

// setSuspended writes the one line, and leaves the rest of the file as people wrote it.
func setSuspended(c *config.Config, name string, on bool, out io.Writer) error {
	path, err := ownFile(c, name)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var b strings.Builder
	if on {
		b.WriteString("suspended = true\n")
	}
	top := true // Before the first table.
	for line := range strings.Lines(string(text)) {
		trimmed := strings.TrimSpace(line)
		top = top && !strings.HasPrefix(trimmed, "[")
		key, _, _ := strings.Cut(trimmed, "=")
		if top && strings.TrimSpace(key) == "suspended" {
			continue
		}
		b.WriteString(line)
	}
	var f account.File
	if err := toml.Unmarshal([]byte(b.String()), &f); err != nil || f.Suspended != on {
		return fmt.Errorf("%s: it can't be changed by this tool; set suspended = %t in it", path, on)
	}
	if err := atomicfile.Write(path, []byte(b.String()), 0o644); err != nil {
		return err
	}
	words := map[bool]string{true: "suspended", false: "active"}
	_, err = fmt.Fprintf(out, "%s is %s now; a host that runs sees it within a second\n", name, words[on])
	return err
}

func deleteCommand() *cobra.Command {
	return accountTool("delete NAME", "Take an account out; its user, home and mail stay", cobra.ExactArgs(1),
		func(c *config.Config, words []string, out io.Writer) error {
			path, err := ownFile(c, words[0])
			if err != nil {
				return err
			}
			if err := os.Remove(path); err != nil {
				return err
			}
			if c.Web.On() {
				// A running host does so, too; one that starts later may find another account by the name.
				if err := token.Open(c.Web.Tokens()).RevokeUser(words[0], -1); err != nil {
					return fmt.Errorf("%s is no account any more, but its tokens are left: %w", words[0], err)
				}
			}
			if c.Web.On() {
				if err := daemon.DeletePassword(c.Web, words[0]); err != nil {
					return fmt.Errorf("%s is no account any more, but its password for the HTTPS API is left: %w", words[0], err)
				}
			}
			_, err = fmt.Fprintf(out, "%s is no account any more; its system user, home and mail are as they were\n", words[0])
			return err
		})
}

func checkAccountsCommand() *cobra.Command {
	return accountTool("check", "Look for what is wrong with the accounts", cobra.NoArgs, func(c *config.Config, _ []string, out io.Writer) error {
		all, wrong := checkAccounts(c)
		for _, w := range wrong {
			_, _ = fmt.Fprintln(out, w)
		}
		if len(wrong) > 0 {
			return fmt.Errorf("%d things are wrong with %d accounts", len(wrong), len(all))
		}
		_, err := fmt.Fprintf(out, "%d accounts, nothing wrong\n", len(all))
		return err
	})
}

// checkAccounts says what is wrong with the accounts, a line each.
func checkAccounts(c *config.Config) (all []protocol.Account, wrong []string) {
	all, broken := readAccounts(c)
	for _, err := range broken {
		wrong = append(wrong, err.Error())
	}
	add := func(a protocol.Account, format string, args ...any) {
		wrong = append(wrong, "account "+a.Name+": "+fmt.Sprintf(format, args...))
	}
	uids, domains := map[int]string{}, map[string]string{}
	for _, a := range all {
		if c.Mode == config.Server {
			if _, err := isolate.Credential(a); err != nil {
				wrong = append(wrong, err.Error())
			}
			if other, twice := uids[a.UID]; twice {
				add(a, "it has the uid of %s, so neither can connect: give it a system user of its own", other)
			}
			uids[a.UID] = a.Name
		}
		for _, domain := range a.Domains {
			if other, twice := domains[domain]; twice {
				add(a, "its domain %s is %s's, too: take it out of one of them", domain, other)
			}
			domains[domain] = a.Name
			if _, err := account.ParseDomain(domain); err != nil {
				add(a, "domain %v", err)
			}
		}
		var st unix.Stat_t
		switch err := unix.Lstat(a.Home, &st); {
		case err != nil:
			add(a, "its home %s: %v", a.Home, err)
		case st.Mode&unix.S_IFMT != unix.S_IFDIR:
			add(a, "its home %s is no folder", a.Home)
		case int(st.Uid) != a.UID:
			add(a, "its home %s belongs to uid %d, not to its own %d", a.Home, st.Uid, a.UID)
		}
	}
	return all, wrong
}
