package store_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// T6: addresses have a strict syntax, so that they are safe in paths and lines.
func TestT06_NewAddress(t *testing.T) {
	for _, c := range []struct{ localpart, domain, want string }{
		{"user", "example.com", "user@example.com"},
		{"User.Name+tag", "Example.COM", "user.name+tag@example.com"},
		{"_x-y=z&~", "a-b.example", "_x-y=z&~@a-b.example"},
		{strings.Repeat("a", 64), "x.example", strings.Repeat("a", 64) + "@x.example"},
	} {
		got, err := store.NewAddress(c.localpart, c.domain)
		require.NoError(t, err)
		require.Equal(t, c.want, got.String())
	}
	for _, bad := range []string{
		"", ".", "..", ".user", "user.", "us..er", "-user", "#user", "us/er", "../user", "us\\er", "us:er", "us\ner", "us\x00er",
		"us er", "us\"er", "us<er", "us@er", "üser", "us\xffer", "\u212aate", "*", "us%er", strings.Repeat("a", 65),
	} {
		_, err := store.NewAddress(bad, "example.com")
		require.ErrorContains(t, err, "email: ", "%q", bad)
	}
	for _, bad := range []string{"", ".", "..", "a..b", ".a", "a.", "-a.example", "a/b", "../etc", "a_b", "a:b", "ä.example", "a\x00", strings.Repeat("a.", 127)} {
		_, err := store.NewAddress("user", bad)
		require.ErrorContains(t, err, "domain: ", "%q", bad)
	}
}

func FuzzNewAddress(f *testing.F) {
	f.Add("user", "example.com")
	f.Add("../..", "a/b")
	f.Add("us\ner", "\u212a.example")
	f.Fuzz(func(t *testing.T, localpart, domain string) {
		a, err := store.NewAddress(localpart, domain)
		if err != nil {
			return
		}
		for _, part := range []string{a.Localpart, a.Domain} {
			require.NotContains(t, part, "..")
			require.False(t, strings.ContainsAny(part, "/\\:\x00\r\n @\"<>"), part)
			require.False(t, strings.HasPrefix(part, ".") || strings.HasPrefix(part, "-") || strings.HasPrefix(part, "#"))
		}
		again, err := store.NewAddress(a.Localpart, a.Domain)
		require.NoError(t, err)
		require.Equal(t, a, again)
	})
}
