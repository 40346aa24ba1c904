package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/host/identity/passwdfile"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/plugins/email/password"
	"github.com/liveapid/liveapid/protocol"
)

// The sandbox's one mailbox. It is documented, and guards nothing.
const (
	sandboxAccount  = "demo"
	sandboxDomain   = "example.com"
	sandboxMailbox  = "user"
	sandboxPassword = "Old.passw0rd-1"
)

const sandboxWeb = `
# The HTTPS API and its pages: https://127.0.0.1:12083/
[web]
state      = "web"              # tokens, and a certificate that signs itself
cpanel     = "127.0.0.1:12083"
whm        = "127.0.0.1:12087"
webmail    = "127.0.0.1:12096"
access_log = "web/access.log"
`

const sandboxConfig = `# A sandbox: one account, served to your own user alone.
# liveapid serve --config %[1]s
mode     = "personal"
account  = "demo"
accounts = "accounts"
socket   = "run/liveapi.sock"
run_dir  = "run"
modules  = "modules"
` + sandboxWeb + `
# The Email plugin beside liveapid.
[[plugin]]
# path   = "/usr/lib/liveapid/liveapi-email"
# sha256 = "..."                # as sha256sum prints it
[plugin.settings]
required_strength = 25          # the documentation's 12345luggage is good enough; default 65
# scheme = "SHA512-CRYPT"       # or BLF-CRYPT, ARGON2ID
`

const sandboxAccountFile = `# Account demo. Paths are relative to the folder above this one.
home    = "home/demo"
domains = ["example.com"]
`

const serverConfig = `# A sandbox for many accounts: it is served by root, to each account's own user.
# liveapid serve --config %[1]s
mode     = "server"
accounts = "accounts"           # liveapi account create NAME --domain DOMAIN
helper   = %[2]q           # the system user that hashes passwords, and keeps secrets from accounts
socket   = "run/liveapi.sock"
run_dir  = "run"
control  = "run/control.sock"   # liveapi status, liveapi top
state    = "state"              # what the host remembers: whose each domain was
audit    = "audit.log"          # liveapi audit verify
modules  = "modules"
` + sandboxWeb + `
# The Email plugin beside liveapid.
[[plugin]]
[plugin.settings]
required_strength = 25          # the documentation's 12345luggage is good enough; default 65
# scheme = "SHA512-CRYPT"       # or BLF-CRYPT, ARGON2ID
`

