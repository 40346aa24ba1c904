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
	require.NoError(t, a.Import(t.Context(), entries, false))
	// An entry that exists already, an entry that does not, and an entry that no store accepts.
	require.NoError(t, b.Import(t.Context(), entries[:1], false))
	require.NoError(t, b.Create(t.Context(), entries[1].Mailbox, storetest.Hash(9)))
	shadow := filepath.Join(homeA, "etc/example.com/shadow")
	text, err := os.ReadFile(shadow)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(shadow, append(text, "bad:{PLAIN}a[b:1::::::\n"...), 0o640))

	for _, dryRun := range []bool{true, false} {
		var steps []int
		report, err := migrate.Domain(t.Context(), a, b, "example.com", migrate.Options{DryRun: dryRun}, func(domain string, done, all int) {
			require.Equal(t, "example.com", domain)
			steps = append(steps, done)
			require.Contains(t, []int{0, n + 1}, all)
		})
		require.NoError(t, err)
		require.Equal(t, n-2, report.Count(migrate.Copied))
		require.Equal(t, 1, report.Same)
		require.False(t, report.Equal())
		require.Equal(t, []migrate.Item{
			{Mailbox: "bad@example.com", Outcome: migrate.Refused, Reason: "the password hash contains the character '['"},
			{Mailbox: "box1@example.com", Outcome: migrate.Left, Reason: "the target has another password"},
		}, report.Items[:2])
		require.Len(t, report.Items, n)
		require.Equal(t, []int{0, 1, 1001, n - 1}, steps)
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
	report, err := migrate.Domain(t.Context(), a, b, "none.example", migrate.Options{}, silent)
	require.NoError(t, err)
	require.True(t, report.Equal())
	require.Empty(t, report.Items)
	require.NotContains(t, fmt.Sprint(report), "$6$")
}

func silent(string, int, int) {}

// add creates a mailbox, and returns its address.
func add(t *testing.T, s *files.Store, name string, hash int, quota int64, flags store.Suspension) store.Address {
	t.Helper()
	a := store.Address{Localpart: name, Domain: "example.com"}
	require.NoError(t, s.Import(t.Context(), []store.Entry{{Mailbox: store.Mailbox{Address: a, Quota: quota, Suspended: flags}, Hash: storetest.Hash(hash)}}, false))
	return a
}

// What the target has is changed only where that was asked for, and the report names every difference.
func TestOverwriteAndMirror(t *testing.T) {
	for name, c := range map[string]struct {
		options migrate.Options
		items   []migrate.Item
		equal   bool
	}{
		"neither": {migrate.Options{}, []migrate.Item{
			{Mailbox: "differs@example.com", Outcome: migrate.Left, Reason: "the target has another password, another quota (7 bytes, the source's is 5 bytes), other suspensions (none, the source's are login, account)"},
			{Mailbox: "quota@example.com", Outcome: migrate.Refused, Reason: `the quota "1e6" is not a number of bytes from 0 to 9223372036854775807`},
			{Mailbox: "extra@example.com", Outcome: migrate.Extra, Reason: "the source has no such mailbox"},
			{Mailbox: "new@example.com", Outcome: migrate.Copied},
		}, false},
		"overwrite": {migrate.Options{Overwrite: true}, []migrate.Item{
			{Mailbox: "quota@example.com", Outcome: migrate.Refused, Reason: `the quota "1e6" is not a number of bytes from 0 to 9223372036854775807`},
			{Mailbox: "extra@example.com", Outcome: migrate.Extra, Reason: "the source has no such mailbox"},
			{Mailbox: "new@example.com", Outcome: migrate.Copied},
			{Mailbox: "differs@example.com", Outcome: migrate.Replaced, Reason: "the target has another password, another quota (7 bytes, the source's is 5 bytes), other suspensions (none, the source's are login, account)"},
		}, false},
		"mirror": {migrate.Options{Mirror: true}, []migrate.Item{
			{Mailbox: "quota@example.com", Outcome: migrate.Refused, Reason: `the quota "1e6" is not a number of bytes from 0 to 9223372036854775807`},
			{Mailbox: "new@example.com", Outcome: migrate.Copied},
			{Mailbox: "differs@example.com", Outcome: migrate.Replaced, Reason: "the target has another password, another quota (7 bytes, the source's is 5 bytes), other suspensions (none, the source's are login, account)"},
			{Mailbox: "extra@example.com", Outcome: migrate.Removed, Reason: "the source has no such mailbox; its mail stays"},
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			homeA, homeB := t.TempDir(), t.TempDir()
			a, b := files.New(homeA), files.New(homeB)
			add(t, a, "same", 1, 0, 0)
			add(t, b, "same", 1, 0, 0)
			differs := add(t, a, "differs", 2, 5, store.Login|store.Locked)
			add(t, b, "differs", 3, 7, 0)
			add(t, a, "new", 4, 0, store.Hold)
			extra := add(t, b, "extra", 5, 0, 0)
			mail := filepath.Join(homeB, "mail/example.com/extra/cur/1")
			require.NoError(t, os.WriteFile(mail, []byte("mail"), 0o600))
			add(t, a, "quota", 6, 9, 0)
			quotas := filepath.Join(homeA, "etc/example.com/quota")
			text, err := os.ReadFile(quotas)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(quotas, []byte(strings.Replace(string(text), "quota:9", "quota:1e6", 1)), 0o640))

			report, err := migrate.Domain(t.Context(), a, b, "example.com", c.options, silent)
			require.NoError(t, err)
			require.Equal(t, c.items, report.Items)
			require.Equal(t, 1, report.Same)
			require.Equal(t, c.equal, report.Equal())
			hash, _, err := b.Hash(t.Context(), differs)
			require.NoError(t, err)
			require.Equal(t, storetest.Hash(map[bool]int{true: 2, false: 3}[c.options.Overwrite || c.options.Mirror]), hash)
			_, err = b.Mailbox(t.Context(), extra)
			if c.options.Mirror {
				require.ErrorIs(t, err, store.ErrNoMailbox)
			} else {
				require.NoError(t, err)
			}
			require.FileExists(t, mail, "mail is never removed")

			require.NoError(t, a.SetQuota(t.Context(), store.Address{Localpart: "quota", Domain: "example.com"}, 9))
			report, err = migrate.Domain(t.Context(), a, b, "example.com", migrate.Options{Mirror: true}, silent)
			require.NoError(t, err)
			require.True(t, report.Equal(), "%v", report)
		})
	}
}

