package sqlstore_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore/dbtest"
	"github.com/liveapid/liveapid/plugins/email/store/storetest"
)

// both runs a test on both servers.
func both(t *testing.T, test func(t *testing.T, d sqlstore.Driver, server *dbtest.Server)) {
	for d, start := range map[sqlstore.Driver]func(testing.TB) *dbtest.Server{
		sqlstore.PostgreSQL: dbtest.PostgreSQL, sqlstore.MariaDB: dbtest.MariaDB,
	} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			test(t, d, start(t))
		})
	}
}

func open(t *testing.T, d sqlstore.Driver, dsn string) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.Open(d, dsn, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestStores(t *testing.T) {
	both(t, func(t *testing.T, d sqlstore.Driver, server *dbtest.Server) {
		t.Run("conformance", func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) func() store.Store {
				dsn := server.Database()
				made, err := open(t, d, dsn).Init(t.Context())
				require.NoError(t, err)
				require.Len(t, made, 5)
				return func() store.Store { return open(t, d, dsn) }
			})
		})
		t.Run("schema", func(t *testing.T) { schema(t, d, server) })
		t.Run("rows", func(t *testing.T) { rows(t, d, server) })
		t.Run("away", func(t *testing.T) { away(t, d, server) }) // Last: it stops the server.
	})
}

// schema tests databases that are empty, old, or another program's.
func schema(t *testing.T, d sqlstore.Driver, server *dbtest.Server) {
	ctx := t.Context()
	dsn := server.Database()
	s := open(t, d, dsn)
	lacks, without, err := s.Check(ctx)
	require.NoError(t, err)
	require.Len(t, lacks, 4)
	require.Len(t, without, 3)
	box := store.Address{Localpart: "user", Domain: "example.com"}
	require.ErrorIs(t, s.SetHash(ctx, box, storetest.Hash(1)), store.ErrUnsafe)

	// The schema of an older PostfixAdmin: no password_expiry, no quota2.
	server.Exec(dsn, `CREATE TABLE mailbox (username varchar(255) PRIMARY KEY, password varchar(255) NOT NULL, name varchar(255) NOT NULL DEFAULT '',
		maildir varchar(255) NOT NULL DEFAULT '', quota bigint NOT NULL DEFAULT 0, local_part varchar(255) NOT NULL DEFAULT '', domain varchar(255) NOT NULL,
		created timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, modified timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, active boolean NOT NULL DEFAULT true)`)
	made, err := s.Init(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"domain", "alias", "quota2", "liveapid_suspension"}, made)
	made, err = s.Init(ctx)
	require.NoError(t, err)
	require.Empty(t, made, "a second time changes nothing")
	server.Exec(dsn, "DROP TABLE quota2")
	require.NoError(t, s.Create(ctx, store.Mailbox{Address: box}, storetest.Hash(1)))
	require.NoError(t, s.SetHash(ctx, box, storetest.Hash(2)))
	usage, err := s.Usage(ctx, box)
	require.NoError(t, err)
	require.Zero(t, usage)
	require.NoError(t, s.Delete(ctx, box, store.Keep{}))
	lacks, without, err = s.Check(ctx)
	require.NoError(t, err)
	require.Empty(t, lacks)
	require.Equal(t, []string{"quota2 (username, bytes, messages)", "mailbox (password_expiry)"}, without)

	other := server.Database()
	server.Exec(other, "CREATE TABLE mailbox (id int)")
	_, err = open(t, d, other).Init(ctx)
	require.ErrorIs(t, err, store.ErrUnsafe)
	require.ErrorContains(t, err, "mailbox (username")
}

