// Package mailconf generates the configuration with which Dovecot and Postfix serve the mailboxes of a store. The
// texts come from the embedded directory templates, which contains a few templates for each kind of store and each
// version of Dovecot. The package only returns texts; it does not read or write files.
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

// Version is a series of Dovecot's versions with the same language of configuration files.
type Version string

// The versions for which a configuration is generated.
const (
	Dovecot23 Version = "2.3"
	Dovecot24 Version = "2.4"
)

// Options are the parameters that the configurations for all kinds of stores have in common.
type Options struct {
	Version Version // Of Dovecot. Postfix's configuration does not depend on it.
	Queue   string  // Postfix's queue directory, for sockets; "" for no sockets.
	Sieve   bool    // Mailboxes have Sieve scripts, which their users change over ManageSieve.
	Cache   bool    // Dovecot caches look-ups. Only for a host that tells Dovecot of changes.

	// Doveadm is the path of the socket on which Dovecot is told of changes, and DoveadmUser the only user that may
	// open it. Who opens it may give all commands of the program doveadm, with the rights of Dovecot's process. Without
	// a path there is no socket.
	Doveadm, DoveadmUser string
}

const (
	dovecotName      = "liveapi-dovecot.conf"
	dovecotQuotaName = "liveapi-dovecot-quota.lua"
	dovecotSQLName   = "liveapi-dovecot-sql.conf.ext"
	dovecotDictName  = "liveapi-dovecot-dict.conf.ext"
	dovecotManyName  = "liveapi-dovecot-door.conf.ext"
	postfixName      = "liveapi-postfix.cf"
)

//go:embed templates
var templates embed.FS

// render executes the template file name of a directory of templates with the given values.
func render(dir, name string, values any) (string, error) {
	name += ".tmpl"
	t := template.New(name).Funcs(template.FuncMap{"join": strings.Join})
	if _, err := t.ParseFS(templates, "templates/"+dir+"/common.tmpl", "templates/"+dir+"/"+name); err != nil {
		return "", fmt.Errorf("template %s/%s: %w", dir, name, err)
	}
	var b strings.Builder
	if err := t.Execute(&b, values); err != nil {
		return "", fmt.Errorf("template %s/%s: %w", dir, name, err)
	}
	return b.String(), nil
}

// dovecot executes a template for Dovecot's version.
func (o Options) dovecot(name string, values any) (string, error) {
	if o.Doveadm != "" {
		if err := checkPath("doveadm", o.Doveadm); err != nil {
			return "", err
		}
	}
	return render("dovecot-"+string(o.Version), name, values)
}

// postfix executes a template for Postfix.
func postfix(name string, values any) (string, error) { return render("postfix", name, values) }

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
