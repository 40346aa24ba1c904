package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/admin/accounts"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/protocol"
)

// accountTool returns a subcommand that manages accounts. The subcommand loads the configuration and calls
// do, with words for the arguments of the command line.
func accountTool(use, short string, words cobra.PositionalArgs, do func(c *config.Config, words []string, out io.Writer) error) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: args(words),
		RunE: func(cmd *cobra.Command, words []string) error {
			c, err := config.Find(path)
			if err == nil && c.Path() == "" {
				err = errors.New("no configuration found: pass its path with --config")
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
			path, err := accounts.Create(c, words[0], home, domains)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(out, "registered %s: %s\n", words[0], path)
			return err
		})
	cmd.Flags().StringArrayVar(&domains, "domain", nil, "a domain of the account, the main one first; may be repeated")
	cmd.Flags().StringVar(&home, "home", "", "the account's home (default: the system user's home)")
	return cmd
}

// listedAccount is an account in the JSON of "liveapi account list" and "show".
type listedAccount struct {
	Name      string                `json:"name"`
	UID       int                   `json:"uid"`
	GID       int                   `json:"gid"`
	Home      string                `json:"home"`
	Domains   []string              `json:"domains"`
	Suspended bool                  `json:"suspended"`
	Features  []string              `json:"features"` // Null means all.
	Lacks     []string              `json:"lacks"`
	Sites     map[string]listedSite `json:"sites,omitempty"`
	Data      map[string]string     `json:"data,omitempty"`
}

type listedSite struct {
	Kind protocol.SiteKind `json:"kind"`
	Root string            `json:"root"`
}

func listed(a protocol.Account) listedAccount {
	out := listedAccount{
		Name: a.Name, UID: a.UID, GID: a.GID, Home: a.Home, Domains: a.Domains, Suspended: a.Suspended, Features: a.Features, Lacks: a.Lacks,
		Sites: make(map[string]listedSite), Data: a.Data,
	}
	for domain, site := range a.Sites {
		out.Sites[domain] = listedSite{Kind: site.Kind, Root: site.Root}
	}
	if out.Domains == nil {
		out.Domains = []string{}
	}
	if out.Lacks == nil {
		out.Lacks = []string{}
	}
	return out
}

func listAccountsCommand() *cobra.Command {
	var asJSON *bool
	cmd := accountTool("list", "List the accounts", cobra.NoArgs, func(c *config.Config, _ []string, out io.Writer) error {
		all, broken := accounts.All(c)
		if *asJSON {
			list := []listedAccount{}
			for _, a := range all {
				list = append(list, listed(a))
			}
			return errors.Join(append(broken, printJSON(out, list))...)
		}
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(table, "NAME\tUID\tSTATE\tDOMAINS\tHOME")
		for _, a := range all {
			_, _ = fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\n", a.Name, a.UID, stateOf(a), strings.Join(a.Domains, " "), a.Home)
		}
		return errors.Join(append(broken, table.Flush())...)
	})
	asJSON = addJSON(cmd)
	return cmd
}

func stateOf(a protocol.Account) string {
	if a.Suspended {
		return "suspended"
	}
	return "active"
}

func showCommand() *cobra.Command {
	var asJSON *bool
	cmd := accountTool("show NAME", "Show an account", cobra.ExactArgs(1), func(c *config.Config, words []string, out io.Writer) error {
		a, err := accounts.Find(c, words[0])
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(out, listed(a))
		}
		_, _ = fmt.Fprintf(out, "name      %s\nstate     %s\nuid, gid  %d, %d\nhome      %s\ndomains   %s\n",
			a.Name, stateOf(a), a.UID, a.GID, a.Home, strings.Join(a.Domains, " "))
		features := "all"
		if a.Features != nil {
			features = strings.Join(a.Features, " ")
		}
		if len(a.Lacks) > 0 {
			features += " except " + strings.Join(a.Lacks, " ")
		}
		_, _ = fmt.Fprintf(out, "features  %s\n", features)
		for _, domain := range a.Domains {
			if s := a.Site(domain); a.Sites != nil {
				_, _ = fmt.Fprintf(out, "site      %s %s %s\n", domain, s.Kind, s.Root)
			}
		}
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
	asJSON = addJSON(cmd)
	return cmd
}

func suspendCommand() *cobra.Command {
	return accountTool("suspend NAME", "Reject an account's calls, and end its sessions", cobra.ExactArgs(1), func(c *config.Config, words []string, out io.Writer) error {
		return setSuspended(c, words[0], true, "suspended", out)
	})
}

func unsuspendCommand() *cobra.Command {
	return accountTool("unsuspend NAME", "Accept an account's calls again", cobra.ExactArgs(1), func(c *config.Config, words []string, out io.Writer) error {
		// The account is active first: no mailbox of a suspended account may be unlocked.
		if err := setSuspended(c, words[0], false, "active", out); err != nil {
			return err
		}
		unlocked, err := unlockMailboxes(c, words[0])
		if unlocked > 0 {
			_, _ = fmt.Fprintf(out, "%d mailboxes that were locked with the account are unlocked\n", unlocked)
			forgetLogins(context.Background(), c, out)
		}
		if err != nil {
			return fmt.Errorf("the account is active, but not all mailboxes that were locked with it may be unlocked; run the command again after this is solved: %w", err)
		}
		return nil
	})
}

// unlockMailboxes removes the mark of a suspended account from the account's mailboxes, and returns their number.
func unlockMailboxes(c *config.Config, name string) (n int, err error) {
	a, err := accounts.Find(c, name)
	if err != nil {
		return 0, err
	}
	s, end, err := configuredStore(c, a)
	if err != nil || s == nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, end()) }()
	var failed []error
	for _, domain := range a.Domains {
		unlocked, domainErr := s.Unlock(context.Background(), domain)
		n += unlocked
		if domainErr != nil {
			failed = append(failed, fmt.Errorf("domain %s: %w", domain, domainErr))
		}
	}
	return n, errors.Join(failed...)
}

func setSuspended(c *config.Config, name string, suspended bool, state string, out io.Writer) error {
	if err := accounts.SetSuspended(c, name, suspended); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%s is %s now; a running host notices it within a second\n", name, state)
	return err
}

func deleteCommand() *cobra.Command {
	return accountTool("delete NAME", "Remove an account; its user, home and mail stay", cobra.ExactArgs(1),
		func(c *config.Config, words []string, out io.Writer) error {
			if err := accounts.Delete(c, words[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(out, "%s is not an account any more; its system user, home and mail are unchanged\n", words[0])
			return err
		})
}

func checkAccountsCommand() *cobra.Command {
	var asJSON *bool
	cmd := accountTool("check", "Find problems with the accounts", cobra.NoArgs, func(c *config.Config, _ []string, out io.Writer) error {
		all, wrong := accounts.Check(c)
		if *asJSON {
			err := printJSON(out, map[string]any{"accounts": len(all), "wrong": append([]string{}, wrong...)})
			if len(wrong) > 0 {
				err = errors.Join(err, fmt.Errorf("%d problems found", len(wrong)))
			}
			return err
		}
		for _, w := range wrong {
			_, _ = fmt.Fprintln(out, w)
		}
		if len(wrong) > 0 {
			return fmt.Errorf("%d problems found; %d accounts were checked", len(wrong), len(all))
		}
		_, err := fmt.Fprintf(out, "%d accounts, nothing wrong\n", len(all))
		return err
	})
	asJSON = addJSON(cmd)
	return cmd
}
