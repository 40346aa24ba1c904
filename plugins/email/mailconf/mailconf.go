// Package mailconf writes the configuration with which Dovecot 2.3 and Postfix serve the mailboxes of a store.
// The texts are the templates in the directory templates, a few for each kind of store. The package returns
// texts; it reads and writes no file.
package mailconf

import (
	"embed"
	"errors"
	"fmt"
	"strings"
	"text/template"
)

// File is one file of a configuration.
type File struct {
	Name, Text string
	Secret     bool   // It holds a password.
	Group      string // The group that may read a secret file; "" means none.
}

const (
	dovecotName     = "liveapi-dovecot.conf"
	dovecotSQLName  = "liveapi-dovecot-sql.conf.ext"
	dovecotDictName = "liveapi-dovecot-dict.conf.ext"
	dovecotManyName = "liveapi-dovecot-door.conf.ext"
	postfixName     = "liveapi-postfix.cf"
)

//go:embed templates
var templates embed.FS

// render returns a template's text with the given values.
func render(name string, values any) (string, error) {
	t := template.New(name).Funcs(template.FuncMap{"join": strings.Join})
	if _, err := t.ParseFS(templates, "templates/common.tmpl", "templates/"+name); err != nil {
		return "", fmt.Errorf("template %s: %w", name, err)
	}
	var b strings.Builder
	if err := t.Execute(&b, values); err != nil {
		return "", fmt.Errorf("template %s: %w", name, err)
	}
	return b.String(), nil
}

// checkPath rejects paths that would need quoting in a configuration file.
func checkPath(name, path string) error {
	if path == "" || strings.ContainsAny(path, " \t\r\n#%$\"'{}\\") {
		return fmt.Errorf("%s: %q can't be used in Dovecot's configuration; it may contain no spaces and none of # %% $ \" ' { } \\", name, path)
	}
	return nil
}

var errColon = errors.New("mail_door: its path may contain no colon, which would end it in Dovecot's configuration")

var errRoot = errors.New("the mail belongs to root, and Dovecot reads no mail as root; serve the account as a user of its own")
