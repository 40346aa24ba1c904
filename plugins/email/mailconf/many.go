package mailconf

import "strings"

// Many are the parameters of a configuration for the store of files of many accounts: Dovecot asks
// the host, and reads nothing that an account wrote.
type Many struct {
	Socket  string   // The host's mail_door.
	Dir     string   // Where the files will lie.
	Domains []string // Of all accounts.
	Queue   string   // Postfix's queue directory; "" makes no sockets for it.
}

const dovecotManyName = "liveapi-dovecot-door.conf.ext"

// Dovecot returns the configuration.
func (m Many) Dovecot() ([]File, error) {
	for name, path := range map[string]string{"mail_door": m.Socket, "the files' folder": m.Dir} {
		if err := checkPath(name, path); err != nil {
			return nil, err
		}
	}
	if strings.Contains(m.Socket, ":") {
		return nil, errColon
	}
	return []File{
		{Name: dovecotName, Text: `# Dovecot 2.3 for the mailboxes of many accounts, written by liveapi dovecot.
# In dovecot.conf: !include ` + dovecotName + `
protocols = imap lmtp
mail_location = maildir:~/
` + names + `mail_plugins = $mail_plugins quota
protocol imap {
  mail_plugins = $mail_plugins imap_quota
}
plugin {
  quota = maildir:Mailbox
}
# Each asks one thing at a time; the host takes 64 at once.
auth_worker_max_count = 60
# The host says which mailboxes there are, and as whom their mail is read.
passdb {
  driver = dict
  args = ` + m.Dir + `/` + dovecotManyName + `
}
userdb {
  driver = dict
  args = ` + m.Dir + `/` + dovecotManyName + `
}
` + listeners(m.Queue)},
		{Name: dovecotManyName, Text: `# Written by liveapi dovecot: where Dovecot asks for mailboxes.
uri = proxy:` + m.Socket + `:liveapi
key passdb {
  key = passdb/%s/%u
  format = json
}
key userdb {
  key = userdb/%s/%u
  format = json
}
passdb_objects = passdb
userdb_objects = userdb
default_pass_scheme = CRYPT
`},
	}, nil
}

// Postfix returns the configuration: the domains are those of today's accounts.
func (m Many) Postfix() ([]File, error) {
	return Files{Account: "all", Domains: m.Domains}.Postfix()
}
