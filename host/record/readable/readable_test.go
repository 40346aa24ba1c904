package readable_test

import (
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/record/readable"
)

// Each record is one line that people can read, whatever a client or a worker puts into it.
func TestLines(t *testing.T) {
	for name, c := range map[string]struct {
		log  func(*slog.Logger)
		want string
	}{
		"a worker's text": {func(l *slog.Logger) {
			l.With("module", "Greeter", "plugin", "liveapi-script", "account", "demo").Warn("worker says", "stream", "stderr", "text", "Größe „7“ at module.pl line 4.")
		}, "warn  Greeter: Größe „7“ at module.pl line 4.\n"},
		"a call": {func(l *slog.Logger) {
			l.Error("call", "id", "abc123", "account", "demo", "module", "Greeter", "func", "greet", "result", "internal", "cause", "died\nat line 4\n")
		}, "error call Greeter::greet (demo, id abc123, result internal): died | at line 4\n"},
		"the start": {func(l *slog.Logger) { l.Info("listening", "socket", "/run/s", "pid", 7) }, "info  listening (socket /run/s, pid 7)\n"},
		"an attack": {func(l *slog.Logger) {
			l.Warn("rejected\nerror all is lost", "account", "\x1b[2J", "error", errors.New("a\x07b\u202ec\xff"))
		}, `warn  rejected | error all is lost (\x1b[2J): a\x07b\u202ec\xff` + "\n"},
		"a plugin in Go": {func(l *slog.Logger) { l.With("plugin", "hello").Error("worker did not start", "error", "no") }, "error worker did not start hello: no\n"},
		"not enabled":    {func(l *slog.Logger) { l.Debug("x") }, ""},
	} {
		var out strings.Builder
		c.log(slog.New(readable.New(&out, slog.LevelInfo)))
		require.Equal(t, c.want, regexp.MustCompile(`^\d\d:\d\d:\d\d `).ReplaceAllString(out.String(), ""), name)
	}
}

// A log that is not written to a terminal keeps the format that programs read.
func TestFor(t *testing.T) {
	var out strings.Builder
	slog.New(readable.For(&out, slog.LevelInfo)).Info("listening", "pid", 7)
	require.Contains(t, out.String(), "level=INFO msg=listening pid=7")
}
