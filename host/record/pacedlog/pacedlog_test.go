package pacedlog

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// T50: lines that clients cause are limited. Other messages are not affected, and the number of dropped lines
// is logged.
func TestT50_LinesThatOthersCause(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	h := New(slog.NewTextHandler(&out, nil))
	now := time.Unix(1_700_000_000, 0)
	say := func(message string) {
		t.Helper()
		require.NoError(t, h.WithAttrs([]slog.Attr{slog.String("account", "a")}).Handle(t.Context(), slog.NewRecord(now, slog.LevelWarn, message, 0)))
	}
	for range 10 * burst {
		say("connection rejected")
	}
	require.Equal(t, burst, strings.Count(out.String(), "\n"))

	out.Reset()
	say("the host ends")
	require.Contains(t, out.String(), `msg="the host ends" account=a`)

	out.Reset()
	now = now.Add(time.Second)
	for range burst {
		say("connection rejected")
	}
	require.Equal(t, perSecond, strings.Count(out.String(), "\n"))
	require.Equal(t, 1, strings.Count(out.String(), "left_out_before=9000"))
	require.Equal(t, 1, strings.Count(out.String(), "left_out_before"))

	out.Reset()
	for i := range 3 * messages {
		say(fmt.Sprintf("error from port %d", i))
	}
	require.LessOrEqual(t, strings.Count(out.String(), "\n"), messages+burst)
	require.LessOrEqual(t, len(h.paces.byMessage), messages+1)
}
