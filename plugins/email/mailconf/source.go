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
		if strings.ContainsAny(text, " \t\r\n#\"'\\") {
			return out, fmt.Errorf("database: the %s in the address can't be used in Dovecot's configuration, because it contains a space or one of # \" ' \\", what)
		}
	}
	return out, nil
}

// connect returns the name of Dovecot's database driver and the value of Dovecot's setting connect for the
// database.
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
