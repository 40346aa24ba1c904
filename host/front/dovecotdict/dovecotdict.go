// Package dovecotdict answers Dovecot's look-ups for the mailboxes of many accounts. It speaks the protocol
// of Dovecot's dictionaries (2.3, proxied over a UNIX socket), so that Dovecot reads no file that an account
// can write. The package knows no store; its Lookup function finds the mailboxes.
package dovecotdict

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/liveapid/liveapid/host/front/unixsock"
)

// Box is the data of a mailbox for Dovecot.
type Box struct {
	Address  string
	Hash     string // In the form that Dovecot reads; with "" nobody can log in.
	UID, GID int    // The user that reads and writes its mail.
	Home     string // The directory of its mail.
	Quota    int64  // Bytes; 0 means no quota.
	Incoming bool   // It receives no mail.
	Outgoing bool   // It may not send mail.
}

// ErrNone is returned for an address without a mailbox.
var ErrNone = errors.New("dovecotdict: no such mailbox")

// Server answers the look-ups.
type Server struct {
	// Lookup returns a mailbox, or ErrNone.
	Lookup func(ctx context.Context, address string) (Box, error)
	// Peer reports whether a user may ask.
	Peer func(uid int) bool
	Log  *slog.Logger
}

const (
	maxLine  = 4 << 10         // Bytes of a question.
	maxConns = 64              // Dovecot processes that may be connected at once.
	timeout  = 6 * time.Second // Slightly more than the start of a worker may take.
)

// Serve answers on l until ctx ends.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) error {
	return unixsock.Server{
		Allowed: s.Peer, Most: maxConns, Log: s.Log,
		Handle: func(ctx context.Context, c *net.UnixConn) { s.talk(ctx, c, c) },
	}.Serve(ctx, l)
}

// talk answers the questions of a connection in order, until the connection ends.
func (s *Server) talk(ctx context.Context, in io.Reader, out io.Writer) {
	lines := bufio.NewReaderSize(in, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return
		}
		answer := s.answer(ctx, strings.TrimSuffix(string(line), "\n"))
		if answer == "" {
			continue
		}
		if _, err := io.WriteString(out, answer+"\n"); err != nil {
			return
		}
	}
}

// answer returns the answer to a line, or "" if the line needs no answer.
func (s *Server) answer(ctx context.Context, line string) string {
	if line == "" {
		return ""
	}
	fields := strings.Split(line[1:], "\t")
	switch line[0] {
	case 'H': // The client's version and the type of its values.
		return ""
	case 'L':
		return s.lookup(ctx, unescape(fields[0]))
	}
	return "F" + escape("only lookups are answered")
}

// lookup answers shared/passdb/SERVICE/ADDRESS and shared/userdb/SERVICE/ADDRESS.
func (s *Server) lookup(ctx context.Context, key string) string {
	parts := strings.SplitN(key, "/", 4)
	if len(parts) != 4 || parts[0] != "shared" || parts[1] != "passdb" && parts[1] != "userdb" {
		return "N"
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	box, err := s.Lookup(ctx, parts[3])
	switch {
	case errors.Is(err, ErrNone):
		return "N"
	case err != nil:
		s.Log.Error("can't look up a mailbox for Dovecot", "error", err.Error())
		return "F" + escape("the mailbox can't be looked up at the moment")
	}
	fields, ok := answerFor(parts[1], parts[2], box)
	if !ok {
		return "N"
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return "F" + escape("the mailbox can't be encoded")
	}
	return "O" + escape(string(text))
}

// answerFor returns the fields for Dovecot. A mailbox that may not send does not exist for logins to send
// mail, and a mailbox that receives no mail does not exist for delivery.
func answerFor(kind, service string, box Box) (map[string]any, bool) {
	switch {
	case service == "lmtp" && box.Incoming, (service == "smtp" || service == "submission") && box.Outgoing:
		return nil, false
	case kind == "passdb":
		return map[string]any{"user": box.Address, "password": box.Hash}, box.Hash != ""
	}
	fields := map[string]any{"uid": fmt.Sprint(box.UID), "gid": fmt.Sprint(box.GID), "home": box.Home}
	if box.Quota > 0 {
		fields["quota_rule"] = fmt.Sprintf("*:bytes=%d", box.Quota)
	}
	return fields, true
}

// escape writes a text as a field: separators of fields and lines are escaped with \001.
var (
	escapes   = strings.NewReplacer("\x01", "\x011", "\t", "\x01t", "\n", "\x01n", "\r", "\x01r", "\x00", "\x010")
	unescapes = strings.NewReplacer("\x011", "\x01", "\x01t", "\t", "\x01n", "\n", "\x01r", "\r", "\x010", "\x00")
)

func escape(s string) string   { return escapes.Replace(s) }
func unescape(s string) string { return unescapes.Replace(s) }
