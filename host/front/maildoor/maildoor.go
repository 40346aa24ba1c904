// Package maildoor answers Dovecot's look-ups of mailboxes, for all accounts, over a UNIX socket. It implements
// the server side of two protocols: Dovecot's dictionary protocol for Dovecot 2.3 (dict proxy), and the part of
// PostgreSQL's protocol that Dovecot's SQL driver uses for Dovecot 2.4, which can't look up users in a
// dictionary. Because Dovecot asks the host for the mailboxes, it does not have to read files that an account
// can write. The package does not depend on how mailboxes are stored: it calls Server.Lookup to find them.
package maildoor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
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
var ErrNone = errors.New("maildoor: no such mailbox")

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
	maxRequest = 4 << 10         // Maximum length of a request, in bytes.
	maxConns   = 64              // Maximum number of connections from Dovecot at once, on each socket.
	timeout    = 6 * time.Second // Maximum time of a look-up, including a worker's start.
)

// ServeDict accepts connections on l and answers look-ups in Dovecot's dictionary protocol until ctx ends.
func (s *Server) ServeDict(ctx context.Context, l *net.UnixListener) error {
	return s.serve(ctx, l, func(ctx context.Context, c *net.UnixConn) { s.talkDict(ctx, c, c) })
}

// ServePostgreSQL accepts connections on l and answers look-ups in PostgreSQL's protocol until ctx ends.
func (s *Server) ServePostgreSQL(ctx context.Context, l *net.UnixListener) error {
	return s.serve(ctx, l, func(ctx context.Context, c *net.UnixConn) { s.talkPostgreSQL(ctx, c, c) })
}

func (s *Server) serve(ctx context.Context, l *net.UnixListener, handle func(context.Context, *net.UnixConn)) error {
	return unixsock.Server{Allowed: s.Peer, Most: maxConns, Log: s.Log, Handle: handle}.Serve(ctx, l)
}

// database is a database of Dovecot: passdb contains passwords, userdb contains users and directories.
type database string

const (
	passdb database = "passdb"
	userdb database = "userdb"
)

// field is a named value of an answer to Dovecot.
type field struct{ name, value string }

// quotaField returns the field with which a version of Dovecot takes a quota in bytes.
type quotaField func(bytes int64) field

// errLookup is the error that Dovecot is told if a look-up fails. The cause is only logged.
var errLookup = errors.New("the mailbox can't be looked up at the moment")

// lookup returns the fields of the mailbox with the given address for a service of Dovecot, such as imap. found is
// false if Dovecot must treat the mailbox as missing.
func (s *Server) lookup(ctx context.Context, of database, service, address string, quota quotaField) (fields []field, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	box, err := s.Lookup(ctx, address)
	switch {
	case errors.Is(err, ErrNone):
		return nil, false, nil
	case err != nil:
		s.Log.Error("can't look up a mailbox for Dovecot", "error", err.Error())
		return nil, false, errLookup
	}
	fields, found = answerFor(of, service, box, quota)
	return fields, found, nil
}

// answerFor returns the fields for Dovecot. It returns false if Dovecot must treat the mailbox as missing:
// for delivery (lmtp) if incoming mail is suspended, for sending mail (smtp, submission) if outgoing mail is
// suspended, and for every passdb look-up if the mailbox has no password hash.
func answerFor(of database, service string, box Box, quota quotaField) ([]field, bool) {
	switch {
	case service == "lmtp" && box.Incoming, (service == "smtp" || service == "submission") && box.Outgoing:
		return nil, false
	case of == passdb:
		return []field{{"user", box.Address}, {"password", box.Hash}}, box.Hash != ""
	}
	fields := []field{{"uid", fmt.Sprint(box.UID)}, {"gid", fmt.Sprint(box.GID)}, {"home", box.Home}}
	if box.Quota > 0 {
		fields = append(fields, quota(box.Quota))
	}
	return fields, true
}