func sandboxCommand() *cobra.Command {
	var server bool
	var helper string
	cmd := &cobra.Command{
		Use:   "sandbox DIR",
		Short: "Write a self-contained world below DIR to try and to test in",
		Long: `Writes a configuration, the account demo with the domain example.com and the mailbox
user@example.com (password ` + sandboxPassword + `), and a folder vmail in which each domain is a
link to its store, for Dovecot. DIR must be empty or not be there.

With --server it writes one for many accounts, without any: for root, who must own DIR and all
folders above it, so that nobody else can change what root runs.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, words []string) error {
			dir, err := filepath.Abs(words[0])
			if err != nil {
				return err
			}
			// The path becomes a field of passwd and a word of a comment.
			if strings.ContainsFunc(dir, func(r rune) bool { return r == ':' || unicode.IsControl(r) }) {
				return errMisuse{fmt.Errorf("sandbox: %q: choose a folder without ':' and control characters in its path", dir)}
			}
			if server {
				return serverSandbox(dir, helper, cmd.OutOrStdout())
			}
			signIn, err := writeSandbox(cmd.Context(), dir)
			if err != nil {
				return fmt.Errorf("sandbox: %w", err)
			}
			config := filepath.Join(dir, "liveapid.toml")
			defer warnOfPorts(cmd.OutOrStdout(), config)
			_, err = fmt.Fprintf(cmd.OutOrStdout(), `The sandbox is ready. Next:

  export LIVEAPID_CONFIG=%s
  echo 'A new passw0rd!' | cpapi2 --user=demo Email passwdpop domain=example.com email=user password=-

The commands start a host when they need one. To have one listen:  liveapid serve
Then https://127.0.0.1:12083/ is its page: sign in as %s with the password %s
(shown here only; liveapi password --user=%[2]s sets another).
`, shellWord(config), sandboxAccount, signIn)
			return err
		},
	}
	cmd.Flags().BoolVar(&server, "server", false, "for many accounts, served by root")
	cmd.Flags().StringVar(&helper, "helper", "liveapid", "with --server: the system user for plugins' helpers")
	return cmd
}

// serverSandbox writes a world of server mode.
func serverSandbox(dir, helper string, out io.Writer) error {
	if err := mustBeEmpty(dir); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	old := unix.Umask(0o022)
	defer unix.Umask(old)
	for _, sub := range []string{"accounts", "modules", "run"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return fmt.Errorf("sandbox: %w", err)
		}
	}
	path := filepath.Join(dir, "liveapid.toml")
	if err := os.WriteFile(path, fmt.Appendf(nil, serverConfig, path, helper), 0o644); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
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
			_, _ = fmt.Fprintf(out, "\nThe programs, too, must lie where nobody but root can change them; copy %s there first: %s.\n", shellWord(filepath.Dir(self)), untrusted)
		}
	}
	if untrusted := isolate.CheckTrusted(path); untrusted != nil {
		_, _ = fmt.Fprintf(out, "\nScript modules here will not be served: %s.\n", untrusted)
	}
	return err
}

// warnOfPorts says which of the sandbox's ports another program has.
func warnOfPorts(out io.Writer, config string) {
	for _, port := range []string{"12083", "12087", "12096"} {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = l.Close()
			continue
		}
		_, _ = fmt.Fprintf(out, "\nPort %s is another program's at the moment. Choose others in %s, or what you send there is sent to that program.\n", port, shellWord(config))
		return
	}
}

func mustBeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty; name a new folder", dir)
	}
	return nil
}

// shellWord quotes text where a shell would not take it as one word.
func shellWord(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+,@%", r)
	}
	if !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// writeSandbox writes the world and returns the password by which its account signs in over HTTPS.
// It never touches what is there already.
func writeSandbox(ctx context.Context, dir string) (signIn string, _ error) {
	if err := mustBeEmpty(dir); err != nil {
		return "", err
	}
	hasher, err := password.NewHasher(password.SHA512Crypt)
	if err != nil {
		return "", err
	}
	hash, err := hasher.Hash(ctx, protocol.NewSecret(sandboxPassword))
	if err != nil {
		return "", err
	}
	var (
		home = filepath.Join(dir, "home", sandboxAccount)
		etc  = filepath.Join(home, "etc", sandboxDomain)
		mail = filepath.Join(home, "mail", sandboxDomain, sandboxMailbox)
		day  = strconv.FormatInt(time.Now().Unix()/86400, 10)
	)
	// Dovecot reads this world as another user, so a umask must not close it.
	old := unix.Umask(0o022)
	defer unix.Umask(old)
	for _, sub := range []string{
		etc, filepath.Join(mail, "cur"), filepath.Join(mail, "new"), filepath.Join(mail, "tmp"),
		filepath.Join(dir, "accounts"), filepath.Join(dir, "vmail"), filepath.Join(dir, "modules"),
	} {
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return "", err
		}
	}
	for _, private := range []string{"run", "web"} {
		if err := os.MkdirAll(filepath.Join(dir, private), 0o700); err != nil {
			return "", err
		}
	}
	config := filepath.Join(dir, "liveapid.toml")
	for _, f := range []struct {
		path, text string
		mode       os.FileMode
	}{
		{config, fmt.Sprintf(sandboxConfig, config), 0o644},
		{filepath.Join(dir, "accounts", sandboxAccount+".toml"), sandboxAccountFile, 0o644},
		{filepath.Join(etc, "passwd"), fmt.Sprintf("%s:x:%d:%d::%s:/bin/false\n", sandboxMailbox, os.Getuid(), os.Getgid(), mail), 0o644},
		{filepath.Join(etc, "shadow"), sandboxMailbox + ":" + hash + ":" + day + "::::::\n", 0o640},
		{filepath.Join(etc, "quota"), sandboxMailbox + ":0\n", 0o644},
	} {
		if err := os.WriteFile(f.path, []byte(f.text), f.mode); err != nil {
			return "", err
		}
	}
	if err := os.Symlink(filepath.Join("..", "home", sandboxAccount, "etc", sandboxDomain), filepath.Join(dir, "vmail", sandboxDomain)); err != nil {
		return "", err
	}
	// Not one that is documented: over TCP anybody on the machine could use it.
	signIn = strings.ToLower(rand.Text()[:16])
	_, err = passwdfile.Set(filepath.Join(dir, "web", "passwords"), sandboxAccount, protocol.NewSecret(signIn))
	return signIn, err
}
