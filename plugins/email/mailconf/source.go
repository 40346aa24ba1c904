package mailconf

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/liveapid/liveapid/plugins/email/store/sqlstore"
)

// source contains the parts of a database's address (DSN).
type source struct {
	host, port, user, password, name string
	tls                              map[string]string // TLS options, with libpq's names.
}

// sslOptions returns the TLS options in a PostgreSQL address that can be converted to Dovecot's and Postfix's
// configuration. It returns an error if the address contains a TLS option that can't be converted, because
// ignoring the option could weaken the connection without a warning.
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
			return nil, fmt.Errorf("database: the option %s can't be converted to Dovecot's and Postfix's configuration; write the configuration files by hand", name)
		}
	}
	return tls, nil
}

func (s SQL) source() (source, error) {
	var out source
	if s.Driver == sqlstore.MariaDB {
		c, err := mysql.ParseDSN(s.Database)
		if err != nil {
			return out, errors.New("database: the value is not a valid address of a MariaDB database")
		}
		if c.TLSConfig != "" {
			return out, errors.New("database: the option tls can't be converted to Dovecot's and Postfix's configuration; write the configuration files by hand")
		}
		out = source{host: c.Addr, user: c.User, password: c.Passwd, name: c.DBName}
		if c.Net == "tcp" {
			if out.host, out.port, err = net.SplitHostPort(c.Addr); err != nil {
				return out, errors.New("database: the host or the port is missing in the address")
			}
		}
	} else {
		c, err := pgx.ParseConfig(s.Database)
		if err != nil {
			return out, errors.New("database: the value is not a valid address of a PostgreSQL database")
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
		// In Dovecot 2.4, these are variables and the names of files.
		if s.Version == Dovecot24 && (strings.Contains(text, "%{") || strings.HasPrefix(text, "<") || strings.HasPrefix(text, "$")) {
			return out, fmt.Errorf("database: the %s in the address can't be used in Dovecot's configuration, because it begins with < or $, or contains %%{", what)
		}
		if strings.ContainsAny(text, " \t\r\n#\"'\\") {
			return out, fmt.Errorf("database: the %s in the address can't be used in Dovecot's configuration, because it contains a space or one of # \" ' \\", what)
		}
	}
	return out, nil
}

// connect returns the name of Dovecot's database driver, and the settings with which Dovecot connects to the database.
func (s SQL) connect() (driver, lines string, err error) {
	src, err := s.source()
	if err != nil {
		return "", "", err
	}
	driver = "pgsql"
	if s.Driver == sqlstore.MariaDB {
		driver = "mysql"
	}
	options := []option{{"port", src.port}, {"dbname", src.name}, {"user", src.user}, {"password", src.password}}
	for _, name := range []string{"sslmode", "sslrootcert"} {
		options = append(options, option{name, src.tls[name]})
	}
	options = slices.DeleteFunc(options, func(o option) bool { return o.value == "" })
	if s.Version == Dovecot23 {
		return driver, connectLine(src.host, options), nil
	}
	return driver, connectBlock(driver, src.host, options), nil
}

// option is a parameter of a connection to a database.
type option struct{ name, value string }

// connectLine returns the setting connect of Dovecot 2.3.
func connectLine(host string, options []option) string {
	line := "connect = host=" + host
	for _, o := range options {
		line += " " + o.name + "=" + o.value
	}
	return line + "\n"
}

// connectBlock returns the block of a server of Dovecot 2.4. Each name is a setting of Dovecot for MariaDB, and a
// parameter of PostgreSQL's library otherwise.
func connectBlock(driver, host string, options []option) string {
	block := driver + " " + host + " {\n"
	indent := "  "
	if driver == "pgsql" {
		block += "  parameters {\n"
		indent = "    "
	}
	for _, o := range options {
		block += indent + o.name + " = " + o.value + "\n"
	}
	if driver == "pgsql" {
		block += "  }\n"
	}
	return block + "}\n"
}
