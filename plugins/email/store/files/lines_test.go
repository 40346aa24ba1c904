package files

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/email/store"
)

func TestLines(t *testing.T) {
	const content = "# comment\na:1\n\nbroken\nab:2\na.b:3"
	require.True(t, hasLine([]byte(content), "a"))
	require.True(t, hasLine([]byte(content), "broken"), "as for Dovecot, a line without a colon is a mailbox without a password")
	require.Equal(t, content+"\nc:4\n", string(withLine([]byte(content), "c:4")))
	require.Equal(t, "c:4\n", string(withLine(nil, "c:4")))
	require.Equal(t, "# comment\n\nbroken\nab:2\na.b:3", string(withoutLine([]byte(content), "a")))
	require.Equal(t, "# comment\na:1\n\nbroken\nab:2\n", string(withoutLine([]byte(content), "a.b")))
	require.Equal(t, content, string(withoutLine([]byte(content), "b")))
	require.Equal(t, strings.Replace(content, "a:1", "a:9", 1), string(setLine([]byte(content), "a", "a:9")))
	n, bad := quotaOf([]byte(content), "ab")
	require.EqualValues(t, 2, n)
	require.Empty(t, bad)
	n, bad = quotaOf([]byte(content), "zz")
	require.Zero(t, n)
	require.Empty(t, bad)
	for field, want := range map[string]int64{"5": 5, " 7\t": 7, "0": 0, "9223372036854775807": math.MaxInt64} {
		n, bad := parseQuota([]byte(field))
		require.Equal(t, want, n, field)
		require.Empty(t, bad, field)
	}
	for _, field := range []string{"", "-1", "+5", "x", "1e6", "10S", "1.5", "0x10", "1_000", "9223372036854775808", "99999999999999999999", "unlimited", "1 2"} {
		_, bad := parseQuota([]byte(field))
		require.NotEmpty(t, bad, field)
	}
}

// Few names and many names have the same result, although the code differs.
func TestLinesOfMany(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var content []byte
		for range r.IntN(40) {
			content = append(content, fmt.Sprintf("%s:%d\n", string(rune('a'+r.IntN(12))), r.IntN(9))...)
		}
		gone := make(map[string]bool)
		for range 3 + r.IntN(5) {
			gone[string(rune('a'+r.IntN(12)))] = true
		}
		one := bytes.Clone(content)
		for name := range gone {
			one = withoutLine(one, name)
		}
		require.Equal(t, string(one), string(withoutLines(content, gone)), "%s %v", content, gone)
		index := newNames(content)
		for i := range 20 {
			name := string(rune('a' + (i*5)%14))
			require.Equal(t, hasLine(content, name), index.has(name), "%s in %s", name, content)
		}
	}
}

// Edits change the lines of their mailbox and no other byte.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a:1\nab:2\n"), "a")
	f.Add([]byte("user:x\r\nuser:y"), "user")
	f.Add([]byte("\n:\n#\nx"), "x")
	f.Fuzz(func(t *testing.T, content []byte, name string) {
		a, err := store.NewAddress(name, "example.com")
		if err != nil || a.Localpart != name {
			return
		}
		var others []string
		for at := 0; at < len(content); {
			l, ok := lineAt(content, at)
			if !ok || string(l.name) != name {
				others = append(others, string(content[at:l.end]))
			}
			at = l.end
		}
		require.Equal(t, strings.Join(others, ""), string(withoutLine(content, name)))
		with := withLine(withoutLine(content, name), name+":1")
		require.True(t, hasLine(with, name))
		n, _ := quotaOf(with, name)
		require.EqualValues(t, 1, n)
		require.False(t, hasLine(withoutLine(with, name), name))
		for l := range each(content) {
			require.NotContains(t, string(l.name), "\n")
			require.NotContains(t, string(l.field), ":")
		}
		_, _ = parseSize(content)
	})
}

