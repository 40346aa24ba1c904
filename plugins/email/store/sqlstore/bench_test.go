package sqlstore_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/email/store/files"
	"github.com/liveapid/liveapid/plugins/email/store/migrate"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore/dbtest"
	"github.com/liveapid/liveapid/plugins/email/store/storetest"
)

// stores opens an empty store of each kind.
func stores(b *testing.B) map[string]func() store.Store {
	open := func(d sqlstore.Driver, server *dbtest.Server) func() store.Store {
		return func() store.Store {
			s, err := sqlstore.Open(d, server.Database(), 16)
			require.NoError(b, err)
			b.Cleanup(func() { _ = s.Close() })
			_, err = s.Init(b.Context())
			require.NoError(b, err)
			return s
		}
	}
	return map[string]func() store.Store{
		"files":      func() store.Store { return files.New(b.TempDir()) },
		"postgresql": open(sqlstore.PostgreSQL, dbtest.PostgreSQL(b)),
		"mariadb":    open(sqlstore.MariaDB, dbtest.MariaDB(b)),
	}
}

func fill(b *testing.B, s store.Store, n int) {
	b.Helper()
	const chunk = 1000
	for from := 0; from < n; from += chunk {
		var entries []store.Entry
		for i := from; i < min(n, from+chunk); i++ {
			entries = append(entries, store.Entry{Mailbox: store.Mailbox{Address: box(i), Quota: 1 << 20}, Hash: storetest.Hash(i)})
		}
		require.NoError(b, s.Import(b.Context(), entries, false))
	}
}

func box(n int) store.Address {
	return store.Address{Localpart: fmt.Sprintf("box%d", n), Domain: storetest.Domain}
}

// BenchmarkStores measures the operations of the module's functions on their stores, for domains of all
// sizes.
func BenchmarkStores(b *testing.B) {
	for kind, open := range stores(b) {
		for _, size := range []int{10, 1_000, 100_000} {
			s := open()
			fill(b, s, size)
			name := func(what string) string { return fmt.Sprintf("%s/%d/%s", kind, size, what) }
			b.Run(name("list"), func(b *testing.B) {
				for range b.N {
					list, err := s.List(b.Context(), storetest.Domain)
					require.NoError(b, err)
					require.GreaterOrEqual(b, len(list), size)
				}
			})
			b.Run(name("count"), func(b *testing.B) {
				for range b.N {
					n, err := s.Count(b.Context(), storetest.Domain)
					require.NoError(b, err)
					require.GreaterOrEqual(b, n, size)
				}
			})
			boxes := make([]store.Address, size)
			for i := range boxes {
				boxes[i] = box(i)
			}
			for _, some := range []int{1, 100, size} { // Of a single mailbox, of a page, and of all.
				if some > size {
					continue
				}
				b.Run(name(fmt.Sprintf("usage of %d", some)), func(b *testing.B) {
					for range b.N {
						_, err := s.Usages(b.Context(), boxes[:some])
						require.NoError(b, err)
					}
				})
			}
			for _, callers := range []int{1, 16} {
				var next atomic.Int64
				each := func(what string, do func(n int) error) {
					b.Run(name(fmt.Sprintf("%s/%d", what, callers)), func(b *testing.B) {
						work := make(chan int)
						done := make(chan error, callers)
						for range callers {
							go func() {
								var err error
								for n := range work {
									if e := do(n); e != nil {
										err = e
									}
								}
								done <- err
							}()
						}
						from := int(next.Load())
						for n := range b.N {
							work <- from + n
						}
						close(work)
						for range callers {
							require.NoError(b, <-done)
						}
						next.Add(int64(b.N))
					})
				}
				each("passwdpop", func(n int) error { return s.SetHash(b.Context(), box(n%size), storetest.Hash(n)) })
				var created, deleted atomic.Int64
				each("addpop", func(int) error {
					return s.Create(b.Context(), store.Mailbox{Address: box(10_000_000 + int(created.Add(1)))}, storetest.Hash(1))
				})
				each("delpop", func(int) error {
					n := deleted.Add(1)
					if n > created.Load() {
						return nil // This benchmark ran more iterations than addpop's.
					}
					return s.Delete(b.Context(), box(10_000_000+int(n)), store.Keep{})
				})
			}
		}
	}
}

// BenchmarkMigrate copies 100,000 mailboxes.
func BenchmarkMigrate(b *testing.B) {
	all := stores(b)
	source := all["files"]()
	const boxes = 100_000
	fill(b, source, boxes)
	for _, kind := range []string{"postgresql", "mariadb"} {
		target := all[kind]()
		b.Run("files to "+kind, func(b *testing.B) {
			report, err := migrate.Domain(b.Context(), source, target, storetest.Domain, migrate.Options{}, func(string, int, int) {})
			require.NoError(b, err)
			require.Equal(b, boxes, report.Count(migrate.Copied)+report.Same)
		})
		back := all["files"]()
		b.Run(kind+" to files", func(b *testing.B) {
			report, err := migrate.Domain(b.Context(), target, back, storetest.Domain, migrate.Options{}, func(string, int, int) {})
			require.NoError(b, err)
			require.Equal(b, boxes, report.Count(migrate.Copied)+report.Same)
		})
	}
}
