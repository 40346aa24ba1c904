// Package sandbox writes a self-contained configuration, with an account and a mailbox, in which newcomers try
// liveapid and tests run it. It starts nothing.
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

// The sandbox's account and its one mailbox. The password is documented and protects nothing.
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

// ConfigPath returns the path of a sandbox's configuration.
func ConfigPath(dir string) string { return filepath.Join(dir, "liveapid.toml") }

// configText returns a configuration for the directory dir.
func configText(text, dir, helper string) (string, error) {
	t, err := template.New("").Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, map[string]string{"Path": ConfigPath(dir), "Helper": helper})
	return b.String(), err
}

// checkEmpty returns an error if dir exists and is not empty.
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

// WriteServer writes a sandbox in server mode, without accounts. helper is the system user of the plugins'
// helpers.
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
	for _, sub := range []string{"accounts", "modules", "run"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	return os.WriteFile(ConfigPath(dir), []byte(text), 0o644)
}

// Write writes a sandbox in personal mode. hash is the hash of Password. It returns a new password
// with which the account signs in over HTTPS. It never changes existing files.
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
	// Dovecot reads the sandbox as another user, so a strict umask must not close it.
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
	// A documented password would not do here: any user of the machine can connect over TCP.
	signIn = strings.ToLower(rand.Text()[:16])
	_, err = passwdfile.Set(filepath.Join(dir, "web", "passwords"), Account, protocol.NewSecret(signIn))
	return signIn, err
}
