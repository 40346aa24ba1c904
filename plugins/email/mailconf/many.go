package mailconf

import "strings"

// Many are the parameters of a configuration for the store of files of many accounts. Dovecot asks the host
// for each mailbox, and reads no file that an account can write.
type Many struct {
	Socket  string   // The host's mail_door.
	Dir     string   // The directory for the files.
	Domains []string // Of all accounts.
	Queue   string   // Postfix's queue directory; "" makes no sockets for it.
}

// Dovecot returns the configuration.
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

// Postfix returns the configuration with the domains of today's accounts.
func (m Many) Postfix() ([]File, error) {
	return Files{Account: "all", Domains: m.Domains}.Postfix()
}
