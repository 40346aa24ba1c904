// Package storetest is a test suite that every store must pass. Only tests import it.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// Domain and Other are the domains that the suite creates mailboxes in.
const (
	Domain = "example.com"
	Other  = "xn--bcher-kva.example"
)

// Hash returns a string in the form of a crypt hash, different for each n.
func Hash(n int) string {
	return "$6$" + fmt.Sprintf("salt%012d", n) + "$" + strings.Repeat("a", 86)
}

func address(t *testing.T, localpart, domain string) store.Address {
	t.Helper()
	a, err := store.NewAddress(localpart, domain)
	require.NoError(t, err)
	return a
}

// Run runs the suite. open prepares empty storage and returns a function; each call of that function opens
// another store on this storage. The suite uses several stores on the same storage to simulate several
// processes.
func Run(t *testing.T, open func(t *testing.T) func() store.Store) {
	for name, test := range map[string]func(*testing.T, func() store.Store){
		"a mailbox's life": life, "what is not there": missing, "suspensions": suspensions,
		"names": names, "quotas": quotas, "at once": atOnce, "two stores at once": twoStores, "a caller who left": left,
		"two changes of one mailbox": oneMailbox, "transfers": transfers,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func life(t *testing.T, open func() store.Store) {
	s, ctx := open(), t.Context()
	box := address(t, "user", Domain)
	list, err := s.List(ctx, Domain)
	require.NoError(t, err)
	require.Empty(t, list)

	require.NoError(t, s.Create(ctx, store.Mailbox{Address: box, Quota: 5 << 20}, Hash(1)))
	require.ErrorIs(t, s.Create(ctx, store.Mailbox{Address: box}, Hash(2)), store.ErrExists)
	hash, suspended, err := s.Hash(ctx, box)
	require.NoError(t, err)
	require.Equal(t, Hash(1), hash, "the one that was there stays")
	require.False(t, suspended)
	b, err := s.Mailbox(ctx, box)
	require.NoError(t, err)
	require.Equal(t, store.Mailbox{Address: box, Quota: 5 << 20}, b)

	require.NoError(t, s.SetHash(ctx, box, Hash(3)))
	other := open() // Another process sees the change immediately.
	hash, _, err = other.Hash(ctx, box)
	require.NoError(t, err)
	require.Equal(t, Hash(3), hash)

	require.NoError(t, other.Create(ctx, store.Mailbox{Address: address(t, "another", Domain)}, Hash(4)))
	require.NoError(t, other.Create(ctx, store.Mailbox{Address: address(t, "user", Other), Quota: 1}, Hash(5)))
	list, err = s.List(ctx, Domain)
	require.NoError(t, err)
	require.Equal(t, []store.Mailbox{{Address: address(t, "another", Domain)}, {Address: box, Quota: 5 << 20}}, list)
	list, err = s.List(ctx, Other)
	require.NoError(t, err)
	require.Len(t, list, 1)
	list, err = s.List(ctx, Other, Domain, Other, "empty.example")
	require.NoError(t, err)
	require.Len(t, list, 3)
	store.Sort(list)
	sorted, err := s.List(ctx, Domain, Other)
	require.NoError(t, err)
	require.Equal(t, list, sorted, "by domain and local part")
	n, err := s.Count(ctx, Other, Domain, "empty.example")
	require.NoError(t, err)
	require.Equal(t, 3, n)
	usages, err := s.Usages(ctx, []store.Address{address(t, "user", Other), box, address(t, "nobody", Domain)})
	require.NoError(t, err)
	require.Len(t, usages, 3)
	for i, of := range []store.Address{address(t, "user", Other), box, address(t, "nobody", Domain)} {
		usage, err := s.Usage(ctx, of)
		require.NoError(t, err)
		require.Equal(t, usage, usages[i], of)
	}

	usage, err := s.Usage(ctx, box)
	require.NoError(t, err)
	require.Zero(t, usage.Bytes)
	_, err = s.MainUsage(ctx)
	require.NoError(t, err)

	require.NoError(t, s.Delete(ctx, box, store.Keep{}))
	require.ErrorIs(t, s.Delete(ctx, box, store.Keep{}), store.ErrNoMailbox)
	list, err = other.List(ctx, Domain)
	require.NoError(t, err)
	require.Len(t, list, 1)
	_, err = other.Mailbox(ctx, address(t, "user", Other))
	require.NoError(t, err, "of the same name in another domain")

	// The new mailbox must not inherit anything from the deleted mailbox of the same name.
	require.NoError(t, s.Create(ctx, store.Mailbox{Address: box}, Hash(6)))
	b, err = s.Mailbox(ctx, box)
	require.NoError(t, err)
	require.Equal(t, store.Mailbox{Address: box}, b)
	require.NoError(t, s.Delete(ctx, box, store.Keep{Mail: true, Quota: true}))
}

func missing(t *testing.T, open func() store.Store) {
	s, ctx := open(), t.Context()
	require.NoError(t, s.Create(ctx, store.Mailbox{Address: address(t, "user", Domain)}, Hash(1)))
	for _, box := range []store.Address{address(t, "nobody", Domain), address(t, "use", Domain), address(t, "users", Domain), address(t, "user", Other)} {
		require.ErrorIs(t, s.SetHash(ctx, box, Hash(2)), store.ErrNoMailbox)
		require.ErrorIs(t, s.SetQuota(ctx, box, 1), store.ErrNoMailbox)
		require.ErrorIs(t, s.Suspend(ctx, box, store.Login|store.Incoming, true), store.ErrNoMailbox)
		require.ErrorIs(t, s.Delete(ctx, box, store.Keep{}), store.ErrNoMailbox)
		_, _, err := s.Hash(ctx, box)
		require.ErrorIs(t, err, store.ErrNoMailbox)
		_, err = s.Mailbox(ctx, box)
		require.ErrorIs(t, err, store.ErrNoMailbox)
	}
	for _, hash := range []string{"", "a b", "a:b", "a\nb", "a\x00b", strings.Repeat("a", 600)} {
		require.Error(t, s.SetHash(ctx, address(t, "user", Domain), hash), "%q", hash)
		require.Error(t, s.Create(ctx, store.Mailbox{Address: address(t, "new", Domain)}, hash), "%q", hash)
	}
	require.Error(t, s.Create(ctx, store.Mailbox{Address: address(t, "new", Domain), Quota: -1}, Hash(1)))
	require.Error(t, s.SetQuota(ctx, address(t, "user", Domain), -1))
	list, err := s.List(ctx, Domain)
	require.NoError(t, err)
	require.Len(t, list, 1)
	hash, _, err := s.Hash(ctx, address(t, "user", Domain))
	require.NoError(t, err)
	require.Equal(t, Hash(1), hash)
}

func suspensions(t *testing.T, open func() store.Store) {
	s, ctx := open(), t.Context()
	box, other := address(t, "user", Domain), address(t, "other", Domain)
	require.NoError(t, s.Create(ctx, store.Mailbox{Address: box}, Hash(1)))
	require.NoError(t, s.Create(ctx, store.Mailbox{Address: other, Suspended: store.Outgoing | store.Login}, Hash(2)))
	has := func(box store.Address, want store.Suspension) {
		t.Helper()
		b, err := open().Mailbox(ctx, box)
		require.NoError(t, err)
		require.Equal(t, want, b.Suspended)
		list, err := s.List(ctx, Domain)
		require.NoError(t, err)
		for _, b := range list {
			if b.Address == box {
				require.Equal(t, want, b.Suspended, "in the list")
			}
		}
		_, suspended, err := s.Hash(ctx, box)
		require.NoError(t, err)
		require.Equal(t, want.Has(store.Login), suspended)
	}
	has(box, 0)
	has(other, store.Outgoing|store.Login)
	now := store.Suspension(0)
	for _, flag := range []store.Suspension{store.Login, store.Incoming, store.Outgoing, store.Hold} {
		for range 2 { // Repeating the change has no effect.
			require.NoError(t, s.Suspend(ctx, box, flag, true))
			now |= flag
			has(box, now)
		}
	}
	require.NoError(t, s.SetHash(ctx, box, Hash(3)))
	has(box, now)
	hash, _, err := s.Hash(ctx, box)
	require.NoError(t, err)
	require.Equal(t, Hash(3), hash, "a new password waits for the login's return")
	for _, flag := range []store.Suspension{store.Incoming, store.Login, store.Hold, store.Outgoing} {
		for range 2 {
			require.NoError(t, s.Suspend(ctx, box, flag, false))
			now &^= flag
			has(box, now)
		}
	}
	has(other, store.Outgoing|store.Login)
	require.NoError(t, s.Suspend(ctx, other, store.Outgoing|store.Login|store.Hold, false))
	has(other, 0)
	require.NoError(t, s.Suspend(ctx, other, store.Incoming|store.Outgoing, true))
	require.NoError(t, s.Delete(ctx, other, store.Keep{}))
	require.NoError(t, s.Create(ctx, store.Mailbox{Address: other}, Hash(4)))
	has(other, 0)

	// A mailbox without a password: nobody can log in after the suspension has ended, but with a password.
	none := address(t, "none", Domain)
	require.NoError(t, s.Create(ctx, store.Mailbox{Address: none, Suspended: store.Login}, ""))
	for _, on := range []bool{false, true, false, false} {
		require.NoError(t, s.Suspend(ctx, none, store.Login, on))
		has(none, store.Login)
		hash, suspended, err := s.Hash(ctx, none)
		require.NoError(t, err)
		require.Empty(t, hash)
		require.True(t, suspended)
	}
	require.NoError(t, s.SetHash(ctx, none, Hash(5)))
	has(none, 0)
	// If it was suspended again, it stays so.
	require.NoError(t, s.Delete(ctx, none, store.Keep{}))
	require.NoError(t, s.Create(ctx, store.Mailbox{Address: none, Suspended: store.Login}, ""))
	require.NoError(t, s.Suspend(ctx, none, store.Login, false))
	require.NoError(t, s.Suspend(ctx, none, store.Login, true))
	require.NoError(t, s.SetHash(ctx, none, Hash(6)))
	has(none, store.Login)
}

// transfers writes entries of every kind, reads them as they were, and ends the suspension of their account.
func transfers(t *testing.T, open func() store.Store) {
	s, ctx := open(), t.Context()
	var entries []store.Entry
	for i, e := range []store.Entry{
		{Hash: Hash(0)},
		{Mailbox: store.Mailbox{Quota: 1 << 40}, Hash: "{BLF-CRYPT}$2y$05$x"},
		{Mailbox: store.Mailbox{Suspended: store.Login}, Hash: Hash(2)},
		{Mailbox: store.Mailbox{Suspended: store.Locked}, Hash: Hash(3)},
		{Mailbox: store.Mailbox{Suspended: store.Locked | store.Login | store.Incoming}, Hash: Hash(4)},
		{Mailbox: store.Mailbox{Suspended: store.Login}, Hash: ""},
		{Mailbox: store.Mailbox{Suspended: store.Login}, Hash: store.NoPassword},
		{Mailbox: store.Mailbox{Suspended: store.Login | store.Locked}, Hash: store.NoPassword},
		{Mailbox: store.Mailbox{Suspended: store.Login | store.Locked | store.Hold}, Hash: ""},
	} {
		e.Address = address(t, fmt.Sprintf("box%d", i), Domain)
		entries = append(entries, e)
	}
	require.NoError(t, s.Import(ctx, entries, false))
	require.ErrorIs(t, s.Import(ctx, entries[:1], false), store.ErrExists)
	got, odd, err := open().Entries(ctx, Domain)
	require.NoError(t, err)
	require.Empty(t, odd)
	require.Equal(t, entries, got)

	// While the account is suspended, neither a password nor the end of a mailbox's suspension helps.
	require.ErrorIs(t, s.SetHash(ctx, entries[3].Address, Hash(9)), store.ErrSuspended)
	require.ErrorIs(t, s.Suspend(ctx, entries[4].Address, store.Login, false), store.ErrSuspended)
	_, suspended, err := s.Hash(ctx, entries[3].Address)
	require.NoError(t, err)
	require.True(t, suspended)
	require.NoError(t, s.Suspend(ctx, entries[3].Address, store.Login, true))
	entries[3].Suspended |= store.Login

	n, err := s.Unlock(ctx, Domain)
	require.NoError(t, err)
	require.Equal(t, 4, n)
	for i := range entries {
		entries[i].Suspended &^= store.Locked
	}
	got, _, err = open().Entries(ctx, Domain)
	require.NoError(t, err)
	require.Equal(t, entries, got)
	n, err = s.Unlock(ctx, Domain)
	require.NoError(t, err)
	require.Zero(t, n)
	n, err = s.Unlock(ctx, Other)
	require.NoError(t, err)
	require.Zero(t, n)

	// Replacing gives all of the data to mailboxes that exist, and creates the others.
	for i := range entries {
		entries[i].Hash, entries[i].Quota, entries[i].Suspended = Hash(i+100), int64(i), store.Outgoing
	}
	entries[8].Address = address(t, "new", Domain)
	require.NoError(t, s.Import(ctx, entries, true))
	got, _, err = open().Entries(ctx, Domain)
	require.NoError(t, err)
	require.Equal(t, entries[:8], got[:8])
	require.Equal(t, "box8", got[8].Localpart, "the others stay")
	require.Equal(t, entries[8], got[9])
	require.ErrorIs(t, s.Import(ctx, []store.Entry{{Mailbox: store.Mailbox{Address: entries[0].Address, BadQuota: "1e6"}, Hash: Hash(1)}}, true), store.ErrUnsafe)
}

func names(t *testing.T, open func() store.Store) {
	s, ctx := open(), t.Context()
	all := []string{"a", "a.b", "a+b", "a-b", "a_b", "a=b", "a&b", "a~b", "1", "=", strings.Repeat("x", 64), "user.name+tag"}
	for i, name := range all {
		require.NoError(t, s.Create(ctx, store.Mailbox{Address: address(t, name, Domain), Quota: int64(i)}, Hash(i)), name)
	}
	list, err := s.List(ctx, Domain)
	require.NoError(t, err)
	require.Len(t, list, len(all))
	for i, name := range all {
		b, err := s.Mailbox(ctx, address(t, name, Domain))
		require.NoError(t, err, name)
		require.EqualValues(t, i, b.Quota)
		hash, _, err := s.Hash(ctx, b.Address)
		require.NoError(t, err)
		require.Equal(t, Hash(i), hash)
	}
	for _, name := range all {
		require.NoError(t, s.Delete(ctx, address(t, name, Domain), store.Keep{}), name)
	}
	list, err = s.List(ctx, Domain)
	require.NoError(t, err)
	require.Empty(t, list)
}

func quotas(t *testing.T, open func() store.Store) {
	s, ctx := open(), t.Context()
	box := address(t, "user", Domain)
	require.NoError(t, s.Create(ctx, store.Mailbox{Address: box}, Hash(1)))
	for _, n := range []int64{1, 4 << 50, 0, 256 << 20, 256 << 20} {
		require.NoError(t, s.SetQuota(ctx, box, n))
		b, err := open().Mailbox(ctx, box)
		require.NoError(t, err)
		require.Equal(t, n, b.Quota)
	}
}

// atOnce makes changes of all kinds to many mailboxes concurrently, through two stores on the same storage.
// Each change must be made completely.
func atOnce(t *testing.T, open func() store.Store) { together(t, open(), open()) }

func twoStores(t *testing.T, open func() store.Store) {
	a, b := open(), open()
	together(t, a, b)
}

func together(t *testing.T, a, b store.Store) {
	const boxes = 24
	ctx := t.Context()
	var all sync.WaitGroup
	failed := make(chan error, boxes)
	for i := range boxes {
		s := a
		if i%2 == 1 {
			s = b
		}
		box := address(t, fmt.Sprintf("box%d", i), Domain)
		all.Go(func() {
			failed <- errors.Join(
				s.Create(ctx, store.Mailbox{Address: box}, Hash(i)),
				s.SetQuota(ctx, box, int64(i)),
				s.Suspend(ctx, box, store.Incoming, true),
				s.SetHash(ctx, box, Hash(i+1000)),
			)
			if i%3 == 0 {
				failed <- s.Delete(ctx, box, store.Keep{})
			} else {
				failed <- nil
			}
		})
	}
	go func() { all.Wait(); close(failed) }()
	for err := range failed {
		require.NoError(t, err)
	}
	list, err := a.List(ctx, Domain)
	require.NoError(t, err)
	require.Len(t, list, boxes-boxes/3)
	for i := range boxes {
		box := address(t, fmt.Sprintf("box%d", i), Domain)
		m, err := b.Mailbox(ctx, box)
		if i%3 == 0 {
			require.ErrorIs(t, err, store.ErrNoMailbox)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, store.Mailbox{Address: box, Quota: int64(i), Suspended: store.Incoming}, m)
		hash, _, err := a.Hash(ctx, box)
		require.NoError(t, err)
		require.Equal(t, Hash(i+1000), hash)
	}
}

// oneMailbox makes two different changes to the same mailbox at the same time, from the stores of two
// processes. Neither change may undo the other.
func oneMailbox(t *testing.T, open func() store.Store) {
	a, b := open(), open()
	ctx := t.Context()
	box := address(t, "user", Domain)
	require.NoError(t, a.Create(ctx, store.Mailbox{Address: box}, Hash(0)))
	for n := range 60 {
		done := make(chan error, 1)
		go func() { done <- a.SetHash(ctx, box, Hash(n+1)) }()
		require.NoError(t, b.Suspend(ctx, box, store.Login|store.Hold, n%2 == 0))
		require.NoError(t, <-done)
		m, err := a.Mailbox(ctx, box)
		require.NoError(t, err)
		require.Equal(t, map[bool]store.Suspension{true: store.Login | store.Hold}[n%2 == 0], m.Suspended, "round %d", n)
		hash, _, err := b.Hash(ctx, box)
		require.NoError(t, err)
		require.Equal(t, Hash(n+1), hash)
	}
}

// left makes a change with a context that has already ended, as if the caller had disconnected. The returned
// error must match the outcome: no error if the change was made, ErrUnknown if the outcome is not known, and
// otherwise an unchanged mailbox.
func left(t *testing.T, open func() store.Store) {
	s := open()
	box := address(t, "user", Domain)
	require.NoError(t, s.Create(t.Context(), store.Mailbox{Address: box}, Hash(0)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.SetHash(ctx, box, Hash(1))
	hash, _, readErr := s.Hash(t.Context(), box)
	require.NoError(t, readErr)
	switch {
	case err == nil:
		require.Equal(t, Hash(1), hash)
	case errors.Is(err, store.ErrUnknown):
	default:
		require.Equal(t, Hash(0), hash, "%v", err)
	}
}
