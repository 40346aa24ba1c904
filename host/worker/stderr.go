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
	maxLogLine = 8 << 10 // Bytes of a line that are logged; the rest is dropped.
	logBurst   = 200     // The burst, in lines.
	logRate    = 50      // Lines in a second.
)

// lineLog logs the output of a worker, a record for each line: limited in length and rate, with control bytes
// escaped, never parsed. It is an io.Writer for whole streams.
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

// copyFrom logs the lines of r until it ends.
func (l *lineLog) copyFrom(r io.Reader) {
	br := bufio.NewReaderSize(r, maxLogLine)
	for {
		line, err := br.ReadSlice('\n')
		if len(line) > 0 {
			l.line(line)
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = br.ReadSlice('\n') // The rest of a line that is too long.
		}
		if err != nil {
			return
		}
	}
}

// Write logs p as a single line; go-plugin writes each read at once.
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
