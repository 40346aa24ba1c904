package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/liveapid/liveapid/plugins/email/store"
)

const (
	// DefaultPool is the default maximum number of connections of a store.
	DefaultPool = 4
	// idleTime is the maximum time that an idle connection stays open. It is short, so that a host with many
	// accounts does not keep connections that it does not use.
	idleTime = 30 * time.Second
	lifetime = 10 * time.Minute
	// tries is the maximum number of attempts to make a change that conflicts with other transactions.
	tries = 5
)

// Store is the store in a database. Its methods may be called concurrently, and all accounts may share one
// Store.
type Store struct {
	db *sql.DB
	d  dialect
}

var _ store.Store = (*Store)(nil)

// Open returns the store in the database with the address dsn. It does not connect to the database yet. pool
// is the maximum number of connections; 0 means DefaultPool.
func Open(d Driver, dsn string, pool int) (*Store, error) {
	dialect, err := dialectOf(d)
	if err != nil {
		return nil, err
	}
	db, err := dialect.open(dsn)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: %w", err)
	}
	if pool <= 0 {
		pool = DefaultPool
	}
	db.SetMaxOpenConns(pool)
	db.SetMaxIdleConns(pool)
	db.SetConnMaxIdleTime(idleTime)
	db.SetConnMaxLifetime(lifetime)
	return &Store{db: db, d: dialect}, nil
}

// Close closes all connections to the database.
func (s *Store) Close() error { return s.db.Close() }

// LeavesMail returns true: Delete does not remove the mail, because the mail is on the mail server. If
// LeavesMail returns true, the Email module adds a warning to the answer of a deletion.
func (s *Store) LeavesMail() bool { return true }

// classify wraps an error of the driver in the matching error of package store, if there is one. op describes
// the operation that failed.
func (s *Store) classify(op string, err error) error {
	var network net.Error
	var connect *pgconn.ConnectError
	switch {
	case err == nil, store.Known(err):
		return err
	case s.d.missing(err):
		return fmt.Errorf("%w: a table or column is missing (run liveapi store check): %s: %w", store.ErrUnsafe, op, err)
	case s.d.later(err):
		return fmt.Errorf("%w: %s: %w", store.ErrBusy, op, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled),
		errors.Is(err, driver.ErrBadConn), errors.Is(err, mysql.ErrInvalidConn), errors.Is(err, sql.ErrConnDone),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.As(err, &network), errors.As(err, &connect), pgconn.SafeToRetry(err), isShutdown(err):
		return fmt.Errorf("%w: %s: %w", store.ErrAway, op, clean(err))
	}
	return fmt.Errorf("%s: %w", op, clean(err))
}

// isShutdown reports whether err means that the database server is starting or shutting down, has closed the
// connection, or accepts no more connections.
func isShutdown(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return strings.HasPrefix(pg.Code, "57P") || strings.HasPrefix(pg.Code, "08") || pg.Code == "53300"
	}
	var my *mysql.MySQLError
	return errors.As(err, &my) && (my.Number == 1040 || my.Number == 1053 || my.Number == 1927)
}

// clean replaces the error that a driver returns if it can't connect, because that error may quote the
// database's address, which contains the password. It returns other errors unchanged.
func clean(err error) error {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return errors.New("the database can't be reached or rejects the login")
	}
	return err
}

// change runs work in a transaction. If the transaction conflicts with another transaction, change repeats
// it; it runs work at most tries times.
func (s *Store) change(ctx context.Context, op string, work func(tx *sql.Tx) error) error {
	for try := 1; ; try++ {
		err := s.transact(ctx, op, work)
		if !s.d.later(err) || try == tries {
			return s.classify(op, err)
		}
		select {
		case <-ctx.Done():
			return s.classify(op, err)
		case <-time.After(time.Duration(try*try) * 5 * time.Millisecond):
		}
	}
}

func (s *Store) transact(ctx context.Context, op string, work func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := work(tx); err != nil {
		_ = tx.Rollback()
		return err
	}
	if err := tx.Commit(); err != nil {
		if s.d.later(err) {
			return err
		}
		return fmt.Errorf("%w: %s: commit: %w", store.ErrUnknown, op, clean(err))
	}
	return nil
}

