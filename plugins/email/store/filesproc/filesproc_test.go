package filesproc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/email/store/files"
	"github.com/liveapid/liveapid/plugins/email/store/filesproc"
	"github.com/liveapid/liveapid/plugins/email/store/storetest"
)

const domain = "example.com"

// connect returns a client of a store of files, which another goroutine serves.
func connect(t *testing.T, s filesproc.Files) *filesproc.Client {
	t.Helper()
	callsIn, callsOut := io.Pipe()
	answersIn, answersOut := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- filesproc.Serve(context.Background(), s, callsIn, answersOut) }()
	t.Cleanup(func() {
		_ = callsOut.Close()
		_ = answersIn.Close() // The server may still write an answer that the client has refused.
		<-done
	})
	return filesproc.NewClient(answersIn, callsOut, func() { _ = answersIn.Close() })
}

func entry(name string, n int) store.Entry {
	return store.Entry{Mailbox: store.Mailbox{Address: store.Address{Localpart: name, Domain: domain}, Quota: int64(n) << 20}, Hash: storetest.Hash(n)}
}

func TestClient(t *testing.T) {
	home := t.TempDir()
	c := connect(t, files.New(home))
	ctx := t.Context()
	entries := []store.Entry{entry("a", 1), entry("b", 2)}
	entries[1].Suspended = store.Locked
	require.NoError(t, c.Import(ctx, entries, false))
	require.NoError(t, os.WriteFile(filepath.Join(home, "etc", domain, "passwd"), []byte("a:x:\nb:x:\nInfo:x:\n"), 0o640))
	got, odd, err := c.Entries(ctx, domain)
	require.NoError(t, err)
	require.Equal(t, entries, got)
	require.Equal(t, []store.Odd{{Name: "Info", Where: "etc/example.com/passwd", Reason: "the name has upper-case letters; a mail server looks mailboxes up in lower case"}}, odd)

	// Errors keep their kind and their text.
	err = c.Import(ctx, entries, false)
	require.ErrorIs(t, err, store.ErrExists)
	require.ErrorContains(t, err, ": a")
	n, err := c.Unlock(ctx, domain)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	limit := filepath.Join(home, "mail", domain, "a", "maildirsize")
	require.NoError(t, os.Remove(limit))
	require.NoError(t, c.EnforceQuotas(ctx, domain))
	require.FileExists(t, limit)
	formats, err := c.Formats(ctx, domain)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "maildir", "b": "maildir"}, formats)
	require.NoError(t, c.Remove(ctx, []store.Address{entries[0].Address, {Localpart: "none", Domain: domain}}))
	got, _, err = c.Entries(ctx, domain)
	require.NoError(t, err)
	require.Len(t, got, 1)

	// Lists of any length come in parts.
	var many []store.Entry
	for i := range 2500 {
		many = append(many, entry(fmt.Sprintf("m%d", i), i))
	}
	require.NoError(t, c.Import(ctx, many, false))
	got, _, err = c.Entries(ctx, domain)
	require.NoError(t, err)
	require.Len(t, got, 2501)
}

// liar answers with mailboxes that are not the account's.
type liar struct {
	filesproc.Files
	entries []store.Entry
}

func (l liar) Entries(context.Context, string) ([]store.Entry, []store.Odd, error) {
	return l.entries, nil, nil
}

// The process belongs to the account, which must not reach another account's mailboxes through it.
func TestHostileProcess(t *testing.T) {
	other := entry("a", 1)
	other.Domain = "other.example"
	odd := entry("a", 1)
	odd.Localpart = "a@other.example,b"
	upper := entry("A", 1)
	for name, entries := range map[string][]store.Entry{
		"another domain": {entry("a", 1), other}, "an odd name": {odd}, "upper case": {upper}, "twice": {entry("a", 1), entry("a", 2)},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := connect(t, liar{entries: entries}).Entries(t.Context(), domain)
			require.ErrorIs(t, err, store.ErrUnsafe)
		})
	}
	for name, answer := range map[string]string{"nothing": "", "no JSON": "x", "half of an answer": `{"entries":[`, "another type": `[]`} {
		t.Run(name, func(t *testing.T) {
			_, _, err := filesproc.NewClient(strings.NewReader(answer), io.Discard, func() {}).Entries(t.Context(), domain)
			require.ErrorIs(t, err, store.ErrUnknown)
		})
	}
}

// A process that does not answer, or never ends its answer, is killed or refused, and its texts are clipped.
func TestProcessWithoutEnd(t *testing.T) {
	in, out := io.Pipe()
	killed := false
	c := filesproc.NewClient(in, io.Discard, func() { killed = true; _ = in.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, _, err := c.Entries(ctx, domain)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.True(t, killed)
	_ = out.Close()

	for name, answer := range map[string]string{
		"many elements": `{"odd":[` + strings.Repeat("{},", 2000) + `{}],"more":true}`,
		"many parts":    strings.Repeat(`{"more":true}`, 2000),
		"a large part":  `{"error":"` + strings.Repeat("x", 8<<20) + `"}`,
	} {
		_, _, err := filesproc.NewClient(strings.NewReader(answer), io.Discard, func() {}).Entries(t.Context(), domain)
		require.Error(t, err, name)
		require.Less(t, len(err.Error()), 1000, name)
	}
	_, odd, err := filesproc.NewClient(strings.NewReader(`{"odd":[{"name":"\u001b[2Jx","reason":"a\nb"}]}`), io.Discard, func() {}).Entries(t.Context(), domain)
	require.NoError(t, err)
	require.Equal(t, []store.Odd{{Name: `\x1b[2Jx`, Reason: `a\nb`}}, odd)
	_, _, err = filesproc.NewClient(strings.NewReader(`{"error":"\u001b]0;x\u0007"}`), io.Discard, func() {}).Entries(t.Context(), domain)
	require.EqualError(t, err, `\x1b]0;x\a`)
}

func FuzzServe(f *testing.F) {
	for _, r := range []string{`{"op":"entries","domain":"example.com"}`, `{"op":"import","entries":[{"Localpart":"a","Domain":"example.com","Hash":"$6$x"}]}`,
		`{"op":"unlock","domain":"../../etc"}`, `{"op":"delete","box":{"Localpart":"../x","Domain":"example.com"}}`, `{"op":"x"}`, `{`} {
		f.Add(r)
	}
	f.Fuzz(func(t *testing.T, text string) {
		home := filepath.Join(t.TempDir(), "home")
		require.NoError(t, os.Mkdir(home, 0o700))
		var out strings.Builder
		err := filesproc.Serve(t.Context(), files.New(home), strings.NewReader(text), &out)
		for d := json.NewDecoder(strings.NewReader(out.String())); ; {
			var answer map[string]any
			decodeErr := d.Decode(&answer)
			if errors.Is(decodeErr, io.EOF) {
				break
			}
			require.NoError(t, decodeErr)
		}
		names, readErr := os.ReadDir(filepath.Dir(home))
		require.NoError(t, readErr)
		require.Len(t, names, 1, "%v: nothing is written outside the home", err)
	})
}
