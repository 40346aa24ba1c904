package tests

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// unescape decodes the escapes of a transcript's line. Other bytes stay.
func unescape(t *testing.T, s string) string {
	t.Helper()
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		require.Less(t, i, len(s), "a line ends in a backslash")
		switch s[i] {
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case '\\':
			b.WriteByte('\\')
		case 'x':
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			require.NoError(t, err)
			b.WriteByte(byte(n))
			i += 2
		default:
			t.Fatalf("no such escape: \\%c", s[i])
		}
	}
	return b.String()
}

// Every transcript, byte for byte, with a real host and a real worker.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(hosttest.Root(t), "testdata", "transcripts", "*.txt"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			w := hosttest.Sandbox(t)
			w.Start(t)
			c := w.Dial(t)
			for n, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
				kind, rest, _ := strings.Cut(line, ":")
				rest = strings.TrimPrefix(rest, " ")
				switch kind {
				case "C":
					c.Send(unescape(t, rest))
				case "R":
					c.Raw(unescape(t, rest))
				case "S":
					require.Equal(t, rest, c.AnswerText(), "line %d", n+1)
				case "P":
					require.Equal(t, unescape(t, rest), c.Frame(), "line %d", n+1)
				case "E":
					c.Ended()
				default:
					require.True(t, strings.HasPrefix(line, "#"), "line %d", n+1)
				}
			}
		})
	}
}
