// Package dovecotdict answers Dovecot's look-ups of mailboxes, for all accounts. It implements the server
// side of Dovecot's dictionary protocol (Dovecot 2.3, dict proxy over a UNIX socket). Because Dovecot asks
// the host for the mailboxes, it does not have to read files that an account can write. The package does not
// depend on how mailboxes are stored: it calls Server.Lookup to find them.
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

// Box is what Dovecot needs to know about a mailbox.
type Box struct {
	Address  string
	Hash     string // Password hash in Dovecot's form; "" rejects all logins.
	UID, GID int    // The user that reads and writes the mailbox's files.
	Home     string // The mailbox's directory.
	Quota    int64  // Quota in bytes; 0 means unlimited.
	Incoming bool   // Incoming mail is suspended: none is delivered.
	Outgoing bool   // Outgoing mail is suspended: sending is rejected.
}

// ErrNone is returned by Server.Lookup if no mailbox has the address.
var ErrNone = errors.New("dovecotdict: no such mailbox")

// Server answers Dovecot's look-ups. Set all fields before calling Serve. Lookup and Peer must be safe for
// concurrent use.
type Server struct {
	// Lookup returns the mailbox with the given address, or ErrNone.
	Lookup func(ctx context.Context, address string) (Box, error)
	// Peer reports whether the user with the given uid may connect. Connections of other users are closed.
	Peer func(uid int) bool
	Log  *slog.Logger
}

const (
	maxLine  = 4 << 10         // Maximum length of a request line, in bytes.
	maxConns = 64              // Maximum number of connections from Dovecot at once.
	timeout  = 6 * time.Second // Maximum time of a look-up, including a worker's start.
)

// Serve accepts connections on l and answers look-ups until ctx ends.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) error {
	return unixsock.Server{
		Allowed: s.Peer, Most: maxConns, Log: s.Log,
		Handle: func(ctx context.Context, c *net.UnixConn) { s.talk(ctx, c, c) },
	}.Serve(ctx, l)
}

// talk reads requests from in, one per line, and writes the answers to out in the same order. It returns when
// the connection ends or a line is too long.
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

// answer returns the answer to a request line, or "" if the line needs no answer.
func (s *Server) answer(ctx context.Context, line string) string {
	if line == "" {
		return ""
	}
	fields := strings.Split(line[1:], "\t")
	switch line[0] {
	case 'H': // Handshake: the client's version and type of values.
		return ""
	case 'L':
		return s.lookup(ctx, unescape(fields[0]))
	}
	return "F" + escape("only lookups are answered")
}

// lookup answers a look-up of a key shared/passdb/SERVICE/ADDRESS or shared/userdb/SERVICE/ADDRESS.
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

// answerFor returns the fields for Dovecot. It returns false if Dovecot must treat the mailbox as missing:
// for delivery (lmtp) if incoming mail is suspended, for sending mail (smtp, submission) if outgoing mail is
// suspended, and for every passdb look-up if the mailbox has no password hash.
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

// The dictionary protocol separates fields with tabs and lines with line feeds. In a field, these characters
// are escaped with the byte \001.
var (
	escapes   = strings.NewReplacer("\x01", "\x011", "\t", "\x01t", "\n", "\x01n", "\r", "\x01r", "\x00", "\x010")
	unescapes = strings.NewReplacer("\x011", "\x01", "\x01t", "\t", "\x01n", "\n", "\x01r", "\r", "\x010", "\x00")
)

func escape(s string) string   { return escapes.Replace(s) }
func unescape(s string) string { return unescapes.Replace(s) }
