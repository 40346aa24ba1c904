// Package mailconf writes the configuration with which Dovecot 2.3 and Postfix serve the
// mailboxes of a store. It writes text and reads nothing.
package mailconf

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore"
)

// File is one file of a configuration. Secret ones hold a password.
type File struct {
	Name, Text string
	Secret     bool
	Group      string // A group that reads a secret one; "" is none.
}

// Files are the parameters of a configuration for the store of files of one account.
type Files struct {
	Account  string
	Home     string
	User     string // The system user that owns the mail.
	UID, GID int
	Domains  []string
	Queue    string // Postfix's queue directory, for the sockets between the two; "" makes none.
}

// SQL are the parameters of a configuration for a database.
type SQL struct {
	Driver   sqlstore.Driver
	Database string // Its address, as sqlstore takes it.
	Dir      string // Where the files will lie.
	Mail     string // The folder of the mail.
	Owner    string // The user whose the mail is.
	UID, GID int
	Queue    string
	Mask     bool // Show the database's password as stars.
}

const (
	dovecotName    = "liveapi-dovecot.conf"
	dovecotSQLName = "liveapi-dovecot-sql.conf.ext"
	dovecotDict    = "liveapi-dovecot-dict.conf.ext"
	postfixName    = "liveapi-postfix.cf"
)

// listeners are the sockets that Postfix uses: in its queue directory, where a chrooted one can
// reach them.
func listeners(queue string) string {
	if queue == "" {
		return ""
	}
	return `service lmtp {
  unix_listener ` + queue + `/private/dovecot-lmtp {
    mode = 0600
    user = postfix
    group = postfix
  }
}
service auth {
  unix_listener ` + queue + `/private/auth {
    mode = 0660
    user = postfix
    group = postfix
  }
}
`
}

// names are the mailboxes' names that a store takes, and none of them is a part of another's.
const names = `auth_username_chars = abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_@+=&~
recipient_delimiter =
`

func firstUID(uid int) string {
	if uid >= 500 {
		return ""
	}
	return "first_valid_uid = " + strconv.Itoa(uid) + "\n"
}

// checkPath refuses what would not stay one word of a configuration.
func checkPath(name, path string) error {
	if path == "" || strings.ContainsAny(path, " \t\r\n#%$\"'{}\\") {
		return fmt.Errorf("%s: %q can't stand in Dovecot's configuration; it may hold no spaces and none of # %% $ \" ' { } \\", name, path)
	}
	return nil
}

var errColon = errors.New("mail_door: its path may hold no colon, which ends it in Dovecot's configuration")

var errRoot = errors.New("the mail belongs to root, and Dovecot reads no mail as root; serve the account as a user of its own")

// Dovecot returns the configuration for an account's files.
//
// The account can write the file with the hashes, and with it everything that Dovecot takes from
// there: names of users, settings, plugins to load. So what reads that file and what serves a
// user runs as the account's own user from its start, never as root; uid, gid and home are set
// here, and so are the fields that would make one user another.
func (f Files) Dovecot() ([]File, error) {
	if f.UID == 0 {
		return nil, errRoot
	}
	for name, path := range map[string]string{"home": f.Home, "user": f.User} {
		if err := checkPath(name, path); err != nil {
			return nil, err
		}
	}
	etc := f.Home + "/etc/%d/"
	return []File{{Name: dovecotName, Text: `# Dovecot 2.3 for the mailboxes of the account ` + f.Account + `, written by liveapi dovecot.
# In dovecot.conf: !include ` + dovecotName + `
# This Dovecot serves this account alone: what the account writes must not run as another.
protocols = imap lmtp
mail_location = maildir:~/
` + names + firstUID(f.UID) + `mail_plugins = $mail_plugins quota
protocol imap {
  mail_plugins = $mail_plugins imap_quota
}
plugin {
  # The limits are those that the store writes into the mailboxes.
  quota = maildir:Mailbox
}

# Mail to a mailbox in suspended_incoming is refused; so is sending by one in
# suspended_outgoing. Before the other passdb.
protocol lmtp {
  passdb {
    driver = passwd-file
    deny = yes
    args = username_format=%n ` + etc + `suspended_incoming
  }
}
protocol smtp {
  passdb {
    driver = passwd-file
    deny = yes
    args = username_format=%n ` + etc + `suspended_outgoing
  }
}
passdb {
  driver = passwd-file
  args = scheme=CRYPT username_format=%n ` + etc + `shadow
  # The account writes this file: it must not make one user another, nor name plugins to load.
  override_fields = user=%{orig_user} login_user=%{orig_user} userdb_mail_plugin_dir=/usr/lib/dovecot/modules userdb_mail=maildir:~/
}
userdb {
  driver = static
  args = uid=` + strconv.Itoa(f.UID) + ` gid=` + strconv.Itoa(f.GID) + ` home=` + f.Home + `/mail/%d/%n
}
service auth {
  user = ` + f.User + `
}
service imap {
  user = ` + f.User + `
}
service lmtp {
  user = ` + f.User + `
}
service indexer-worker {
  user = ` + f.User + `
}
` + listeners(f.Queue)}}, nil
}