// rows tests the rows that are written, and rows from other programs.
func rows(t *testing.T, d sqlstore.Driver, server *dbtest.Server) {
	ctx := t.Context()
	dsn := server.Database()
	s := open(t, d, dsn)
	_, err := s.Init(ctx)
	require.NoError(t, err)
	box := store.Address{Localpart: "user", Domain: "example.com"}
	require.NoError(t, s.Create(ctx, store.Mailbox{Address: box, Quota: 1024}, storetest.Hash(1)))
	goTo := map[sqlstore.Driver]string{sqlstore.PostgreSQL: "goto", sqlstore.MariaDB: "`goto`"}[d]
	require.Equal(t, "example.com/user/", server.Value(dsn, "SELECT maildir FROM mailbox WHERE username = 'user@example.com'"))
	require.Equal(t, "user@example.com", server.Value(dsn, "SELECT "+goTo+" FROM alias WHERE address = 'user@example.com'"))
	require.Equal(t, "1", server.Value(dsn, "SELECT count(*) FROM domain WHERE domain = 'example.com'"))
	require.NoError(t, s.Suspend(ctx, box, store.Login, true))
	require.Equal(t, "!"+storetest.Hash(1), server.Value(dsn, "SELECT password FROM mailbox"))
	require.NoError(t, s.Suspend(ctx, box, store.Login, false))
	server.Exec(dsn, "INSERT INTO quota2 (username, bytes, messages) VALUES ('user@example.com', 430000, 12)")
	usage, err := s.Usage(ctx, box)
	require.NoError(t, err)
	require.Equal(t, store.Usage{Bytes: 430000, Messages: 12}, usage)

	// A domain with expiring passwords.
	server.Exec(dsn, "UPDATE domain SET password_expiry = 30")
	server.Exec(dsn, "UPDATE mailbox SET password_expiry = '2001-01-01 00:00:00'")
	month := func() string { return time.Now().UTC().AddDate(0, 0, 30).Format("2006-01") }
	before := month()
	require.NoError(t, s.SetHash(ctx, box, storetest.Hash(2)))
	require.Contains(t, []string{before, month()}, server.Value(dsn, "SELECT password_expiry FROM mailbox")[:7])

	// An alias to another address belongs to another program.
	server.Exec(dsn, "UPDATE alias SET "+goTo+" = 'elsewhere@example.net'")
	require.NoError(t, s.Delete(ctx, box, store.Keep{}))
	require.Equal(t, "1", server.Value(dsn, "SELECT count(*) FROM alias"))
	require.Equal(t, "0", server.Value(dsn, "SELECT count(*) FROM quota2"))
	require.NoError(t, s.Create(ctx, store.Mailbox{Address: box}, storetest.Hash(1)))
	require.Equal(t, "elsewhere@example.net", server.Value(dsn, "SELECT "+goTo+" FROM alias"))

	// A mailbox that PostfixAdmin made inactive is suspended, and can be unsuspended completely.
	server.Exec(dsn, "UPDATE mailbox SET active = false")
	b, err := s.Mailbox(ctx, box)
	require.NoError(t, err)
	require.Equal(t, store.Login|store.Incoming, b.Suspended)
	require.NoError(t, s.Suspend(ctx, box, store.Login, false))
	b, err = s.Mailbox(ctx, box)
	require.NoError(t, err)
	require.Zero(t, b.Suspended)

	// Names that no call can use.
	for _, name := range []string{
		"UPPER@example.com", "no domain", "a b@example.com", "@example.com", "two@at@example.com", ".first@example.com", "last.@example.com",
		"a..b@example.com", "-minus@example.com", "#mark@example.com", "o''brien@example.com", "ä@example.com", "lower@EXAMPLE.com", "other@example.org",
		strings.Repeat("l", 65) + "@example.com", "tail@example.com ", "line\nfeed@example.com", "percent%@example.com",
	} {
		server.Exec(dsn, "INSERT INTO mailbox (username, password, local_part, domain) VALUES ('"+name+"', 'x', '', 'example.com')")
	}
	valid := []string{"a-b.c+d=e&f~g_h", "0", "_x", "=", strings.Repeat("m", 64), "user"}
	for _, name := range valid[:len(valid)-1] {
		server.Exec(dsn, "INSERT INTO mailbox (username, password, local_part, domain) VALUES ('"+name+"@example.com', 'x', '', 'example.com')")
	}
	list, err := s.List(ctx, "example.com")
	require.NoError(t, err)
	var names []string
	for _, b := range list {
		names = append(names, b.Localpart)
	}
	require.ElementsMatch(t, valid, names)
	list, err = s.List(ctx, "example.com", "example.org", "empty.example")
	require.NoError(t, err)
	require.Len(t, list, len(valid), "the domain of a row is that of its name")
	n, err := s.Count(ctx, "example.com", "example.org", "empty.example")
	require.NoError(t, err)
	require.Equal(t, len(valid), n, "Count and List agree")
	n, err = s.Count(ctx)
	require.NoError(t, err)
	require.Zero(t, n)

	// The usage of many mailboxes, by their names and by their domains.
	server.Exec(dsn, "DELETE FROM quota2")
	server.Exec(dsn, "INSERT INTO quota2 (username, bytes, messages) VALUES ('_x@example.com', 5, 1), ('0@example.com', -5, -1), ('other@example.org', 9, 9)")
	boxes := []store.Address{{Localpart: "0", Domain: "example.com"}, {Localpart: "nobody", Domain: "example.net"}, {Localpart: "_x", Domain: "example.com"}}
	for _, more := range []int{0, 2000} {
		for i := range more {
			boxes = append(boxes, store.Address{Localpart: "n" + strconv.Itoa(i), Domain: "example.com"})
		}
		usages, err := s.Usages(ctx, boxes)
		require.NoError(t, err)
		require.Len(t, usages, len(boxes))
		require.Equal(t, []store.Usage{{}, {}, {Bytes: 5, Messages: 1}}, usages[:3])
	}
	same, err := s.Usages(ctx, []store.Address{boxes[2], boxes[2]})
	require.NoError(t, err)
	require.Equal(t, same[0], same[1])
	if d == sqlstore.MariaDB {
		// Dovecot may write a name with capitals; the columns may have different collations.
		server.Exec(dsn, "UPDATE quota2 SET username = '_X@Example.com' WHERE username = '_x@example.com'")
		server.Exec(dsn, "ALTER TABLE quota2 CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
		server.Exec(dsn, "ALTER TABLE mailbox CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
		for _, some := range [][]store.Address{boxes[:3], boxes} {
			usages, err := s.Usages(ctx, some)
			require.NoError(t, err)
			require.Equal(t, store.Usage{Bytes: 5, Messages: 1}, usages[2], "%d mailboxes", len(some))
		}
		server.Exec(dsn, "SET GLOBAL default_regex_flags = 'MULTILINE'")
	}
	for _, domain := range []string{"*.example.com", "my_dom.com", "a..b.com", "-x.com"} {
		server.Exec(dsn, "INSERT INTO mailbox (username, password, local_part, domain) VALUES ('user@"+domain+"', 'x', '', '"+domain+"')")
	}
	list, err = s.List(ctx, "*.example.com", "my_dom.com", "a..b.com", "-x.com", "example.com", "example.com")
	require.NoError(t, err)
	n, err = s.Count(ctx, "*.example.com", "my_dom.com", "a..b.com", "-x.com", "example.com", "example.com")
	require.NoError(t, err)
	require.Equal(t, len(list), n)
	require.Len(t, list, len(valid))
	if d == sqlstore.PostgreSQL {
		server.Exec(dsn, "CREATE COLLATION folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
		server.Exec(dsn, "ALTER TABLE mailbox ALTER COLUMN username TYPE varchar(255) COLLATE folding, ALTER COLUMN domain TYPE varchar(255) COLLATE folding")
		s = open(t, d, dsn) // A connection remembers the former types.
		n, err = s.Count(ctx, "example.com")
		require.NoError(t, err)
		require.Equal(t, len(valid), n)
	}
	many := make([]string, 12_000)
	for i := range many {
		many[i] = "d" + strconv.Itoa(i) + ".example"
	}
	n, err = s.Count(ctx, append(many, "example.com")...)
	require.NoError(t, err)
	require.Equal(t, len(valid), n)
	list, err = s.List(ctx, append(many, "example.com")...)
	require.NoError(t, err)
	require.Len(t, list, len(valid))

	// A domain is a parameter of a query, never a part of its text.
	list, err = s.List(ctx, "' OR '1'='1")
	require.NoError(t, err)
	require.Empty(t, list)
}

// away stops the database, also under load. Every change is made, rejected without a change, or of unknown
// outcome. When the database is back, the store works again.
func away(t *testing.T, d sqlstore.Driver, server *dbtest.Server) {
	ctx := t.Context()
	dsn := server.Database()
	s := open(t, d, dsn)
	_, err := s.Init(ctx)
	require.NoError(t, err)
	box := store.Address{Localpart: "user", Domain: "example.com"}
	require.NoError(t, s.Create(ctx, store.Mailbox{Address: box}, storetest.Hash(0)))

	stop := make(chan struct{})
	var all sync.WaitGroup
	last := storetest.Hash(0)
	maybe := map[string]bool{}
	all.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			err := s.SetHash(ctx, box, storetest.Hash(n))
			switch {
			case err == nil:
				last, maybe = storetest.Hash(n), map[string]bool{}
			case errors.Is(err, store.ErrUnknown):
				maybe[storetest.Hash(n)] = true
			case !errors.Is(err, store.ErrAway):
				t.Errorf("neither made, away nor unknown: %v", err)
				return
			}
		}
	})
	for range 2 {
		server.Stop()
		require.Eventually(t, func() bool {
			_, _, err := s.Hash(ctx, box)
			return errors.Is(err, store.ErrAway)
		}, time.Minute, time.Millisecond)
		server.Start()
		require.Eventually(t, func() bool {
			_, _, err := s.Hash(ctx, box)
			return err == nil
		}, time.Minute, time.Millisecond)
	}
	close(stop)
	all.Wait()
	hash, _, err := s.Hash(ctx, box)
	require.NoError(t, err)
	require.True(t, hash == last || maybe[hash], "a change that was acknowledged is lost")

	server.Stop()
	err = s.Create(ctx, store.Mailbox{Address: store.Address{Localpart: "other", Domain: "example.com"}}, storetest.Hash(1))
	require.ErrorIs(t, err, store.ErrAway)
	require.NotContains(t, err.Error(), dbtest.Password)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	require.Error(t, s.SetHash(ended, box, storetest.Hash(2)))
}

func TestOpen(t *testing.T) {
	for d, dsns := range map[sqlstore.Driver][]string{
		sqlstore.PostgreSQL: {"postgres://u:s3cret@%zz/x", "host=a port=s3cret"},
		sqlstore.MariaDB:    {"u:s3cret@host/x", "u:s3cret"},
		"sqlite":            {"x"},
	} {
		for _, dsn := range dsns {
			_, err := sqlstore.Open(d, dsn, 0)
			require.Error(t, err, dsn)
			require.False(t, strings.Contains(err.Error(), "s3cret"), "%v", err)
		}
	}
}
