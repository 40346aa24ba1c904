package sqlstore

import (
	"database/sql"
	_ "embed" // Embeds the schemas.
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

// Driver is the name of a kind of database.
type Driver string

// The supported kinds of databases.
const (
	PostgreSQL Driver = "postgresql"
	MariaDB    Driver = "mariadb"
)

// dialect contains what differs between the drivers.
type dialect struct {
	mariadb bool
	// open parses a database's address and sets the connection options that this package depends on.
	open func(dsn string) (*sql.DB, error)
	// rebind replaces each ? in a query by the driver's placeholder.
	rebind func(query string) string
	// insertIgnore and ignore are the beginning and the end of an INSERT statement. With both, the statement
	// does nothing if the row already exists.
	insertIgnore, ignore string
	// suspend is a statement that inserts or updates a row of liveapid_suspension.
	suspend string
	// exact returns an expression that compares texts byte by byte, exactLower the same for a text in lower case, and
	// matches a condition that a text matches a pattern.
	exact, exactLower func(text string) string
	matches           func(text, pattern string) string
	// mixed reports whether an error means that columns with different collations were compared.
	mixed func(err error) bool
	// duplicate, missing and later report whether an error of the driver means that a row already exists
	// (duplicate), that a table or column does not exist (missing), or that the transaction conflicts with
	// another and may succeed when it is repeated (later).
	duplicate, missing, later func(err error) bool
	schema                    []string
}

//go:embed schema/postgresql.sql
var postgresSchema string

//go:embed schema/mariadb.sql
var mariadbSchema string

// statements splits a schema file into its statements and removes the comments.
func statements(text string) (out []string) {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "--") || strings.TrimSpace(line) == "" {
			continue
		}
		if end, ok := strings.CutSuffix(line, ";\n"); ok {
			out = append(out, b.String()+end)
			b.Reset()
			continue
		}
		b.WriteString(line)
	}
	return out
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
				return nil, errors.New("not a valid address of a PostgreSQL database; an example is postgres://user:password@host/name")
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
		exact:      func(text string) string { return "(" + text + ` COLLATE "C")` },
		exactLower: func(text string) string { return "LOWER(" + text + ` COLLATE "C")` },
		matches:    func(text, pattern string) string { return text + " ~ '" + pattern + "'" },
		mixed:      code("42P21", "42P22"),
		duplicate:  code("23505"), missing: code("42P01", "42703"), later: code("40001", "40P01", "55P03"),
		schema: statements(postgresSchema),
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
	return dialect{
		mariadb: true,
		open: func(dsn string) (*sql.DB, error) {
			c, err := mysql.ParseDSN(dsn)
			if err != nil {
				return nil, errors.New("not a valid address of a MariaDB database; an example is user:password@tcp(host)/name")
			}
			// With ClientFoundRows, the result of an UPDATE also counts rows that already contain the new
			// values, so that 0 means that the mailbox does not exist. InterpolateParams is off so that
			// parameters never become part of the text of a query.
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
		exact:      func(text string) string { return "CAST(" + text + " AS BINARY)" },
		exactLower: func(text string) string { return "CAST(LOWER(" + text + ") AS BINARY)" },
		matches:    func(text, pattern string) string { return text + " REGEXP '(?-m)" + pattern + "'" },
		mixed:      number(1267, 1271),
		duplicate:  number(1062), missing: number(1146, 1054), later: number(1205, 1213),
		schema: statements(mariadbSchema),
	}
}

// silent is a logger that discards the MySQL driver's log messages, which would otherwise go to standard
// error. The errors that the driver returns contain the same information.
type silent struct{}

// Print implements mysql.Logger.
func (silent) Print(...any) {}
