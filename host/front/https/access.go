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

// AccessLog writes one line of JSON for each request, with the user, the time, the path and the outcome. It
// never writes query strings or bodies, because they can contain passwords, and never a session's token. Its
// methods may be called concurrently.
type AccessLog struct {
	path string
	log  *slog.Logger

	mu     sync.Mutex
	file   *os.File
	failed bool
}

// OpenAccessLog opens the file at path for appending, and creates it if it does not exist. A new file has
// mode 0600.
func OpenAccessLog(path string, log *slog.Logger) (*AccessLog, error) {
	a := &AccessLog{path: path, log: log}
	return a, a.Reopen()
}

// Reopen opens the file at the configured path again and closes the old file. It is called after log rotation
// has moved the old file away. On a nil AccessLog, Reopen does nothing.
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

// Close closes the file. On a nil AccessLog, Close does nothing.
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

// accessLine is one line of the access log. Its JSON names are part of the log's format.
type accessLine struct {
	Time    string  `json:"time"`
	Service Service `json:"service"`
	From    string  `json:"from"`
	User    string  `json:"user,omitempty"`
	By      string  `json:"by,omitempty"`
	Method  string  `json:"method"`
	Path    string  `json:"path"`
	Query   string  `json:"query,omitempty"` // "[masked]" if the request had a query.
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

// shownPath returns the request's path as it is written to the log, with the session's token masked. If the
// path is not valid, shownPath returns a placeholder, because an invalid path may contain anything, such as a
// password.
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

// maxLogged is the maximum length in bytes of each text that comes from a client and is written to the log,
// such as a user name.
const maxLogged = 100
