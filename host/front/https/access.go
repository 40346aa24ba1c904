package https

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/protocol"
)

// AccessLog writes a line of JSON for each request: the user, the time, the path and the outcome. It never
// contains queries and bodies, which hold passwords, or a session's token.
type AccessLog struct {
	path string
	log  *slog.Logger

	mu     sync.Mutex
	file   *os.File
	failed bool
}

// OpenAccessLog opens the file at path for appending. Only the running user can read it.
func OpenAccessLog(path string, log *slog.Logger) (*AccessLog, error) {
	a := &AccessLog{path: path, log: log}
	return a, a.Reopen()
}

// Reopen opens the file again if the old file was moved away. On nil it does nothing.
func (a *AccessLog) Reopen() error {
	if a == nil {
		return nil
	}
	f, err := os.OpenFile(a.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("access log: %w", err)
	}
	a.mu.Lock()
	old := a.file
	a.file = f
	a.mu.Unlock()
	if old != nil {
		return old.Close()
	}
	return nil
}

// Close closes the file. On nil it does nothing.
func (a *AccessLog) Close() error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return nil
	}
	err := errors.Join(a.file.Close())
	a.file = nil
	return err
}

// accessLine is a line of the log.
type accessLine struct {
	Time    string  `json:"time"`
	Service Service `json:"service"`
	From    string  `json:"from"`
	User    string  `json:"user,omitempty"`
	By      string  `json:"by,omitempty"`
	Method  string  `json:"method"`
	Path    string  `json:"path"`
	Query   string  `json:"query,omitempty"` // Whether the request had a query.
	Call    string  `json:"call,omitempty"`
	Proto   string  `json:"proto"`
	Status  int     `json:"status"`
	Bytes   int     `json:"bytes"`
	Millis  float64 `json:"ms"`
	Agent   string  `json:"agent,omitempty"`
}

func (a *AccessLog) write(q *exchange, start time.Time, took time.Duration) {
	if a == nil {
		return
	}
	line := accessLine{
		Time: start.UTC().Format("2006-01-02T15:04:05.000Z"), Service: q.service, From: q.from.String(), User: protocol.Clip(q.who.user, maxLogged), By: q.who.by,
		Method: protocol.Clip(q.r.Method, maxLogged), Path: q.shownPath(), Call: q.ran, Proto: q.r.Proto, Status: q.w.status, Bytes: q.w.bytes,
		Millis: float64(took.Microseconds()) / 1000, Agent: protocol.Clip(q.r.UserAgent(), maxLogged),
	}
	if q.r.URL.RawQuery != "" {
		line.Query = "[masked]"
	}
	text, err := json.Marshal(line)
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return
	}
	_, err = a.file.Write(append(text, '\n'))
	if err != nil && !a.failed {
		a.log.Error("can't write the access log; lines are lost", "error", err.Error())
	}
	a.failed = err != nil
}

// shownPath returns the path without the session's token. A path that can't be valid is not logged, because
// it may contain anything.
func (q *exchange) shownPath() string {
	if q.unknown {
		return "[unknown]"
	}
	raw, _, _ := strings.Cut(q.r.RequestURI, "?")
	if q.path.Session != "" {
		return "/cpsess[masked]" + protocol.Clip(strings.TrimPrefix(raw, "/"+q.path.Session), maxLogged)
	}
	return protocol.Clip(raw, maxLogged)
}

// maxLogged limits each text of a client in the log, in bytes.
const maxLogged = 100
