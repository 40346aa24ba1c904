package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/admin/accounts"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/cpaneldir"
	"github.com/liveapid/liveapid/host/identity/account"
)

// treeOf returns the links below /usr/local/cpanel for this installation.
func treeOf(c *config.Config) cpaneldir.Tree {
	return cpaneldir.Tree{Root: cpaneldir.Root, Bindings: c.Bindings, Programs: programs()}
}

// programs returns the directory of this program, which also contains uapi and cpapi2.
func programs() string {
	self, err := os.Executable()
	if err != nil {
		return "/usr/bin"
	}
	if real, err := filepath.EvalSymlinks(self); err == nil {
		self = real
	}
	return filepath.Dir(self)
}

// enterTree makes sure that programs find cPanel's files below /usr/local/cpanel. If they are not installed,
// it runs this command again in a mount namespace that contains them, waits until it ends, and returns its
// exit status as an error of type exitStatus. If the system does not allow that, enterTree prints how to
// install the files, and returns nil: programs that do not need them still run.
func enterTree(c *config.Config, stderr io.Writer) error {
	tree := treeOf(c)
	if tree.State() != cpaneldir.None {
		return nil
	}
	cmd, prepared := tree.Command(os.Args[1:])
	err := executeCommand(cmd, prepared)
	var refused *cpaneldir.RefusedError
	if errors.As(err, &refused) {
		remedy := "To install it, run as root: liveapi cpanel-paths install"
		if errors.Is(refused, fs.ErrNotExist) {
			remedy = "Set the configuration key bindings to the directory of the libraries"
		}
		_, _ = fmt.Fprintf(stderr, "liveapi: programs can't load %s here: %v. %s\n", filepath.Join(cpaneldir.Root, "php/cpanel.php"), refused, remedy)
		return nil
	}
	if err == nil {
		return exitStatus(0)
	}
	return err
}

// withLibraries adds the directory of the Perl library to PERL5LIB in env, so that Perl programs find
// Cpanel::LiveAPI.
func withLibraries(env []string, bindings string) []string {
	lib := filepath.Join(bindings, "perl", "lib")
	env = slices.Clone(env)
	for i, pair := range env {
		if value, ok := strings.CutPrefix(pair, "PERL5LIB="); ok {
			if value != "" {
				value += ":"
			}
			env[i] = "PERL5LIB=" + value + lib
			return env
		}
	}
	return append(env, "PERL5LIB="+lib)
}

func cpanelPathsCommand() *cobra.Command {
	cmd := group("cpanel-paths", "Install the files of cPanel that programs name by their path")
	cmd.Long = `Programs written for cPanel load /usr/local/cpanel/php/cpanel.php, and begin with lines such as
#!/usr/local/cpanel/3rdparty/bin/perl. These commands create and remove links of these names to liveapid's
libraries and commands. A cPanel server's own files are never changed. liveapi run, page and dev need no
installed links if the kernel lets the user have a mount namespace.`
	var scripts bool
	add := func(name, short string, run func(t cpaneldir.Tree, out io.Writer) error) {
		sub := &cobra.Command{
			Use: name, Short: short, Args: args(cobra.NoArgs),
			RunE: func(cmd *cobra.Command, _ []string) error {
				c, err := config.Find("")
				if err != nil {
					c = config.Default() // The package installs the links before the configuration is usable.
				}
				tree := treeOf(c)
				if scripts || name == "remove" {
					tree.Scripts = "/scripts"
				}
				return run(tree, cmd.OutOrStdout())
			},
		}
		if name == "install" {
			sub.Flags().BoolVar(&scripts, "scripts", false, "also create the link /scripts, for /scripts/whoowns")
		}
		cmd.AddCommand(sub)
	}
	add("install", "Create the links", func(t cpaneldir.Tree, out io.Writer) error {
		kept, err := t.Install()
		for _, path := range kept {
			_, _ = fmt.Fprintf(out, "%s exists already and was not changed\n", path)
		}
		if err == nil {
			_, _ = fmt.Fprintf(out, "%s: %s\n", t.Root, t.State())
		}
		return err
	})
	add("remove", "Remove the links", func(t cpaneldir.Tree, out io.Writer) error {
		err := t.Remove()
		if err == nil {
			_, _ = fmt.Fprintf(out, "%s: %s\n", t.Root, t.State())
		}
		return err
	})
	add("show", "Say whose files are there", func(t cpaneldir.Tree, out io.Writer) error {
		_, err := fmt.Fprintf(out, "%s: %s\n", t.Root, t.State())
		return err
	})
	return cmd
}

func whoOwnsCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "whoowns DOMAIN", Short: "Print the name of the account that owns a domain",
		Long: `Prints the name of the account that owns DOMAIN, as /scripts/whoowns of a cPanel server does. The exit
status is 1 if no account owns the domain.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, words []string) error {
			c, err := config.Find(path)
			if err != nil {
				return err
			}
			all, broken := accounts.All(c)
			for _, a := range all {
				if slices.Contains(a.Domains, account.ASCIIDomain(words[0])) {
					_, err := fmt.Fprintln(cmd.OutOrStdout(), a.Name)
					return err
				}
			}
			if len(broken) > 0 {
				return errors.Join(broken...)
			}
			return exitStatus(1)
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the host's configuration")
	return cmd
}
