package maildoor

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// PostgreSQLSocket is the name of a socket that PostgreSQL's library opens if it is told the socket's directory.
// The number is PostgreSQL's default port.
const PostgreSQLSocket = ".s.PGSQL.5432"

const (
	maxStartups = 4  // Maximum number of messages before a connection is established: offers of encryption.
	textType    = 25 // PostgreSQL's number of the type text.
)

// talkPostgreSQL answers queries in PostgreSQL's protocol, version 3. It returns if the connection ends, or if a message
// is invalid, too long, or not a simple query. It ignores the user and the database that the client sends, because
// Server.Peer has checked the client's uid.
func (s *Server) talkPostgreSQL(ctx context.Context, in io.Reader, out io.Writer) {
	b := pgproto3.NewBackend(in, out)
	b.SetMaxBodyLen(maxRequest)
	if !startPostgreSQL(b, out) {
		return
	}
	for {
		message, err := b.Receive()
		if err != nil {
			return
		}
		query, ok := message.(*pgproto3.Query)
		if !ok {
			return
		}
		s.answerQuery(ctx, b, query.String)
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		if b.Flush() != nil {
			return
		}
	}
}

// startPostgreSQL establishes a connection. It reports whether the connection is ready for queries.
func startPostgreSQL(b *pgproto3.Backend, out io.Writer) bool {
	for range maxStartups {
		message, err := b.ReceiveStartupMessage()
		if err != nil {
			return false
		}
		switch message.(type) {
		case *pgproto3.SSLRequest, *pgproto3.GSSEncRequest: // Declined, as PostgreSQL does: the socket is local.
			if _, err := out.Write([]byte{'N'}); err != nil {
				return false
			}
		case *pgproto3.StartupMessage:
			b.Send(&pgproto3.AuthenticationOk{})
			// The client's library needs these to quote texts.
			for _, p := range []field{{"server_version", "17.0"}, {"server_encoding", "UTF8"}, {"client_encoding", "UTF8"}, {"standard_conforming_strings", "on"}} {
				b.Send(&pgproto3.ParameterStatus{Name: p.name, Value: p.value})
			}
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			return b.Flush() == nil
		default:
			return false
		}
	}
	return false
}

// answerQuery answers a query "passdb SERVICE ADDRESS" or "userdb SERVICE ADDRESS", with a row for a mailbox and
// without a row if there is none.
func (s *Server) answerQuery(ctx context.Context, b *pgproto3.Backend, query string) {
	words := strings.SplitN(query, " ", 3)
	if len(words) != 3 || words[0] != string(passdb) && words[0] != string(userdb) {
		b.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "42601", Message: "only look-ups are answered: passdb SERVICE ADDRESS, or userdb SERVICE ADDRESS"})
		return
	}
	fields, found, err := s.lookup(ctx, database(words[0]), words[1], words[2], quotaStorageSize)
	if err != nil {
		fields, found = unavailable(database(words[0]), words[2]), true
	}
	var columns []pgproto3.FieldDescription
	var values [][]byte
	for _, f := range fields {
		columns = append(columns, pgproto3.FieldDescription{Name: []byte(f.name), DataTypeOID: textType, DataTypeSize: -1, TypeModifier: -1})
		values = append(values, []byte(f.value))
	}
	b.Send(&pgproto3.RowDescription{Fields: columns})
	rows := 0
	if found {
		b.Send(&pgproto3.DataRow{Values: values})
		rows = 1
	}
	b.Send(&pgproto3.CommandComplete{CommandTag: fmt.Appendf(nil, "SELECT %d", rows)})
}

// unavailable returns the fields that make Dovecot report a temporary failure. An ErrorResponse would not do: Dovecot
// 2.4.1 closes the connection after an error and does not reconnect for the look-ups in its queue. A userdb has the field
// tempfail. A passdb has no such field, so unavailable returns a password that Dovecot can't parse; Dovecot does not cache
// this result.
func unavailable(of database, address string) []field {
	if of == userdb {
		return []field{{"tempfail", "yes"}}
	}
	return []field{{"user", address}, {"password", "{PLAIN-TRUNC}unavailable"}}
}

// quotaStorageSize is the quota of Dovecot 2.4.
func quotaStorageSize(bytes int64) field {
	return field{"quota_storage_size", fmt.Sprintf("%dB", bytes)}
}