// Postfix returns the configuration for an account's files. Postfix reads none of them: Dovecot
// says which mailboxes there are, and refuses those that get no mail.
func (f Files) Postfix() ([]File, error) {
	for _, d := range f.Domains {
		// Postfix reads a list of other things, too: names of files and tables, patterns, exceptions.
		if err := store.CheckDomain(d); err != nil {
			return nil, fmt.Errorf("domain %.80q %w, and can't stand in Postfix's list of domains", d, err)
		}
	}
	return []File{{Name: postfixName, Text: `# Postfix for the mailboxes of the account ` + f.Account + `, written by liveapi postfix: for main.cf.
virtual_mailbox_domains = ` + strings.Join(f.Domains, " ") + `
` + postfixCommon + `# Dovecot knows the mailboxes, and which of them get no mail.
smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination, reject_unverified_recipient
unverified_recipient_reject_code = 550
unverified_recipient_reject_reason = No such mailbox, or it gets no mail
`}}, nil
}

const postfixCommon = `virtual_transport = lmtp:unix:private/dovecot-lmtp
# One who may not send is no user to Dovecot here.
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_sasl_auth_enable = yes
`

// source is a database's address in parts.
type source struct {
	host, port, user, password, name string
	tls                              map[string]string // libpq's options.
}

// sslOptions returns the options of a PostgreSQL address that are about TLS, which must not get
// lost on the way; with others it may not know, it would.
func sslOptions(dsn string) (map[string]string, error) {
	given := make(map[string]string)
	if u, err := url.Parse(dsn); err == nil && strings.HasPrefix(u.Scheme, "postgres") {
		for name, values := range u.Query() {
			given[name] = values[0]
		}
	} else {
		for _, word := range strings.Fields(dsn) {
			if name, value, ok := strings.Cut(word, "="); ok {
				given[name] = strings.Trim(value, "'")
			}
		}
	}
	tls := make(map[string]string)
	for name, value := range given {
		switch name {
		case "sslmode", "sslrootcert":
			if err := checkPath("database: "+name, value); err != nil {
				return nil, err
			}
			tls[name] = value
		case "sslcert", "sslkey", "sslpassword", "sslsni", "sslnegotiation", "sslcrl":
			return nil, fmt.Errorf("database: its option %s can't be put into Dovecot's and Postfix's configuration; write that by hand", name)
		}
	}
	return tls, nil
}

func (s SQL) source() (source, error) {
	var out source
	if s.Driver == sqlstore.MariaDB {
		c, err := mysql.ParseDSN(s.Database)
		if err != nil {
			return out, errors.New("database: it is no address of a MariaDB database")
		}
		if c.TLSConfig != "" {
			return out, errors.New("database: its option tls can't be put into Dovecot's and Postfix's configuration; write that by hand")
		}
		out = source{host: c.Addr, user: c.User, password: c.Passwd, name: c.DBName}
		if c.Net == "tcp" {
			if out.host, out.port, err = net.SplitHostPort(c.Addr); err != nil {
				return out, errors.New("database: its address has no host and port")
			}
		}
	} else {
		c, err := pgx.ParseConfig(s.Database)
		if err != nil {
			return out, errors.New("database: it is no address of a PostgreSQL database")
		}
		tls, err := sslOptions(s.Database)
		if err != nil {
			return out, err
		}
		out = source{tls: tls, host: c.Host, port: strconv.Itoa(int(c.Port)), user: c.User, password: c.Password, name: c.Database}
	}
	if s.Mask && out.password != "" {
		out.password = "*****"
	}
	for what, text := range map[string]string{"host": out.host, "user": out.user, "password": out.password, "name": out.name} {
		if strings.ContainsAny(text, " \t\r\n#\"'\\") {
			return out, fmt.Errorf("database: its %s can't stand in Dovecot's configuration: it may hold no spaces and none of # \" ' \\", what)
		}
	}
	return out, nil
}

// connect is Dovecot's line for the database.
func (s SQL) connect() (driver, line string, err error) {
	src, err := s.source()
	if err != nil {
		return "", "", err
	}
	words := []string{"host=" + src.host}
	if src.port != "" {
		words = append(words, "port="+src.port)
	}
	words = append(words, "dbname="+src.name, "user="+src.user)
	if src.password != "" {
		words = append(words, "password="+src.password)
	}
	for _, name := range []string{"sslmode", "sslrootcert"} {
		if value := src.tls[name]; value != "" {
			words = append(words, name+"="+value)
		}
	}
	driver = "pgsql"
	if s.Driver == sqlstore.MariaDB {
		driver = "mysql"
	}
	return driver, "connect = " + strings.Join(words, " ") + "\n", nil
}

// isNot is a condition on a column that may be NULL, in both databases.
func isNot(column string) string { return "COALESCE(" + column + ", false) = false" }

