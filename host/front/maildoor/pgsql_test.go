package maildoor

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
)

// A real client of PostgreSQL gets the answers. That Dovecot's does, too, is in the tests of the mail server.
func TestPostgreSQL(t *testing.T) {
	config, err := pgx.ParseConfig("host=/x user=dovecot dbname=liveapi default_query_exec_mode=simple_protocol sslmode=disable")
	require.NoError(t, err)
	far, near := net.Pipe()
	go func() {
		defer func() { _ = far.Close() }()
		server().talkPostgreSQL(t.Context(), far, far)
	}()
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) { return near, nil }
	client, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	for query, want := range map[string]string{
		"passdb imap bob@a.example":   "user=bob@a.example password=$6$x",
		"userdb imap bob@a.example":   "uid=1001 gid=1002 home=/home/a/mail/a.example/bob quota_storage_size=5B",
		"userdb imap quiet@a.example": "uid=1001 gid=1002 home=/home/a/mail/a.example/bob",
		"userdb lmtp quiet@a.example": "", "passdb smtp quiet@a.example": "", "passdb submission quiet@a.example": "",
		"passdb imap shut@a.example": "", "passdb imap no@a.example": "", "passdb imap ": "",
		"passdb imap away@a.example": "user=away@a.example password={PLAIN-TRUNC}unavailable", "userdb lmtp away@a.example": "tempfail=yes",
		"passdb imap bob@a.example x": "", "passdb imap": "only look-ups are answered", "passdb imap bo''b@a.example": "",
		"SELECT 1": "only look-ups are answered", "other imap bob@a.example": "only look-ups are answered",
		"passdb imap bob@a.example; userdb imap bob@a.example": "",
	} {
		var got []string
		rows, err := client.Query(t.Context(), query)
		for err == nil && rows.Next() {
			values, valuesErr := rows.Values()
			require.NoError(t, valuesErr)
			for i, f := range rows.FieldDescriptions() {
				got = append(got, f.Name+"="+values[i].(string))
			}
		}
		if err == nil {
			err = rows.Err()
		}
		if err != nil {
			require.ErrorContains(t, err, want, query)
			require.NotEmpty(t, want, query)
			continue
		}
		require.Equal(t, want, strings.Join(got, " "), query)
	}
	require.NoError(t, client.Close(t.Context()))
}

// requestBytes are the bytes of a client's messages.
func requestBytes(t testing.TB, messages ...pgproto3.FrontendMessage) []byte {
	var all []byte
	for _, m := range messages {
		var err error
		all, err = m.Encode(all)
		require.NoError(t, err)
	}
	return all
}

// The server declines encryption, and closes the connection at a message that is not a simple query.
func TestPostgreSQLEnds(t *testing.T) {
	start := &pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "x"}}
	look := &pgproto3.Query{String: "passdb imap bob@a.example"}
	for name, c := range map[string]struct {
		messages []pgproto3.FrontendMessage
		begins   string
		rows     int
	}{
		"plain":             {[]pgproto3.FrontendMessage{start, look, look}, "R", 2},
		"declined":          {[]pgproto3.FrontendMessage{&pgproto3.GSSEncRequest{}, &pgproto3.SSLRequest{}, start, look}, "NNR", 1},
		"offers only":       {[]pgproto3.FrontendMessage{&pgproto3.SSLRequest{}, &pgproto3.SSLRequest{}, &pgproto3.SSLRequest{}, &pgproto3.SSLRequest{}, start, look}, "NNNN", 0},
		"a cancellation":    {[]pgproto3.FrontendMessage{&pgproto3.CancelRequest{SecretKey: []byte{1, 2, 3, 4}}, start, look}, "", 0},
		"prepared":          {[]pgproto3.FrontendMessage{start, look, &pgproto3.Parse{Query: "x"}, look}, "R", 1},
		"ended":             {[]pgproto3.FrontendMessage{start, &pgproto3.Terminate{}, look}, "R", 0},
		"too long a query":  {[]pgproto3.FrontendMessage{start, look, &pgproto3.Query{String: strings.Repeat("x", maxRequest)}, look}, "R", 1},
		"without a startup": {[]pgproto3.FrontendMessage{look}, "", 0},
	} {
		var out bytes.Buffer
		server().talkPostgreSQL(t.Context(), bytes.NewReader(requestBytes(t, c.messages...)), &out)
		require.True(t, strings.HasPrefix(out.String(), c.begins), name)
		require.Equal(t, c.rows, strings.Count(out.String(), "$6$x"), name)
		require.Equal(t, c.begins == "", out.Len() == 0, name)
	}
}

func FuzzPostgreSQL(f *testing.F) {
	start := &pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "x"}}
	f.Add(requestBytes(f, start, &pgproto3.Query{String: "passdb imap bob@a.example"}))
	f.Add(requestBytes(f, &pgproto3.SSLRequest{}, start, &pgproto3.Query{String: "userdb imap away@a.example"}, &pgproto3.Terminate{}))
	f.Add(requestBytes(f, start, &pgproto3.Bind{}, &pgproto3.Execute{}))
	f.Fuzz(func(t *testing.T, request []byte) {
		var out bytes.Buffer
		server().talkPostgreSQL(t.Context(), bytes.NewReader(request), &out)
	})
}
