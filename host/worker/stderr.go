package worker

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/liveapid/liveapid/protocol"
)

const (
	maxLogLine = 8 << 10 // Maximum length of a logged line; the rest is dropped.
	logBurst   = 200     // Maximum burst, in lines.
	logRate    = 50      // Maximum lines per second.

	maxTail    = 400                    // Maximum size of such a line in bytes.
	tailLines  = 12                     // Maximum number of lines in a message about the end of a worker.
	lastOutput = 500 * time.Millisecond // Maximum time to wait for the last lines of a worker that has ended.
)

// lineLog logs the output of a worker, with one log record for each line. The length and the rate of the
// lines are limited, control characters are escaped, and the lines are never parsed. As an io.Writer, it logs the
// output that go-plugin forwards. It is safe for concurrent use.
type lineLog struct {
	log    *slog.Logger
	stream string

	copied chan struct{} // Closed when copyFrom has read everything.

	mu      sync.Mutex
	tokens  float64
	last    time.Time
	dropped int
	tail    []string // The last lines.
}

func newLineLog(log *slog.Logger, stream string) *lineLog {
	return &lineLog{log: log, stream: stream, copied: make(chan struct{}), tokens: logBurst, last: time.Now()}
}

// lastLines returns the last lines of a process, for a message about its end. It waits at most for the given time until
// the process has closed its standard error.
func (l *lineLog) lastLines(wait time.Duration) string {
	select {
	case <-l.copied:
	case <-time.After(wait):
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := make([]string, len(l.tail))
	for i, line := range l.tail {
		lines[i] = protocol.Visible(line)
	}
	return strings.Join(lines, "\n")
}

// copyFrom logs the lines of r until r ends.
func (l *lineLog) copyFrom(r io.Reader) {
	defer close(l.copied)
	br := bufio.NewReaderSize(r, maxLogLine)
	for {
		line, err := br.ReadSlice('\n')
		if len(line) > 0 {
			l.line(line)
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = br.ReadSlice('\n') // Skip the rest of a line that is too long.
		}
		if err != nil {
			return
		}
	}
}

// Write logs p as a single line, because go-plugin calls Write once for each piece of output that it
// receives. It never returns an error.
func (l *lineLog) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.line(p[:min(len(p), maxLogLine)])
	}
	return len(p), nil
}

func (l *lineLog) line(raw []byte) {
	raw = trimNewline(raw)
	l.mu.Lock()
	if l.tail = append(l.tail, string(raw[:min(len(raw), maxTail)])); len(l.tail) > tailLines {
		l.tail = slices.Delete(l.tail, 0, 1)
	}
	now := time.Now()
	l.tokens = min(logBurst, l.tokens+now.Sub(l.last).Seconds()*logRate)
	l.last = now
	if l.tokens < 1 {
		l.dropped++
		l.mu.Unlock()
		return
	}
	l.tokens--
	dropped := l.dropped
	l.dropped = 0
	l.mu.Unlock()

	attrs := []slog.Attr{slog.String("stream", l.stream), slog.String("text", protocol.Visible(string(raw)))}
	if dropped > 0 {
		attrs = append(attrs, slog.Int("lines_dropped", dropped))
	}
	l.log.LogAttrs(context.Background(), slog.LevelWarn, "worker says", attrs...)
}

func trimNewline(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}