// Dovecot returns the configuration for a database.
func (s SQL) Dovecot() ([]File, error) {
	if s.UID == 0 {
		return nil, errRoot
	}
	for name, path := range map[string]string{"mail": s.Mail, "the files' folder": s.Dir} {
		if err := checkPath(name, path); err != nil {
			return nil, err
		}
	}
	driver, connect, err := s.connect()
	if err != nil {
		return nil, err
	}
	from := `FROM mailbox m LEFT JOIN liveapid_suspension s ON s.username = m.username WHERE m.username = '%u' AND m.active = true`
	return []File{
		{Name: dovecotName, Text: `# Dovecot 2.3 for the mailboxes of a database, written by liveapi dovecot.
# In dovecot.conf: !include ` + dovecotName + `
protocols = imap lmtp
mail_location = maildir:~/
` + names + firstUID(s.UID) + `mail_plugins = $mail_plugins quota quota_clone
protocol imap {
  mail_plugins = $mail_plugins imap_quota
}
plugin {
  quota = maildir:Mailbox
  # So that the table quota2 has what mailboxes hold.
  quota_clone_dict = proxy::liveapi_quota
}
dict {
  liveapi_quota = ` + driver + `:` + s.Dir + `/` + dovecotDict + `
}
passdb {
  driver = sql
  args = ` + s.Dir + `/` + dovecotSQLName + `
}
userdb {
  driver = sql
  args = ` + s.Dir + `/` + dovecotSQLName + `
}
service dict {
  unix_listener dict {
    mode = 0600
    user = ` + s.Owner + `
  }
}
` + listeners(s.Queue)},
		{Name: dovecotSQLName, Secret: true, Text: `# Written by liveapi dovecot. It holds the database's password: mode 0600, root's.
driver = ` + driver + `
` + connect + `default_pass_scheme = CRYPT
# One who may not send is no user to the mail server's login.
password_query = SELECT m.username AS user, m.password AS password ` + from + ` AND ('%s' NOT IN ('smtp', 'submission') OR ` + isNot("s.outgoing") + `)
# One who gets no mail is no user to delivery.
user_query = SELECT '` + s.Mail + `/%d/%n' AS home, ` + strconv.Itoa(s.UID) + ` AS uid, ` + strconv.Itoa(s.GID) + ` AS gid, CONCAT('*:bytes=', m.quota) AS quota_rule ` + from + ` AND ('%s' <> 'lmtp' OR ` + isNot("s.incoming") + `)
iterate_query = SELECT username AS user FROM mailbox WHERE active = true
`},
		{Name: dovecotDict, Secret: true, Group: "dovecot", Text: connect + `map {
  pattern = priv/quota/storage
  table = quota2
  username_field = username
  value_field = bytes
}
map {
  pattern = priv/quota/messages
  table = quota2
  username_field = username
  value_field = messages
}
`},
	}, nil
}

// Postfix returns the configuration for a database.
func (s SQL) Postfix() ([]File, error) {
	if err := checkPath("the files' folder", s.Dir); err != nil {
		return nil, err
	}
	src, err := s.source()
	if err != nil {
		return nil, err
	}
	kind := "pgsql"
	if s.Driver == sqlstore.MariaDB {
		kind = "mysql"
	}
	hosts := src.host
	if src.port != "" {
		hosts = net.JoinHostPort(src.host, src.port)
	}
	if kind == "pgsql" {
		// A URI, since a host alone can't name a port.
		query := make(url.Values)
		for name, value := range src.tls {
			query.Set(name, value)
		}
		hosts = (&url.URL{Scheme: "postgresql", User: url.UserPassword(src.user, src.password), Host: hosts, Path: "/" + src.name, RawQuery: query.Encode()}).String()
	} else if src.port == "" {
		hosts = "unix:" + hosts
	}
	table := func(name, query string) File {
		return File{Name: name, Secret: true, Text: "hosts = " + hosts + "\nuser = " + src.user + "\npassword = " + src.password +
			"\ndbname = " + src.name + "\nquery = " + query + "\n"}
	}
	goTo := "goto"
	if kind == "mysql" {
		goTo = "`goto`"
	}
	path := kind + ":" + s.Dir + "/"
	return []File{
		{Name: postfixName, Text: `# Postfix for the mailboxes of a database, written by liveapi postfix: for main.cf.
virtual_mailbox_domains = ` + path + `liveapi-postfix-domains.cf
virtual_mailbox_maps = ` + path + `liveapi-postfix-mailboxes.cf
virtual_alias_maps = ` + path + `liveapi-postfix-aliases.cf
` + postfixCommon + `smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
# What a mailbox of hold_outgoing sends stays in the queue.
smtpd_sender_restrictions = check_sender_access ` + path + `liveapi-postfix-hold.cf
`},
		table("liveapi-postfix-domains.cf", "SELECT domain FROM domain WHERE domain = '%s' AND active = true"),
		table("liveapi-postfix-mailboxes.cf", "SELECT m.maildir FROM mailbox m LEFT JOIN liveapid_suspension s ON s.username = m.username WHERE m.username = '%s' AND m.active = true AND "+isNot("s.incoming")),
		table("liveapi-postfix-hold.cf", "SELECT 'HOLD' FROM liveapid_suspension WHERE username = '%s' AND hold = true"),
		table("liveapi-postfix-aliases.cf", "SELECT "+goTo+" FROM alias WHERE address = '%s' AND active = true"),
	}, nil
}
