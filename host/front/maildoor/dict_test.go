package maildoor

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func server() *Server {
	return &Server{Log: slog.New(slog.DiscardHandler), Lookup: func(_ context.Context, address string) (Box, error) {
		box := Box{Address: address, Hash: "$6$x", UID: 1001, GID: 1002, Home: "/home/a/mail/a.example/bob", Quota: 5}
		switch address {
		case "bob@a.example":
		case "quiet@a.example":
			box.Incoming, box.Outgoing, box.Quota = true, true, 0
		case "shut@a.example":
			box.Hash = ""
		case "away@a.example":
			return box, errors.New("away")
		default:
			return box, ErrNone
		}
		return box, nil
	}}
}

func TestDict(t *testing.T) {
	s := server()
	for line, want := range map[string]string{
		"": "", "H3\t2\t0\t\tliveapi": "", "I0\t0\tshared/userdb": "Fonly lookups are answered", "B1": "Fonly lookups are answered",
		"Lshared/passdb/imap/bob@a.example":           `O{"password":"$6$x","user":"bob@a.example"}`,
		"Lshared/passdb/imap/bob@a.example\tsomebody": `O{"password":"$6$x","user":"bob@a.example"}`,
		"Lshared/userdb/imap/bob@a.example":           `O{"gid":"1002","home":"/home/a/mail/a.example/bob","quota_rule":"*:bytes=5","uid":"1001"}`,
		"Lshared/userdb/lmtp/quiet@a.example":         "N", "Lshared/passdb/smtp/quiet@a.example": "N", "Lshared/passdb/submission/quiet@a.example": "N",
		"Lshared/userdb/imap/quiet@a.example": `O{"gid":"1002","home":"/home/a/mail/a.example/bob","uid":"1001"}`,
		"Lshared/passdb/imap/shut@a.example":  "N", "Lshared/userdb/lmtp/shut@a.example": `O{"gid":"1002","home":"/home/a/mail/a.example/bob","quota_rule":"*:bytes=5","uid":"1001"}`,
		"Lshared/passdb/imap/no@a.example": "N", "Lshared/passdb/imap/away@a.example": "Fthe mailbox can't be looked up at the moment",
		"Lpriv/passdb/imap/bob@a.example": "N", "Lshared/other/imap/bob@a.example": "N", "Lshared/passdb/bob@a.example": "N", "L": "N",
		"Lshared/passdb/imap/bob@a.example\x01n": "N",
	} {
		require.Equal(t, want, s.answerDict(t.Context(), line), "%q", line)
	}
}

func FuzzDict(f *testing.F) {
	f.Add("H3\t2\t0\t\tliveapi\nLshared/passdb/imap/bob@a.example\n")
	f.Add("L\x01\nL\x01t\n\n\x00")
	f.Fuzz(func(t *testing.T, text string) {
		var out strings.Builder
		server().talkDict(t.Context(), strings.NewReader(text), &out)
		for line := range strings.Lines(out.String()) {
			require.Contains(t, "ONF", line[:1])
		}
	})
}

func TestEscape(t *testing.T) {
	for _, s := range []string{"", "plain", "\x01", "\x011", "a\tb\nc\rd\x00e\x01", "\x01t"} {
		require.Equal(t, s, unescape(escape(s)), "%q", s)
		require.NotContains(t, escape(s), "\t")
		require.NotContains(t, escape(s), "\n")
	}
	require.Equal(t, "\x01t\x01n\x011", escape("\t\n\x01"))
}
