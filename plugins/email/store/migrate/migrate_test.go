package migrate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/email/store/files"
	"github.com/liveapid/liveapid/plugins/email/store/migrate"
	"github.com/liveapid/liveapid/plugins/email/store/storetest"
)

func TestDomain(t *testing.T) {
	homeA, homeB := t.TempDir(), t.TempDir()
	a, b := files.New(homeA), files.New(homeB)
	const n = 1200
	var entries []store.Entry
	for i := range n {
		e := store.Entry{Mailbox: store.Mailbox{Address: store.Address{Localpart: fmt.Sprintf("box%d", i), Domain: "example.com"}, Quota: int64(i)}, Hash: storetest.Hash(i)}
		if i%5 == 0 {
			e.Suspended = store.Login | store.Incoming
		}
		entries = append(entries, e)
	}
	entries[7].Hash, entries[7].Suspended = "", store.Login
	require.NoError(t, a.Import(t.Context(), entries))
	// An entry that exists already, an entry that does not, and an entry that no store accepts.
	require.NoError(t, b.Import(t.Context(), entries[:1]))
	require.NoError(t, b.Create(t.Context(), entries[1].Mailbox, storetest.Hash(9)))
	shadow := filepath.Join(homeA, "etc/example.com/shadow")
	text, err := os.ReadFile(shadow)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(shadow, append(text, "bad:{PLAIN}a[b:1::::::\n"...), 0o640))

	for _, dryRun := range []bool{true, false} {
		var steps []int
		report, err := migrate.Domain(t.Context(), a, b, "example.com", dryRun, func(done, all int) { steps = append(steps, done); require.Equal(t, n+1, all) })
		require.NoError(t, err)
		require.Equal(t, n-2, report.Copied)
		require.Equal(t, 1, report.Same)
		require.Equal(t, []string{"box1@example.com"}, report.Differ)
		require.Len(t, report.Refused, 1)
		require.Contains(t, report.Refused[0], "bad@example.com: ")
		require.Len(t, steps, 2)
		list, err := b.List(t.Context(), "example.com")
		require.NoError(t, err)
		require.Len(t, list, map[bool]int{true: 2, false: n}[dryRun])
	}
	for _, i := range []int{0, 5, 7, 8, n - 1} {
		hash, _, err := b.Hash(t.Context(), entries[i].Address)
		require.NoError(t, err)
		require.Equal(t, entries[i].Hash, hash)
		box, err := b.Mailbox(t.Context(), entries[i].Address)
		require.NoError(t, err)
		require.Equal(t, entries[i].Mailbox, box)
	}
	report, err := migrate.Domain(t.Context(), a, b, "none.example", false, nil)
	require.NoError(t, err)
	require.Zero(t, report.Copied)
	require.False(t, strings.Contains(fmt.Sprint(report), "$6$"))
}

// failing is a store that can't be read.
type failing struct{ migrate.Store }

func (failing) List(context.Context, string) ([]store.Mailbox, error) {
	return nil, errors.New("no such disk")
}

// If an account can't be copied, the others are copied.
func TestAll(t *testing.T) {
	a, b := files.New(t.TempDir()), files.New(t.TempDir())
	box := store.Mailbox{Address: store.Address{Localpart: "user", Domain: "b.example"}}
	require.NoError(t, a.Import(t.Context(), []store.Entry{{Mailbox: box, Hash: storetest.Hash(1)}}))
	var domains []string
	report, err := migrate.All(t.Context(), []migrate.Job{
		{Account: "broken", Domains: []string{"a.example"}, From: failing{}, To: b},
		{Account: "bob", Domains: []string{"b.example"}, From: a, To: b},
	}, false, func(domain string, _, _ int) { domains = append(domains, domain) })
	require.ErrorContains(t, err, "account broken: domain a.example: read: no such disk")
	require.Equal(t, 1, report.Copied)
	require.Equal(t, []string{"b.example"}, domains)
}
