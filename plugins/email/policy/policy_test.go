package policy_test

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/email/policy"
	"github.com/liveapid/liveapid/protocol"
)

func TestStrength(t *testing.T) {
	for _, c := range []struct {
		password  string
		low, high int
	}{
		{"", 0, 0},
		{"x", 0, 10},
		{"password", 0, 10},
		{"12345678", 0, 10},
		{"12345luggage", 25, 60}, // The example of the documentation.
		{"cP4n3LIsGr3aT", 85, 100},
		{"correcthorsebatterystaple", 100, 100},
		{strings.Repeat("Xq7 ", 64), 20, 100},
		{"\xff\xfe", 0, 0},
		{strings.Repeat("a", 64) + "Kq9 zV!4mW&7", 70, 100}, // What is beyond the first 64 bytes counts, too.
		{"a" + strings.Repeat("ü", 200), 0, 60},             // Cut between two characters.
	} {
		got := policy.Strength(protocol.NewSecret(c.password))
		require.GreaterOrEqual(t, got, c.low, c.password)
		require.LessOrEqual(t, got, c.high, c.password)
	}
	require.Less(t, policy.Strength(protocol.NewSecret("mailhost42"), "mailhost"), policy.Strength(protocol.NewSecret("mailhost42")), "what is near is easy to guess")
}

func TestCheck(t *testing.T) {
	account := func(required string) protocol.Account {
		return protocol.Account{Data: map[string]string{"REQUIRED_STRENGTH": required}}
	}
	weak, fair := protocol.NewSecret("password"), protocol.NewSecret("12345luggage")
	for _, c := range []struct {
		name     string
		required int
		account  protocol.Account
		password protocol.Secret
		says     string
	}{
		{"turned off", 0, protocol.Account{}, weak, ""},
		{"the sandbox's", 25, protocol.Account{}, weak, "rating of 25 or higher"},
		{"the sandbox's and the example", 25, protocol.Account{}, fair, ""},
		{"an installation's", policy.DefaultRequired, protocol.Account{}, fair, "rating of 65 or higher"},
		{"an account's own", 65, account("10"), fair, ""},
		{"an account's own, more", 0, account("90"), fair, "rating of 90 or higher"},
		{"an account's own that is none", 65, account("much"), fair, "rating of 65 or higher"},
		{"an account's own that is out of range", 65, account("101"), fair, "rating of 65 or higher"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := policy.New(c.required, nil).Check(t.Context(), c.account, c.password)
			if c.says == "" {
				require.NoError(t, err)
				return
			}
			require.Equal(t, protocol.KindInvalid, protocol.AsError(err).Kind)
			require.Contains(t, err.Error(), "Sorry, the password you selected cannot be used ")
			require.Contains(t, err.Error(), c.says)
		})
	}
}

// list writes the sorted hashes of passwords, with a line ending and a format of lines.
func list(t *testing.T, form string, passwords ...string) string {
	t.Helper()
	var lines []string
	for i, p := range passwords {
		line := strings.NewReplacer("HASH", fmt.Sprintf("%X", sha1.Sum([]byte(p))), "COUNT", fmt.Sprint(i*i*1000)).Replace(form)
		lines = append(lines, line)
	}
	slices.Sort(lines)
	path := filepath.Join(t.TempDir(), "list")
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "")), 0o644))
	return path
}

func TestBreached(t *testing.T) {
	var passwords []string
	for i := range 500 {
		passwords = append(passwords, fmt.Sprintf("stolen password no. %d", i))
	}
	for name, form := range map[string]string{"with counts": "HASH:COUNT\n", "as the download has it": "HASH:COUNT\r\n", "bare": "HASH\n"} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 2, 3, 500} {
				l, err := policy.OpenList(list(t, form, passwords[:n]...))
				require.NoError(t, err)
				for i, p := range passwords {
					has, err := l.Has(t.Context(), protocol.NewSecret(p))
					require.NoError(t, err)
					require.Equal(t, i < n, has, "%d of %d", i, n)
				}
			}
		})
	}
	// The last line has no line ending.
	path := list(t, "HASH:COUNT\n", passwords[:3]...)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text[:len(text)-1], 0o644))
	l, err := policy.OpenList(path)
	require.NoError(t, err)
	for i, p := range passwords[:5] {
		has, err := l.Has(t.Context(), protocol.NewSecret(p))
		require.NoError(t, err)
		require.Equal(t, i < 3, has)
	}
	p := policy.New(10, l)
	require.ErrorContains(t, p.Check(t.Context(), protocol.Account{}, protocol.NewSecret(passwords[0])), "stolen elsewhere")
	require.NoError(t, p.Check(t.Context(), protocol.Account{}, protocol.NewSecret(passwords[9])))

	require.ErrorContains(t, policy.New(0, l).Check(t.Context(), protocol.Account{}, protocol.NewSecret(passwords[0])), "stolen elsewhere", "whatever strength is asked for")

	require.NoError(t, os.WriteFile(path, []byte("hello\n"), 0o644))
	_, err = policy.OpenList(path)
	require.ErrorIs(t, err, policy.ErrList)
	require.True(t, errors.Is(p.Check(t.Context(), protocol.Account{}, protocol.NewSecret(passwords[9])), policy.ErrList))
	_, err = policy.OpenList(path + "x")
	require.ErrorIs(t, err, policy.ErrList)
}