func (s *Store) exec(ctx context.Context, tx *sql.Tx, query string, args ...any) (int64, error) {
	result, err := tx.ExecContext(ctx, s.d.rebind(query), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// row contains the columns of a mailbox, as read from the database.
type row struct {
	username, password       string
	quota                    int64
	active                   bool
	incoming, outgoing, hold sql.NullBool
}

const columns = `m.username, m.password, m.quota, m.active, s.incoming, s.outgoing, s.hold
	FROM mailbox m LEFT JOIN liveapid_suspension s ON s.username = m.username`

func (r *row) scan(scan func(...any) error) error {
	return scan(&r.username, &r.password, &r.quota, &r.active, &r.incoming, &r.outgoing, &r.hold)
}

// entry returns the mailbox of the row. ok is false if no API call could name it.
func (r *row) entry() (e store.Entry, ok bool) {
	at := strings.LastIndexByte(r.username, '@')
	if at < 0 {
		return e, false
	}
	a, err := store.NewAddress(r.username[:at], r.username[at+1:])
	if err != nil || a.String() != r.username {
		return e, false
	}
	e.Mailbox = store.Mailbox{Address: a, Quota: r.quota}
	if r.quota < 0 {
		e.Quota, e.BadQuota = 0, strconv.FormatInt(r.quota, 10)
	}
	e.Suspended, e.Hash = store.ParseField(r.password)
	for flag, on := range map[store.Suspension]bool{
		store.Login: !r.active, store.Incoming: r.incoming.Bool || !r.active, store.Outgoing: r.outgoing.Bool, store.Hold: r.hold.Bool,
	} {
		if on {
			e.Suspended |= flag
		}
	}
	return e, true
}

// find reads the row of a mailbox. If lock is set, the row stays locked until the transaction ends.
func (s *Store) find(ctx context.Context, q interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}, box store.Address, lock bool) (row, error) {
	query := "SELECT " + columns + " WHERE m.username = ?"
	if lock {
		// This query uses subqueries instead of a join. In a join, FOR UPDATE would also have to lock the row
		// of liveapid_suspension, which may not exist. Locking the row of mailbox is enough.
		query = `SELECT m.username, m.password, m.quota, m.active,
			(SELECT incoming FROM liveapid_suspension s WHERE s.username = m.username),
			(SELECT outgoing FROM liveapid_suspension s WHERE s.username = m.username),
			(SELECT hold FROM liveapid_suspension s WHERE s.username = m.username)
			FROM mailbox m WHERE m.username = ? FOR UPDATE`
	}
	var r row
	err := r.scan(q.QueryRowContext(ctx, s.d.rebind(query), box.String()).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return r, store.ErrNoMailbox
	}
	return r, err
}

// Hash implements store.Store.
func (s *Store) Hash(ctx context.Context, box store.Address) (string, bool, error) {
	r, err := s.find(ctx, s.db, box, false)
	if err != nil {
		return "", false, s.classify("read the mailbox", err)
	}
	flags, hash := store.ParseField(r.password)
	if hash == store.NoPassword {
		hash = ""
	}
	return hash, flags.Has(store.NoLogin) || !r.active, nil
}

// Mailbox implements store.Store.
func (s *Store) Mailbox(ctx context.Context, box store.Address) (store.Mailbox, error) {
	r, err := s.find(ctx, s.db, box, false)
	if err != nil {
		return store.Mailbox{}, s.classify("read the mailbox", err)
	}
	e, ok := r.entry()
	if !ok {
		return e.Mailbox, store.ErrNoMailbox
	}
	return e.Mailbox, nil
}

// Recount implements store.Store. It only checks that the mailbox exists, because Dovecot maintains the size
// in the table quota2.
func (s *Store) Recount(ctx context.Context, box store.Address) error {
	_, err := s.Mailbox(ctx, box)
	return err
}

// MainUsage implements store.Store. It returns no usage, because the account's own mailbox is not in the
// database.
func (s *Store) MainUsage(context.Context) (store.Usage, error) { return store.Usage{}, nil }
