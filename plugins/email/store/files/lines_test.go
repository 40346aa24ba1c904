package files

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/email/store"
)

func TestLines(t *testing.T) {
	const content = "# comment\na:1\n\nbroken\nab:2\na.b:3"
	require.True(t, hasLine([]byte(content), "a"))
	require.False(t, hasLine([]byte(content), "broken"))
	require.Equal(t, content+"\nc:4\n", string(withLine([]byte(content), "c:4")))
	require.Equal(t, "c:4\n", string(withLine(nil, "c:4")))
	require.Equal(t, "# comment\n\nbroken\nab:2\na.b:3", string(withoutLine([]byte(content), "a")))
	require.Equal(t, "# comment\na:1\n\nbroken\nab:2\n", string(withoutLine([]byte(content), "a.b")))
	require.Equal(t, content, string(withoutLine([]byte(content), "b")))
	require.Equal(t, strings.Replace(content, "a:1", "a:9", 1), string(setLine([]byte(content), "a", "a:9")))
	require.EqualValues(t, 2, quotaOf([]byte(content), "ab"))
	require.Zero(t, quotaOf([]byte(content), "zz"))
	for field, want := range map[string]int64{"5": 5, "": 0, "-1": 0, "x": 0, "99999999999999999999": 0, "unlimited": 0} {
		require.Equal(t, want, parseQuota([]byte(field)), field)
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
		for _, line := range strings.SplitAfter(string(content), "\n") {
			if !strings.HasPrefix(line, name+":") {
				others = append(others, line)
			}
		}
		require.Equal(t, strings.Join(others, ""), string(withoutLine(content, name)))
		with := withLine(withoutLine(content, name), name+":1")
		require.True(t, hasLine(with, name))
		require.EqualValues(t, 1, quotaOf(with, name))
		require.False(t, hasLine(withoutLine(with, name), name))
		eachLine(content, func(name, value []byte) {
			require.NotContains(t, string(name), "\n")
			require.NotContains(t, string(value), ":")
		})
		_, _ = parseSize(content)
	})
}
