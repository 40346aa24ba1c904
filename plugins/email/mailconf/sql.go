package mailconf

import (
	"net"
	"net/url"

	"github.com/liveapid/liveapid/plugins/email/store/sqlstore"
)

// SQL contains the parameters of a configuration for a database store.
type SQL struct {
	Options
	Driver   sqlstore.Driver
	Database string // The database's address, in the form that sqlstore accepts.
	Dir      string // The directory where the generated files will be installed.
	Mail     string // The directory that contains the mail.
	Owner    string // The user that owns the mail.
	UID, GID int
	Mask     bool // Replace the database's password with asterisks.
}

// dovecotValues contains the values that Dovecot's templates use.
type dovecotValues struct {
	SQL
	Name, QueriesName, DictName string
	DovecotDriver, Connect      string
}

// Dovecot returns Dovecot's configuration for a database.
func (s SQL) Dovecot() ([]File, error) {
	if s.UID == 0 {
		return nil, errRoot
	}
	for name, path := range map[string]string{"mail": s.Mail, "the files' directory": s.Dir} {
		if err := checkPath(name, path); err != nil {
			return nil, err
		}
	}
	driver, connect, err := s.connect()
	if err != nil {
		return nil, err
	}
	values := dovecotValues{s, dovecotName, dovecotSQLName, dovecotDictName, driver, connect}
	files := []File{{Name: dovecotName}, {Name: dovecotSQLName, Secret: true}}
	names := []string{"sql", "sql-database"}
	if s.Version == Dovecot23 {
		files = append(files, File{Name: dovecotDictName, Secret: true, Group: "dovecot"})
		names = []string{"sql", "sql-queries", "sql-quota"}
	}
	for i, name := range names {
		if files[i].Text, err = s.dovecot(name, values); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// Postfix returns Postfix's configuration for a database.
func (s SQL) Postfix() ([]File, error) {
	if err := checkPath("the files' directory", s.Dir); err != nil {
		return nil, err
	}
	src, err := s.source()
	if err != nil {
		return nil, err
	}
	driver, goTo := "pgsql", "goto"
	if s.Driver == sqlstore.MariaDB {
		driver, goTo = "mysql", "`goto`"
	}
	main, err := postfix("sql", struct {
		SQL
		PostfixDriver string
	}{s, driver})
	if err != nil {
		return nil, err
	}
	files := []File{{Name: postfixName, Text: main}}
	for _, table := range []struct{ name, query string }{
		{"liveapi-postfix-domains.cf", "SELECT domain FROM domain WHERE domain = '%s' AND active = true"},
		{"liveapi-postfix-mailboxes.cf", "SELECT m.maildir FROM mailbox m LEFT JOIN liveapid_suspension s ON s.username = m.username WHERE m.username = '%s' AND m.active = true AND COALESCE(s.incoming, false) = false"},
		{"liveapi-postfix-hold.cf", "SELECT 'HOLD' FROM liveapid_suspension WHERE username = '%s' AND hold = true"},
		{"liveapi-postfix-aliases.cf", "SELECT " + goTo + " FROM alias WHERE address = '%s' AND active = true"},
	} {
		text := "hosts = " + postfixHosts(driver, src) + "\nuser = " + src.user + "\npassword = " + src.password +
			"\ndbname = " + src.name + "\nquery = " + table.query + "\n"
		files = append(files, File{Name: table.name, Secret: true, Text: text})
	}
	return files, nil
}

// postfixHosts returns the value of Postfix's parameter hosts for a database.
func postfixHosts(driver string, src source) string {
	hosts := src.host
	if src.port != "" {
		hosts = net.JoinHostPort(src.host, src.port)
	}
	if driver == "mysql" {
		if src.port == "" {
			return "unix:" + hosts
		}
		return hosts
	}
	// For PostgreSQL, Postfix needs a URI, because a host name without a URI can't include a port.
	query := make(url.Values)
	for name, value := range src.tls {
		query.Set(name, value)
	}
	return (&url.URL{Scheme: "postgresql", User: url.UserPassword(src.user, src.password), Host: hosts, Path: "/" + src.name, RawQuery: query.Encode()}).String()
}
