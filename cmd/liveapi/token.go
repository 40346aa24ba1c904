package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/daemon"
	"github.com/liveapid/liveapid/host/identity/passwdfile"
	"github.com/liveapid/liveapid/host/identity/token"
	"github.com/liveapid/liveapid/protocol"
)

// rootUser is the user name of the host's operator on WHM's port.
const rootUser = "root"

// tokenUser is the owner of a token, as given by the options --user and --whm.
type tokenUser struct {
	name string
	whm  bool
}

func (u *tokenUser) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&u.name, "user", "", "the account, or root")
	cmd.Flags().BoolVar(&u.whm, "whm", false, "create a token for WHM's port, for a reseller (root's tokens are always for WHM)")
}

// grant returns the grant of a new token for the user. It returns an error if the host does not serve that
// user, if the account is suspended, or if --whm was given and the user is not a reseller.
func (u *tokenUser) grant(c *config.Config) (token.Grant, error) {
	g := token.Grant{User: u.name, Service: token.CPanel}
	if u.whm || u.name == rootUser {
		g.Service = token.WHM
	}
	switch {
	case u.name == "":
		return g, admin.Usage(errors.New("--user is missing: name an account, or root"))
	case u.name == rootUser:
		return g, nil
	case u.whm && !slices.Contains(c.Web.Resellers, u.name):
		return g, fmt.Errorf("%s is not a reseller: add the name to web.resellers in the configuration", u.name)
	case c.Mode == config.Personal:
		a, err := daemon.Account(c)
		if err == nil && a.Name != u.name {
			err = fmt.Errorf("this host serves only the account %s", a.Name)
		}
		g.UID = a.UID
		return g, err
	}
	a, err := daemon.Sources(c).ByName(u.name)
	if err == nil && a.Suspended {
		err = fmt.Errorf("the account %s is suspended", u.name)
	}
	g.UID = a.UID
	return g, err
}

// webTool returns a subcommand that changes or reads the state of the HTTPS API. The subcommand loads the
// configuration, creates the state directory if necessary, and calls do.
func webTool(use, short string, words cobra.PositionalArgs, do func(c *config.Config, cmd *cobra.Command, words []string) error) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: args(words),
		RunE: func(cmd *cobra.Command, words []string) error {
			c, err := config.Find(path)
			if err != nil {
				return err
			}
			if !c.Web.On() {
				return errors.New("the HTTPS API is off: set web.state in the configuration")
			}
			if err := os.MkdirAll(c.Web.State, 0o700); err != nil {
				return err
			}
			return do(c, cmd, words)
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the host's configuration")
	return cmd
}

func tokenCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Manage the tokens of the HTTPS API", Args: cobra.ArbitraryArgs}
	cmd.RunE = func(cmd *cobra.Command, words []string) error {
		if len(words) > 0 {
			return admin.Usage(fmt.Errorf("unknown command %q", "token "+words[0]))
		}
		return cmd.Help()
	}
	cmd.AddCommand(createTokenCommand(), accessHashCommand(), listTokensCommand(), revokeTokenCommand())
	return cmd
}

func createTokenCommand() *cobra.Command {
	var user tokenUser
	var name string
	var expires time.Duration
	var features []string
	cmd := webTool("create --user NAME --name LABEL", "Create a token, and print it on the last line", cobra.NoArgs,
		func(c *config.Config, cmd *cobra.Command, _ []string) error {
			g, err := user.grant(c)
			if err != nil {
				return err
			}
			if name == "" {
				return admin.Usage(errors.New("--name is missing: choose a name for the token"))
			}
			if g.Name = name; !token.ValidName(name) {
				return admin.Usage(fmt.Errorf("--name: must be at most %d letters, digits, - and _", token.MaxName))
			}
			if expires < 0 {
				return admin.Usage(errors.New("--expires: must be a positive duration, such as 720h"))
			}
			if expires > 0 {
				g.Expires = time.Now().Add(expires)
			}
			if cmd.Flags().Changed("feature") {
				// An empty --feature is rejected and does not mean "all features". Otherwise a script whose
				// variable for the feature is empty by mistake would create a token with all features.
				if len(features) == 0 || slices.Contains(features, "") {
					return admin.Usage(errors.New("--feature: must be the name of a feature, such as popaccts"))
				}
				g.Features = features
			}
			text, _, err := token.Open(c.Web.Tokens()).Create(g)
			if errors.Is(err, token.ErrExists) {
				return fmt.Errorf("%s already has a token %s: revoke it, or choose another name", g.User, name)
			}
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "Store the token: it can't be shown again. Programs send it as\n  Authorization: %s %s:TOKEN\n", g.Service, g.User)
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		})
	user.flags(cmd)
	cmd.Flags().StringVar(&name, "name", "", "the token's name: letters, digits, - and _")
	cmd.Flags().DurationVar(&expires, "expires", 0, "time until the token expires, such as 720h (default: never)")
	cmd.Flags().StringSliceVar(&features, "feature", nil, "limit it to functions that need this feature, such as popaccts; may be repeated")
	return cmd
}

