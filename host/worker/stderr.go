package worker

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"
)

const (
	maxLogLine = 8 << 10 // Maximum length of a logged line; the rest is dropped.
	logBurst   = 200     // Maximum burst, in lines.
	logRate    = 50      // Maximum lines per second.
)

// lineLog logs the output of a worker, with one log record for each line. The length and the rate of the
// lines are limited, control bytes are escaped, and the lines are never parsed. As an io.Writer, it logs the
// output that go-plugin forwards. It is safe for concurrent use.
type lineLog struct {
	log    *slog.Logger
	stream string

	mu      sync.Mutex
	tokens  float64
	last    time.Time
	dropped int
}

func newLineLog(log *slog.Logger, stream string) *lineLog {
	return &lineLog{log: log, stream: stream, tokens: logBurst, last: time.Now()}
}

// copyFrom logs the lines of r until r ends.
func (l *lineLog) copyFrom(r io.Reader) {
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

func (l *lineLog) line(text []byte) {
	l.mu.Lock()
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

	quoted := strconv.QuoteToASCII(string(trimNewline(text)))
	attrs := []slog.Attr{slog.String("stream", l.stream), slog.String("text", quoted[1:len(quoted)-1])}
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
