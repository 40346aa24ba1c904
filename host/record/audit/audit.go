// Package audit writes the audit log, which records each change that a call makes: the user, the origin, the
// function, its arguments and the outcome. The log is a file of JSON lines that is only appended to. Each
// line contains the hash of the previous line, so Verify detects lines that were changed, inserted or
// removed. The log contains no secrets. The package does not depend on any module of the API.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Record is a line of the audit log.
type Record struct {
	N        uint64            `json:"n"`    // Number of the record, from 1; not reset by log rotation.
	Time     time.Time         `json:"time"` // Time of the record, in UTC.
	Event    string            `json:"event"`
	ID       string            `json:"id,omitempty"` // ID of the call, as in the answer and the host's main log.
	Account  string            `json:"account,omitempty"`
	Role     string            `json:"role,omitempty"`
	Door     string            `json:"door,omitempty"`
	From     string            `json:"from,omitempty"`
	Module   string            `json:"module,omitempty"`
	Function string            `json:"function,omitempty"`
	API      int               `json:"api,omitempty"`
	Args     map[string]string `json:"args,omitempty"`
	Result   string            `json:"result,omitempty"`
	Reason   string            `json:"reason,omitempty"`
	Prev     string            `json:"prev"` // SHA-256 of the previous line; zeros in record 1.
}

// The values of Record.Event.
const (
	EventBegin  = "begin"  // A call that changes something is about to run.
	EventEnd    = "end"    // The call has ended.
	EventOpened = "opened" // A host opened the log.
	EventCut    = "cut"    // An incomplete last line (as by a crash) was truncated.
)

// maxLine is the maximum length of a line, in bytes.
const maxLine = 64 << 10

var zeros = hex.EncodeToString(make([]byte, sha256.Size))

// Log is an audit log that is open for writing. It is safe for concurrent use.
type Log struct {
	path string

	mu   sync.Mutex
	file *os.File
	n    uint64
	prev string
	bad  error // Error of the last failed write; nil after recovery.
}

// Open opens the audit log at path, and creates the file if it does not exist. It locks the file: while the
// log is open, no other process can open it for writing. An incomplete last line is truncated.
func Open(path string) (*Log, error) {
	l := &Log{path: path, prev: zeros}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

// open opens and locks the file. If the last line is incomplete, open truncates it and writes a record with
// EventCut. Then it writes a record with EventOpened. The caller must hold mu; only Open calls it without mu,
// because no other goroutine can use l yet.
func (l *Log) open() error {
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return fmt.Errorf("lock the audit log %s (another host may be using the file): %w", l.path, err)
	}
	last, cut, err := lastLine(f)
	if err == nil && last != nil {
		var r Record
		if err = json.Unmarshal(last, &r); err == nil {
			l.n, l.prev = r.N, hashOf(last)
		}
	}
	if err == nil && cut > 0 {
		info, statErr := f.Stat()
		if err = statErr; err == nil {
			err = f.Truncate(info.Size() - cut)
		}
	}
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("audit log %s: the last line can't be read (move the file away to start a new log): %w", l.path, err)
	}
	l.file, l.bad = f, nil
	if cut > 0 {
		err = l.write(Record{Event: EventCut, Reason: fmt.Sprintf("%d bytes", cut)})
	}
	if err == nil {
		err = l.write(Record{Event: EventOpened})
	}
	if err != nil {
		_ = f.Close() // Closing the file also releases the lock.
		l.file = nil
	}
	return err
}

// lastLine returns the last complete line of f, without its line feed. cut is the number of bytes after that
// line, which belong to an incomplete line.
func lastLine(f *os.File) (line []byte, cut int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	size := info.Size()
	from := max(0, size-2*maxLine)
	tail := make([]byte, size-from)
	if _, err := f.ReadAt(tail, from); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	end := bytes.LastIndexByte(tail, '\n')
	if end < 0 {
		if size > maxLine {
			return nil, 0, errors.New("the end of the file contains no complete line")
		}
		return nil, size, nil
	}
	start := bytes.LastIndexByte(tail[:end], '\n') + 1
	return tail[start:end], int64(len(tail) - end - 1), nil
}

func hashOf(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// Append writes a record to the file with one system call and does not flush it to disk. Therefore a crash of
// this process does not lose the record after Append has returned, but a crash of the machine may lose the
// last records.
func (l *Log) Append(r Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.write(r)
}

func (l *Log) write(r Record) error {
	if l.file == nil {
		return errors.New("audit log: the log is closed")
	}
	if l.bad != nil {
		if l.bad = l.recover(); l.bad != nil {
			return l.bad
		}
	}
	r.N, r.Prev, r.Time = l.n+1, l.prev, time.Now().UTC()
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	if len(line) > maxLine {
		return fmt.Errorf("audit log: the record is too long: %d bytes", len(line))
	}
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		l.bad = fmt.Errorf("audit log: %w", err)
		return l.bad
	}
	l.n, l.prev = r.N, hashOf(line)
	return nil
}

// recover truncates an incomplete last line, which a failed write left.
func (l *Log) recover() error {
	_, cut, err := lastLine(l.file)
	if err != nil {
		return err
	}
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if cut > 0 {
		return l.file.Truncate(info.Size() - cut)
	}
	return nil
}

// Reopen opens the log's path again if the file was moved away, as log rotation does. The chain of hashes
// continues in the new file.
func (l *Log) Reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	held, err := l.file.Stat()
	if err != nil {
		return err
	}
	if now, err := os.Stat(l.path); err == nil && os.SameFile(held, now) {
		return nil
	}
	if l.bad != nil {
		l.bad = l.recover() // Truncates an incomplete line before the file is left.
	}
	old, n, prev, bad := l.file, l.n, l.prev, l.bad
	l.file = nil
	if err := l.open(); err != nil {
		l.file, l.n, l.prev, l.bad = old, n, prev, bad // The new file can't be used: continue with the old file.
		return err
	}
	return errors.Join(old.Sync(), old.Close())
}

// Close flushes the log to disk and closes it. Closing a closed log has no effect.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := errors.Join(l.file.Sync(), l.file.Close())
	l.file = nil
	return err
}
