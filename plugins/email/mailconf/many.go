package mailconf

import (
	"path/filepath"
	"strings"
)

// Many contains the parameters of a configuration for many accounts with the file store. Dovecot asks the
// host about each mailbox, and does not read any file that an account can write.
type Many struct {
	Options
	Socket  string   // The socket of the host's mail_door.
	Dir     string   // The directory where the generated files will be installed.
	Domains []string // The domains of all accounts.
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
		Name, DictName, SocketDir string
	}{m, dovecotName, dovecotManyName, filepath.Dir(m.Socket)}
	main, err := m.dovecot("many", values)
	if err != nil {
		return nil, err
	}
	files := []File{{Name: dovecotName, Text: main}}
	if m.Version == Dovecot23 {
		dict, err := m.dovecot("many-door", values)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Name: dovecotManyName, Text: dict})
	}
	return files, nil
}

// Postfix returns Postfix's configuration with the current domains of all accounts.
func (m Many) Postfix() ([]File, error) {
	return Files{Account: "all", Domains: m.Domains}.Postfix()
}
