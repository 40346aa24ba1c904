package mailconf

import "strings"

// Many contains the parameters of a configuration for many accounts with the file store. Dovecot asks the
// host about each mailbox, and does not read any file that an account can write.
type Many struct {
	Socket  string   // The socket of the host's mail_door.
	Dir     string   // The directory where the generated files will be installed.
	Domains []string // The domains of all accounts.
	Queue   string   // Postfix's queue directory, for sockets; "" for no sockets.
}

// Dovecot returns Dovecot's configuration for all accounts.
func (m Many) Dovecot() ([]File, error) {
	for name, path := range map[string]string{"mail_door": m.Socket, "the files' directory": m.Dir} {
		if err := checkPath(name, path); err != nil {
			return nil, err
		}
	}
	if strings.Contains(m.Socket, ":") {
		return nil, errColon
	}
	values := struct {
		Many
		Name, DictName string
	}{m, dovecotName, dovecotManyName}
	main, err := render("many-dovecot.conf.tmpl", values)
	if err != nil {
		return nil, err
	}
	dict, err := render("many-dovecot-dict.conf.tmpl", values)
	return []File{{Name: dovecotName, Text: main}, {Name: dovecotManyName, Text: dict}}, err
}

// Postfix returns Postfix's configuration with the current domains of all accounts.
func (m Many) Postfix() ([]File, error) {
	return Files{Account: "all", Domains: m.Domains}.Postfix()
}