// A mailbox that another program changes during the copy is named, and the stores do not count as the same.
func TestChangedMeanwhile(t *testing.T) {
	a, b := files.New(t.TempDir()), files.New(t.TempDir())
	box := add(t, a, "user", 1, 0, 0)
	report, err := migrate.Domain(t.Context(), a, b, "example.com", migrate.Options{}, func(_ string, done, all int) {
		if done == 1 && all == 1 {
			require.NoError(t, a.SetHash(t.Context(), box, storetest.Hash(2)))
		}
	})
	require.NoError(t, err)
	require.Equal(t, migrate.Item{Mailbox: "user@example.com", Outcome: migrate.Changed, Reason: "another program changed it meanwhile: copy again"}, report.Items[1])
	require.False(t, report.Equal())
}

// failing is a store that can't be read.
type failing struct{ store.Transfer }

func (failing) Entries(context.Context, string) ([]store.Entry, []store.Odd, error) {
	return nil, nil, errors.New("no such disk")
}

// If an account can't be copied, the others are copied.
func TestAll(t *testing.T) {
	a, b := files.New(t.TempDir()), files.New(t.TempDir())
	box := store.Mailbox{Address: store.Address{Localpart: "user", Domain: "b.example"}}
	require.NoError(t, a.Import(t.Context(), []store.Entry{{Mailbox: box, Hash: storetest.Hash(1)}}, false))
	var domains []string
	report, err := migrate.All(t.Context(), []migrate.Job{
		{Account: "broken", Domains: []string{"a.example"}, From: failing{}, To: b},
		{Account: "bob", Domains: []string{"b.example"}, From: a, To: b},
	}, migrate.Options{}, func(domain string, _, _ int) { domains = append(domains, domain) })
	require.ErrorContains(t, err, "account broken: domain a.example: read: no such disk")
	require.Equal(t, 1, report.Count(migrate.Copied))
	require.Equal(t, []string{"a.example", "b.example", "b.example", "b.example"}, domains)
}

// A mirror of a source without mailboxes, such as a home that is not mounted, removes nothing, and neither does one
// of a source that has the mailbox under an odd name.
func TestMirrorOfNothing(t *testing.T) {
	homeA := t.TempDir()
	a, b := files.New(homeA), files.New(t.TempDir())
	add(t, b, "bob", 1, 0, 0)
	_, err := migrate.Domain(t.Context(), a, b, "example.com", migrate.Options{Mirror: true}, silent)
	require.ErrorContains(t, err, "the source has no mailbox, and the target has 1")
	add(t, a, "user", 2, 0, 0)
	shadow := filepath.Join(homeA, "etc/example.com/shadow")
	text, err := os.ReadFile(shadow)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(shadow, append(text, "Bob:$6$x:1::::::\n"...), 0o640))
	report, err := migrate.Domain(t.Context(), a, b, "example.com", migrate.Options{Mirror: true}, silent)
	require.NoError(t, err)
	require.Zero(t, report.Count(migrate.Removed))
	require.Equal(t, 1, report.Count(migrate.Extra))
	_, err = b.Mailbox(t.Context(), store.Address{Localpart: "bob", Domain: "example.com"})
	require.NoError(t, err)
	// What the target has besides mailboxes is named, too.
	report, err = migrate.Domain(t.Context(), b, a, "example.com", migrate.Options{}, silent)
	require.NoError(t, err)
	require.Contains(t, report.Items, migrate.Item{Mailbox: "Bob@example.com", Outcome: migrate.Extra,
		Reason: "in the target, the name has upper-case letters; a mail server looks mailboxes up in lower case (in etc/example.com/shadow)"})
}
