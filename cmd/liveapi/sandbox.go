package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/dev/sandbox"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/plugins/email/password"
	"github.com/liveapid/liveapid/protocol"
)

func sandboxCommand() *cobra.Command {
	var server bool
	var helper string
	cmd := &cobra.Command{
		Use:   "sandbox DIR",
		Short: "Write a configuration, an account and a mailbox into DIR, to try out and to test with",
		Long: `Writes a configuration, the account demo with the domain example.com and the mailbox
user@example.com (password ` + sandbox.Password + `), and, for Dovecot, a directory vmail with a link
to each domain's store. DIR must be empty or not exist.

With --server, it writes a configuration for many accounts, but no accounts. Root must own DIR and
all directories above it, so that no other user can change the programs that root runs.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, words []string) error {
			dir, err := filepath.Abs(words[0])
			if err != nil {
				return err
			}
			// The path is written into a field of the file passwd and into a comment of the configuration, so
			// a ':' or a newline in it would break them.
			if strings.ContainsFunc(dir, func(r rune) bool { return r == ':' || unicode.IsControl(r) }) {
				return admin.Usage(fmt.Errorf("sandbox: the path %q contains ':' or a control character; choose another directory", dir))
			}
			if server {
				return serverSandbox(dir, helper, cmd.OutOrStdout())
			}
			signIn, err := writeSandbox(cmd.Context(), dir)
			if err != nil {
				return fmt.Errorf("sandbox: %w", err)
			}
			config := sandbox.ConfigPath(dir)
			defer warnOfPorts(cmd.OutOrStdout(), config)
			_, err = fmt.Fprintf(cmd.OutOrStdout(), `The sandbox is ready. Next:

  export LIVEAPID_CONFIG=%s
  echo 'A new passw0rd!' | cpapi2 --user=demo Email passwdpop domain=example.com email=user password=-

If no host is running, these commands start a host. To keep a host running, run: liveapid serve
While it runs, open https://127.0.0.1:12083/ and sign in as %[2]s with the password %[3]s
(the password is shown only now; liveapi password --user=%[2]s sets a new password).
`, shellWord(config), sandbox.Account, signIn)
			return err
		},
	}
	cmd.Flags().BoolVar(&server, "server", false, "write a configuration for many accounts, to be served by root")
	cmd.Flags().StringVar(&helper, "helper", "liveapid", "for --server: the system user of plugins' helpers")
	return cmd
}

// serverSandbox writes a sandbox in server mode, for many accounts, and prints the next steps. helper is the
// name of the system user of the helper.
func serverSandbox(dir, helper string, out io.Writer) error {
	if err := sandbox.WriteServer(dir, helper); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	path := sandbox.ConfigPath(dir)
	_, err := fmt.Fprintf(out, "The sandbox is ready. Next, as root:\n\n  export LIVEAPID_CONFIG=%s\n", shellWord(path))
	if _, missing := account.SystemUser(helper); missing != nil {
		_, _ = fmt.Fprintf(out, "  useradd --system --no-create-home --shell /usr/sbin/nologin %s\n", helper)
	}
	_, _ = fmt.Fprint(out, `  liveapi account create NAME --domain DOMAIN   # NAME is a system user
  liveapid serve &
  cpapi2 --user=NAME Email listpops
`)
	if self, err := os.Executable(); err == nil {
		if untrusted := isolate.CheckTrusted(filepath.Join(filepath.Dir(self), "liveapi-email")); untrusted != nil {
			_, _ = fmt.Fprintf(out, "\nOnly root may be able to change the programs. Copy %s to such a directory first: %s.\n", shellWord(filepath.Dir(self)), untrusted)
		}
	}
	if untrusted := isolate.CheckTrusted(path); untrusted != nil {
		_, _ = fmt.Fprintf(out, "\nThe host will not serve script modules from this directory: %s.\n", untrusted)
	}
	return err
}

// warnOfPorts prints a warning if another program listens on a port that the sandbox's configuration uses.
func warnOfPorts(out io.Writer, config string) {
	for _, port := range []string{"12083", "12087", "12096"} {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = l.Close()
			continue
		}
		_, _ = fmt.Fprintf(out, "\nAnother program uses port %s at the moment. Choose other ports in %s; otherwise your requests go to that program.\n", port, shellWord(config))
		return
	}
}

// shellWord returns text as a single word for a shell. It adds quotes only if the shell would otherwise split
// or interpret the text.
func shellWord(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+,@%", r)
	}
	if !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// writeSandbox writes a sandbox in personal mode. signIn is the password with which the account signs in to
// the HTTPS API.
func writeSandbox(ctx context.Context, dir string) (signIn string, _ error) {
	hasher, err := password.NewHasher(password.SHA512Crypt)
	if err != nil {
		return "", err
	}
	hash, err := hasher.Hash(ctx, protocol.NewSecret(sandbox.Password))
	if err != nil {
		return "", err
	}
	return sandbox.Write(dir, hash)
}
