// Package mailconf generates the configuration with which Dovecot 2.3 and Postfix serve the mailboxes of a
// store. The texts come from the embedded directory templates, which contains a few templates for each kind
// of store. The package only returns texts; it does not read or write files.
package mailconf

import (
	"embed"
	"errors"
	"fmt"
	"strings"
	"text/template"
)

// File is a file of the generated configuration.
type File struct {
	Name, Text string
	Secret     bool   // The file contains a password.
	Group      string // The group that may read the secret file; "" for no group.
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

// render executes the template called name with the given values.
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

// checkPath rejects a path that would need quoting in a configuration file. name describes the path in the
// error message.
func checkPath(name, path string) error {
	if path == "" || strings.ContainsAny(path, " \t\r\n#%$\"'{}\\") {
		return fmt.Errorf("%s: %q can't be used in Dovecot's configuration; it must not contain spaces or any of # %% $ \" ' { } \\", name, path)
	}
	return nil
}

var errColon = errors.New("mail_door: the path must not contain a colon, which would end the path in Dovecot's configuration")

var errRoot = errors.New("the mail belongs to root, and Dovecot does not run as root; run the host as another user")
