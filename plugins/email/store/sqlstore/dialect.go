package sqlstore

import (
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// Driver is a kind of database.
type Driver string

// The drivers.
const (
	PostgreSQL Driver = "postgresql"
	MariaDB    Driver = "mariadb"
)

// dialect is what differs between the drivers.
type dialect struct {
	mariadb bool
	// open checks an address, and sets what this package relies on.
	open func(dsn string) (*sql.DB, error)
	// rebind makes of ? what the driver takes.
	rebind func(query string) string
	// ignore ends an insert that is to do nothing where the row is there; insert begins it.
	insertIgnore, ignore string
	// suspend inserts or changes a row of suspensions.
	suspend string
	// duplicate, missing and later tell errors apart: a row that is there, a table or column that
	// is not, a change that another one was in the way of.
	duplicate, missing, later func(err error) bool
	schema                    []string
}

const dialTimeout = 5 * time.Second

func dialectOf(d Driver) (dialect, error) {
	switch d {
	case PostgreSQL:
		return postgres(), nil
	case MariaDB:
		return mariadb(), nil
	}
	return dialect{}, fmt.Errorf("sqlstore: %q is neither postgresql nor mariadb", d)
}

func postgres() dialect {
	code := func(codes ...string) func(error) bool {
		return func(err error) bool {
			var e *pgconn.PgError
			if !errors.As(err, &e) {
				return false
			}
			for _, c := range codes {
				if e.Code == c {
					return true
				}
			}
			return false
		}
	}
	return dialect{
		open: func(dsn string) (*sql.DB, error) {
			c, err := pgx.ParseConfig(dsn)
			if err != nil {
				return nil, errors.New("it is no address of a PostgreSQL database, such as postgres://user:password@host/name")
			}
			if c.ConnectTimeout == 0 {
				c.ConnectTimeout = dialTimeout
			}
			return stdlib.OpenDB(*c), nil
		},
		rebind: func(query string) string {
			var b strings.Builder
			n := 0
			for _, c := range query {
				if c == '?' {
					n++
					b.WriteString("$" + strconv.Itoa(n))
					continue
				}
				b.WriteRune(c)
			}
			return b.String()
		},
		insertIgnore: "INSERT INTO", ignore: " ON CONFLICT DO NOTHING",
		suspend: `INSERT INTO liveapid_suspension (username, incoming, outgoing, hold) VALUES (?, ?, ?, ?)
			ON CONFLICT (username) DO UPDATE SET incoming = excluded.incoming, outgoing = excluded.outgoing, hold = excluded.hold`,
		duplicate: code("23505"), missing: code("42P01", "42703"), later: code("40001", "40P01", "55P03"),
		schema: []string{
			`CREATE TABLE domain (
				domain varchar(255) PRIMARY KEY, description varchar(255) NOT NULL DEFAULT '', aliases integer NOT NULL DEFAULT 0,
				mailboxes integer NOT NULL DEFAULT 0, maxquota bigint NOT NULL DEFAULT 0, quota bigint NOT NULL DEFAULT 0,
				transport varchar(255) DEFAULT NULL, backupmx boolean NOT NULL DEFAULT false,
				created timestamp with time zone DEFAULT now(), modified timestamp with time zone DEFAULT now(),
				active boolean NOT NULL DEFAULT true, password_expiry integer DEFAULT 0)`,
			`CREATE TABLE mailbox (
				username varchar(255) PRIMARY KEY, password varchar(255) NOT NULL DEFAULT '', name varchar(255) NOT NULL DEFAULT '',
				maildir varchar(255) NOT NULL DEFAULT '', quota bigint NOT NULL DEFAULT 0, local_part varchar(255) NOT NULL,
				domain varchar(255) NOT NULL, created timestamp with time zone DEFAULT now(),
				modified timestamp with time zone DEFAULT now(), active boolean NOT NULL DEFAULT true,
				password_expiry timestamp with time zone DEFAULT now() + interval '100 years')`,
			`CREATE INDEX mailbox_domain_username ON mailbox (domain, username)`,
			`CREATE TABLE alias (
				address varchar(255) PRIMARY KEY, goto text NOT NULL, domain varchar(255) NOT NULL,
				created timestamp with time zone DEFAULT now(), modified timestamp with time zone DEFAULT now(),
				active boolean NOT NULL DEFAULT true)`,
			`CREATE INDEX alias_domain ON alias (domain)`,
			`CREATE TABLE quota2 (username varchar(255) PRIMARY KEY, bytes bigint NOT NULL DEFAULT 0, messages integer NOT NULL DEFAULT 0)`,
			`CREATE TABLE liveapid_suspension (
				username varchar(255) PRIMARY KEY, incoming boolean NOT NULL DEFAULT false,
				outgoing boolean NOT NULL DEFAULT false, hold boolean NOT NULL DEFAULT false)`,
		},
	}
}

func mariadb() dialect {
	number := func(numbers ...uint16) func(error) bool {
		return func(err error) bool {
			var e *mysql.MySQLError
			if !errors.As(err, &e) {
				return false
			}
			for _, n := range numbers {
				if e.Number == n {
					return true
				}
			}
			return false
		}
	}
	const options = ` DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin ENGINE=InnoDB`
	return dialect{
		mariadb: true,
		open: func(dsn string) (*sql.DB, error) {
			c, err := mysql.ParseDSN(dsn)
			if err != nil {
				return nil, errors.New("it is no address of a MariaDB database, such as user:password@tcp(host)/name")
			}
			// A change that changes nothing is one all the same; parameters stay parameters.
			c.ClientFoundRows, c.InterpolateParams, c.MultiStatements = true, false, false
			if c.Timeout == 0 {
				c.Timeout = dialTimeout
			}
			c.Logger = silent{}
			connector, err := mysql.NewConnector(c)
			if err != nil {
				return nil, errors.New("the database's address can't be used")
			}
			return sql.OpenDB(connector), nil
		},
		rebind:       func(query string) string { return query },
		insertIgnore: "INSERT IGNORE INTO",
		suspend: `INSERT INTO liveapid_suspension (username, incoming, outgoing, hold) VALUES (?, ?, ?, ?)
			ON DUPLICATE KEY UPDATE incoming = VALUES(incoming), outgoing = VALUES(outgoing), hold = VALUES(hold)`,
		duplicate: number(1062), missing: number(1146, 1054), later: number(1205, 1213),
		schema: []string{
			`CREATE TABLE domain (
				domain varchar(255) NOT NULL PRIMARY KEY, description varchar(255) NOT NULL DEFAULT '', aliases int NOT NULL DEFAULT 0,
				mailboxes int NOT NULL DEFAULT 0, maxquota bigint NOT NULL DEFAULT 0, quota bigint NOT NULL DEFAULT 0,
				transport varchar(255) DEFAULT NULL, backupmx tinyint(1) NOT NULL DEFAULT 0,
				created datetime NOT NULL DEFAULT current_timestamp(), modified datetime NOT NULL DEFAULT current_timestamp(),
				active tinyint(1) NOT NULL DEFAULT 1, password_expiry int DEFAULT 0)` + options,
			`CREATE TABLE mailbox (
				username varchar(255) NOT NULL PRIMARY KEY, password varchar(255) NOT NULL DEFAULT '', name varchar(255) NOT NULL DEFAULT '',
				maildir varchar(255) NOT NULL DEFAULT '', quota bigint NOT NULL DEFAULT 0, local_part varchar(255) NOT NULL,
				domain varchar(255) NOT NULL, created datetime NOT NULL DEFAULT current_timestamp(),
				modified datetime NOT NULL DEFAULT current_timestamp(), active tinyint(1) NOT NULL DEFAULT 1,
				password_expiry datetime NOT NULL DEFAULT '2099-12-31 00:00:00', KEY domain (domain))` + options,
			"CREATE TABLE alias (address varchar(255) NOT NULL PRIMARY KEY, `goto` text NOT NULL, domain varchar(255) NOT NULL," +
				` created datetime NOT NULL DEFAULT current_timestamp(), modified datetime NOT NULL DEFAULT current_timestamp(),
				active tinyint(1) NOT NULL DEFAULT 1, KEY domain (domain))` + options,
			`CREATE TABLE quota2 (username varchar(255) NOT NULL PRIMARY KEY, bytes bigint NOT NULL DEFAULT 0, messages int NOT NULL DEFAULT 0)` + options,
			`CREATE TABLE liveapid_suspension (
				username varchar(255) NOT NULL PRIMARY KEY, incoming tinyint(1) NOT NULL DEFAULT 0,
				outgoing tinyint(1) NOT NULL DEFAULT 0, hold tinyint(1) NOT NULL DEFAULT 0)` + options,
		},
	}
}

// silent keeps the driver from writing to standard error; what goes wrong is in its errors.
type silent struct{}

// Print implements mysql.Logger.
func (silent) Print(...any) {}
