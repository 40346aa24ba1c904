package maildoor

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// talkDict reads requests of the dictionary protocol from in, one per line, and writes the answers to out in the
// same order. It returns when the connection ends or a line is too long.
func (s *Server) talkDict(ctx context.Context, in io.Reader, out io.Writer) {
	lines := bufio.NewReaderSize(in, maxRequest)
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return
		}
		answer := s.answerDict(ctx, strings.TrimSuffix(string(line), "\n"))
		if answer == "" {
			continue
		}
		if _, err := io.WriteString(out, answer+"\n"); err != nil {
			return
		}
	}
}

// answerDict returns the answer to a request line, or "" if the line needs no answer.
func (s *Server) answerDict(ctx context.Context, line string) string {
	if line == "" {
		return ""
	}
	fields := strings.Split(line[1:], "\t")
	switch line[0] {
	case 'H': // Handshake: the client's version and type of values.
		return ""
	case 'L':
		return s.lookupKey(ctx, unescape(fields[0]))
	}
	return "F" + escape("only lookups are answered")
}

// lookupKey answers a look-up of a key shared/passdb/SERVICE/ADDRESS or shared/userdb/SERVICE/ADDRESS.
func (s *Server) lookupKey(ctx context.Context, key string) string {
	parts := strings.SplitN(key, "/", 4)
	if len(parts) != 4 || parts[0] != "shared" || parts[1] != string(passdb) && parts[1] != string(userdb) {
		return "N"
	}
	fields, found, err := s.lookup(ctx, database(parts[1]), parts[2], parts[3], quotaRule)
	switch {
	case err != nil:
		return "F" + escape(err.Error())
	case !found:
		return "N"
	}
	object := make(map[string]string)
	for _, f := range fields {
		object[f.name] = f.value
	}
	text, err := json.Marshal(object)
	if err != nil {
		return "F" + escape("the mailbox can't be encoded")
	}
	return "O" + escape(string(text))
}

// quotaRule is the quota of Dovecot 2.3.
func quotaRule(bytes int64) field { return field{"quota_rule", fmt.Sprintf("*:bytes=%d", bytes)} }

// The dictionary protocol separates fields with tabs and lines with line feeds. In a field, these characters
// are escaped with the byte \001.
var (
	escapes   = strings.NewReplacer("\x01", "\x011", "\t", "\x01t", "\n", "\x01n", "\r", "\x01r", "\x00", "\x010")
	unescapes = strings.NewReplacer("\x011", "\x01", "\x01t", "\t", "\x01n", "\n", "\x01r", "\r", "\x010", "\x00")
)

func escape(s string) string   { return escapes.Replace(s) }
func unescape(s string) string { return unescapes.Replace(s) }