// If a file has several lines for a mailbox, the first one counts for every reader, as for Dovecot, and every
// change leaves a single line. A login that the first line suspends never works because of another line.
func TestTheFirstLineCounts(t *testing.T) {
	const files = "!$6$first:1::::::"
	for name, change := range map[string]func(s *Store, box store.Address) error{
		"nothing":   func(*Store, store.Address) error { return nil },
		"password":  func(s *Store, box store.Address) error { return s.SetHash(t.Context(), box, "$6$new") },
		"suspend":   func(s *Store, box store.Address) error { return s.Suspend(t.Context(), box, store.Login, true) },
		"unsuspend": func(s *Store, box store.Address) error { return s.Suspend(t.Context(), box, store.Login, false) },
		"quota":     func(s *Store, box store.Address) error { return s.SetQuota(t.Context(), box, 7) },
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			dir := filepath.Join(home, "etc", "example.com")
			require.NoError(t, os.MkdirAll(dir, 0o750))
			s := New(home)
			write := func(name, text string) {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640))
			}
			write("passwd", "user:x:1:1::/x:/bin/false\nother:x:1:1::/x:/bin/false\nuser:x:2:2::/y:/bin/false\n")
			write("shadow", "user:"+files+"\nother:$6$other:1::::::\nuser:$6$second:1::::::\nuser:$6$third:1::::::\n")
			write("quota", "user:5\nother:6\nuser:0\n")
			box := store.Address{Localpart: "user", Domain: "example.com"}
			require.NoError(t, change(s, box))

			hash, suspended, err := s.Hash(t.Context(), box)
			require.NoError(t, err)
			one, err := s.Mailbox(t.Context(), box)
			require.NoError(t, err)
			list, err := s.List(t.Context(), "example.com")
			require.NoError(t, err)
			entries, odd, err := s.Entries(t.Context(), "example.com")
			require.NoError(t, err)
			require.Empty(t, odd)
			wantHash, wantQuota := "$6$first", int64(5)
			if name == "password" {
				wantHash = "$6$new"
			}
			if name == "quota" {
				wantQuota = 7
			}
			require.Equal(t, wantHash, hash)
			require.Equal(t, wantHash, entries[1].Hash)
			require.Equal(t, name != "unsuspend", suspended)
			require.Equal(t, suspended, one.Suspended.Has(store.Login))
			require.Equal(t, wantQuota, one.Quota)
			require.Len(t, list, 2)
			require.Equal(t, one, list[1], "the list and the single look-up agree")

			for _, file := range []string{"shadow", "quota"} {
				text, err := os.ReadFile(filepath.Join(dir, file))
				require.NoError(t, err)
				if changed := map[string][]string{"shadow": {"password", "unsuspend"}, "quota": {"quota"}}[file]; slices.Contains(changed, name) {
					require.Equal(t, 1, strings.Count("\n"+string(text), "\nuser:"), "%s: %s", file, text)
				}
			}
			require.NoError(t, s.Delete(t.Context(), box, store.Keep{}))
			for _, file := range []string{"passwd", "shadow", "quota"} {
				text, err := os.ReadFile(filepath.Join(dir, file))
				require.NoError(t, err)
				require.NotContains(t, "\n"+string(text), "\nuser:", file)
			}
		})
	}
}

// A mailbox that is only in passwd has no password. If it is suspended, it stays so when it gets one.
func TestSuspendWithoutAShadowLine(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, "etc", "example.com")
	require.NoError(t, os.MkdirAll(dir, 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "passwd"), []byte("user:x:1:1::/x:/bin/false\n"), 0o640))
	s, box := New(home), store.Address{Localpart: "user", Domain: "example.com"}
	require.NoError(t, s.Suspend(t.Context(), box, store.Login, true))
	require.NoError(t, s.SetHash(t.Context(), box, "$6$new"))
	hash, suspended, err := s.Hash(t.Context(), box)
	require.NoError(t, err)
	require.Equal(t, "$6$new", hash)
	require.True(t, suspended)
	require.NoError(t, s.Suspend(t.Context(), box, store.Login, false))
	_, suspended, err = s.Hash(t.Context(), box)
	require.NoError(t, err)
	require.False(t, suspended)
}