func accessHashCommand() *cobra.Command {
	var user tokenUser
	cmd := webTool("accesshash --user NAME FILE", "Accept a legacy access hash, such as a cPanel server's /root/.accesshash", cobra.ExactArgs(1),
		func(c *config.Config, cmd *cobra.Command, words []string) error {
			user.whm = true
			g, err := user.grant(c)
			if err != nil {
				return err
			}
			f, err := os.Open(words[0])
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			text, err := io.ReadAll(io.LimitReader(f, 16<<10))
			if err != nil {
				return err
			}
			g.Name = "accesshash"
			if _, err := token.Open(c.Web.Tokens()).AddAccessHash(string(text), g); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "accepted: Authorization: WHM %s:HASH\n", g.User)
			return err
		})
	cmd.Flags().StringVar(&user.name, "user", rootUser, "root, or a reseller")
	return cmd
}

func listTokensCommand() *cobra.Command {
	var user string
	var asJSON *bool
	cmd := webTool("list", "List tokens, without themselves", cobra.NoArgs, func(c *config.Config, cmd *cobra.Command, _ []string) error {
		all, err := token.Open(c.Web.Tokens()).List(user)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), listedTokens(all))
		}
		table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(table, "USER\tFOR\tNAME\tCREATED\tEXPIRES\tMAY")
		for _, t := range all {
			expires, may := "never", "all"
			if t.Expires != 0 {
				expires = time.Unix(t.Expires, 0).UTC().Format(time.DateTime)
				if time.Now().Unix() >= t.Expires {
					expires += " (past)"
				}
			}
			if !t.Full() {
				may = strings.Join(t.Features, ",")
			}
			_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", t.User, t.Service, t.Name, time.Unix(t.Created, 0).UTC().Format(time.DateTime), expires, may)
		}
		return table.Flush()
	})
	cmd.Flags().StringVar(&user, "user", "", "list only this user's tokens")
	asJSON = addJSON(cmd)
	return cmd
}

// listedToken is a token in the JSON of "liveapi token list". It contains neither the token nor its hash.
type listedToken struct {
	User     string   `json:"user"`
	Service  string   `json:"service"`
	Name     string   `json:"name"`
	Created  int64    `json:"created"`  // Unix time.
	Expires  int64    `json:"expires"`  // Unix time; 0 means never.
	Features []string `json:"features"` // Null means all.
}

func listedTokens(all []token.Token) []listedToken {
	out := []listedToken{}
	for _, t := range all {
		listed := listedToken{User: t.User, Service: string(t.Service), Name: t.Name, Created: t.Created, Expires: t.Expires}
		if !t.Full() {
			listed.Features = t.Features
		}
		out = append(out, listed)
	}
	return out
}

func revokeTokenCommand() *cobra.Command {
	var user tokenUser
	var name string
	cmd := webTool("revoke --user NAME --name LABEL", "End a token at once", cobra.NoArgs, func(c *config.Config, cmd *cobra.Command, _ []string) error {
		if user.name == "" || name == "" {
			return admin.Usage(errors.New("--user or --name is missing: give the user and the name of the token"))
		}
		// The account is not looked up, because it must be possible to revoke an account's tokens even after
		// the account was deleted.
		store, service := token.Open(c.Web.Tokens()), token.CPanel
		if user.whm || user.name == rootUser {
			service = token.WHM
		}
		all, err := store.List(user.name)
		if err != nil {
			return err
		}
		ended := 0
		for _, t := range all {
			if t.Name == name && t.Service == service {
				if err := store.Revoke(t.User, t.UID, t.Service, t.Name); err != nil && !errors.Is(err, token.ErrNone) {
					return err
				}
				ended++
			}
		}
		if ended == 0 {
			return fmt.Errorf("%s has no token %s", user.name, name)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "revoked: %s's token %s\n", user.name, name)
		return err
	})
	user.flags(cmd)
	cmd.Flags().StringVar(&name, "name", "", "the token's name")
	return cmd
}

func passwordCommand() *cobra.Command {
	var user string
	var remove bool
	cmd := webTool("password --user NAME", "Set the password of an account, or of root, for HTTPS", cobra.NoArgs,
		func(c *config.Config, cmd *cobra.Command, _ []string) error {
			if c.Web.Passwords == config.PAM {
				return errors.New("PAM verifies the passwords (web.passwords): set the password of the system user with passwd")
			}
			if filepath.Dir(c.Web.Passwords) != c.Web.State {
				return fmt.Errorf("liveapi does not change the file %s (web.passwords): use the tool for that file, such as passwd or htpasswd", c.Web.Passwords)
			}
			u := tokenUser{name: user}
			if _, err := u.grant(c); err != nil && !remove {
				return err
			}
			var secret protocol.Secret
			if !remove {
				text, err := readLine(cmd.InOrStdin())
				if err != nil {
					return err
				}
				if len(text) < minPassword {
					return admin.Usage(fmt.Errorf("write the password to standard input, as a line with at least %d bytes", minPassword))
				}
				secret = protocol.NewSecret(text)
			}
			was, err := passwdfile.Set(c.Web.Passwords, user, secret)
			switch {
			case err != nil:
				return err
			case remove && !was:
				return fmt.Errorf("%s has no password", user)
			case remove:
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "removed: %s's password\n", user)
			default:
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "set: %s's password\n", user)
			}
			return err
		})
	cmd.Long = "Reads the password as a line from standard input, and stores its hash in the file of web.passwords."
	cmd.Flags().StringVar(&user, "user", "", "the account, or root")
	cmd.Flags().BoolVar(&remove, "remove", false, "remove the password")
	return cmd
}

// minPassword is the minimum length of a password, in bytes.
const minPassword = 8

// readLine reads the first line of in and returns the line without its line ending. It reads at most 4 KiB.
func readLine(in io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(in, 4<<10))
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}
