// Package sandbox writes a sandbox: a directory with a self-contained configuration, an account and a
// mailbox. Newcomers try liveapid in a sandbox, and tests run in sandboxes. The package starts no program.
package sandbox

import (
	"crypto/rand"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/identity/passwdfile"
	"github.com/liveapid/liveapid/protocol"
)

// The account of a sandbox and the account's only mailbox. The password is in the documentation, so it
// protects nothing.
const (
	Account  = "demo"
	Domain   = "example.com"
	Mailbox  = "user"
	Password = "Old.passw0rd-1"
)

var (
	//go:embed personal.toml.tmpl
	personalConfig string
	//go:embed server.toml.tmpl
	serverConfig string
	//go:embed account.toml
	accountFile string
)

// ConfigPath returns the path of the configuration file of the sandbox in dir.
func ConfigPath(dir string) string { return filepath.Join(dir, "liveapid.toml") }

// configText fills the template text for a sandbox in dir. helper is the system user of the plugins' helpers.
func configText(text, dir, helper string) (string, error) {
	t, err := template.New("").Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, map[string]string{"Path": ConfigPath(dir), "Helper": helper})
	return b.String(), err
}

// checkEmpty returns an error unless dir is empty or does not exist.
func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty; name a new directory", dir)
	}
	return nil
}

// WriteServer writes a sandbox in server mode into dir, without accounts. helper is the name of the system
// user of the plugins' helpers. dir must be empty or not exist.
func WriteServer(dir, helper string) error {
	if err := checkEmpty(dir); err != nil {
		return err
	}
	text, err := configText(serverConfig, dir, helper)
	if err != nil {
		return err
	}
	old := unix.Umask(0o022)
	defer unix.Umask(old)
	for _, sub := range []string{"accounts", "modules", "mocks", "run"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	return os.WriteFile(ConfigPath(dir), []byte(text), 0o644)
}

// Write writes a sandbox in personal mode into dir, which must be empty or not exist. hash is the hash of
// Password, the mailbox's password. Write returns signIn, a new random password with which the account signs
// in over HTTPS.
func Write(dir, hash string) (signIn string, _ error) {
	if err := checkEmpty(dir); err != nil {
		return "", err
	}
	config, err := configText(personalConfig, dir, "")
	if err != nil {
		return "", err
	}
	var (
		home = filepath.Join(dir, "home", Account)
		etc  = filepath.Join(home, "etc", Domain)
		mail = filepath.Join(home, "mail", Domain, Mailbox)
		day  = strconv.FormatInt(time.Now().Unix()/86400, 10)
	)
	// Dovecot reads the sandbox as another user. If the running user has a strict umask, Dovecot could not
	// read the new files, so the umask is changed.
	old := unix.Umask(0o022)
	defer unix.Umask(old)
	for _, sub := range []string{
		etc, filepath.Join(mail, "cur"), filepath.Join(mail, "new"), filepath.Join(mail, "tmp"),
		filepath.Join(dir, "accounts"), filepath.Join(dir, "vmail"), filepath.Join(dir, "modules"), filepath.Join(dir, "mocks"),
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
	for _, f := range []struct {
		path, text string
		mode       os.FileMode
	}{
		{ConfigPath(dir), config, 0o644},
		{filepath.Join(dir, "accounts", Account+".toml"), accountFile, 0o644},
		{filepath.Join(etc, "passwd"), fmt.Sprintf("%s:x:%d:%d::%s:/bin/false\n", Mailbox, os.Getuid(), os.Getgid(), mail), 0o644},
		{filepath.Join(etc, "shadow"), Mailbox + ":" + hash + ":" + day + "::::::\n", 0o640},
		{filepath.Join(etc, "quota"), Mailbox + ":0\n", 0o644},
	} {
		if err := os.WriteFile(f.path, []byte(f.text), f.mode); err != nil {
			return "", err
		}
	}
	if err := os.Symlink(filepath.Join("..", "home", Account, "etc", Domain), filepath.Join(dir, "vmail", Domain)); err != nil {
		return "", err
	}
	// HTTPS gets a random password. The documented password would be dangerous, because every user of the
	// machine can connect over TCP.
	signIn = strings.ToLower(rand.Text()[:16])
	_, err = passwdfile.Set(filepath.Join(dir, "web", "passwords"), Account, protocol.NewSecret(signIn))
	return signIn, err
}
