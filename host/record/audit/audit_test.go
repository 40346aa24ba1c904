package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/record/audit"
	"github.com/liveapid/liveapid/protocol"
)

// TestMain is also a host that is killed while it writes.
func TestMain(m *testing.M) {
	if path := os.Getenv("AUDIT_TEST_WRITE"); path != "" {
		l, err := audit.Open(path)
		if err != nil {
			panic(err)
		}
		for i := 0; ; i++ {
			if err := l.Append(audit.Record{Event: audit.EventBegin, ID: fmt.Sprint(i)}); err != nil {
				panic(err)
			}
			fmt.Println(i) // Tells the test that the line is written.
		}
	}
	os.Exit(m.Run())
}

func open(t *testing.T, path string) *audit.Log {
	t.Helper()
	l, err := audit.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func verify(t *testing.T, paths ...string) (audit.Chain, error) {
	t.Helper()
	var c audit.Chain
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		if err := c.Verify(bytes.NewReader(text)); err != nil {
			return c, err
		}
	}
	return c, nil
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	all := strings.SplitAfter(string(text), "\n")
	require.Empty(t, all[len(all)-1])
	return all[:len(all)-1]
}

// T44: each call that changes something has its two lines, and no input of a caller adds another.
func TestT44_EveryChangeIsWrittenDown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	o := &audit.Observer{Log: open(t, path), Errors: slog.New(slog.DiscardHandler)}
	event := host.Event{
		ID: "abc123", API: protocol.UAPI, Module: "Email", Func: "passwd_pop", Function: protocol.Function{Name: "passwd_pop", Changes: true},
		Caller: protocol.Caller{Account: protocol.Account{Name: "alice"}, Role: protocol.RoleAccount, Door: "socket", From: "uid 1001 pid 7"},
		Args:   map[string]string{"email": "evil\r\n{\"n\":1}\x1b[31m\x00\xff", "password": "[secret]"},
	}
	for range 500 {
		require.NoError(t, o.Begin(event))
		o.End(event, &protocol.Result{}, 0)
	}
	o.End(event, protocol.Failed(protocol.NewError(protocol.KindDenied, "No.\nAnd\u2028more")), 0)
	event.Function.Changes = false
	o.End(event, &protocol.Result{}, 0)
	all := lines(t, path)
	require.Len(t, all, 1+1000+1)
	var first, last audit.Record
	require.NoError(t, json.Unmarshal([]byte(all[1]), &first))
	require.Equal(t, audit.EventBegin, first.Event)
	require.Equal(t, "alice", first.Account)
	require.Equal(t, "uid 1001 pid 7", first.From)
	require.Equal(t, "[secret]", first.Args["password"])
	require.NoError(t, json.Unmarshal([]byte(all[1001]), &last))
	require.Equal(t, "denied", last.Result)
	for _, line := range all {
		require.NotContains(t, strings.TrimSuffix(line, "\n"), "\n")
		require.NotContains(t, line, "\x1b")
		require.NotContains(t, line, "\x00")
	}
	c, err := verify(t, path)
	require.NoError(t, err)
	require.EqualValues(t, 1002, c.N)
}

func TestWhatIsTamperedWithIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, path)
	for i := range 20 {
		require.NoError(t, l.Append(audit.Record{Event: audit.EventBegin, ID: fmt.Sprint(i)}))
	}
	whole := lines(t, path)
	for name, bad := range map[string]func(l []string) []string{
		"changed":    func(l []string) []string { l[5] = strings.Replace(l[5], `"id":"4"`, `"id":"x"`, 1); return l },
		"taken out":  func(l []string) []string { return append(l[:7:7], l[8:]...) },
		"put in":     func(l []string) []string { return append(l[:7:7], append([]string{l[6]}, l[7:]...)...) },
		"swapped":    func(l []string) []string { l[3], l[4] = l[4], l[3]; return l },
		"no record":  func(l []string) []string { l[9] = "hello\n"; return l },
		"more in it": func(l []string) []string { l[9] = strings.Replace(l[9], `"id"`, `"x":1,"id"`, 1); return l },
		"two in one": func(l []string) []string { l[9] = strings.TrimSuffix(l[9], "\n") + "{}\n"; return l },
		"no end":     func(l []string) []string { return append(l, "{") },
		"too long":   func(l []string) []string { return append(l, strings.Repeat("x", 70<<10)+"\n") },
		"headless":   func(l []string) []string { l[0] = strings.Replace(l[0], `"prev":"00`, `"prev":"01`, 1); return l },
	} {
		var c audit.Chain
		err := c.Verify(strings.NewReader(strings.Join(bad(append([]string(nil), whole...)), "")))
		require.ErrorIs(t, err, audit.ErrBroken, name)
	}
	var c audit.Chain
	require.NoError(t, c.Verify(strings.NewReader(strings.Join(whole[5:], ""))), "of the oldest file that is kept the beginning is taken as it is")
}

// The chain continues over restarts, over rotated files, and after a power failure.
func TestTheChainGoesOn(t *testing.T) {
	dir := t.TempDir()
	path, old := filepath.Join(dir, "audit.log"), filepath.Join(dir, "audit.log.1")
	l := open(t, path)
	_, err := audit.Open(path)
	require.ErrorContains(t, err, "another host may be using the file")
	require.NoError(t, l.Append(audit.Record{Event: audit.EventBegin}))
	require.NoError(t, l.Close())
	require.Error(t, l.Append(audit.Record{}))

	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"n":3,"half`)
	require.NoError(t, errors.Join(err, f.Close()))
	l = open(t, path)
	c, err := verify(t, path)
	require.NoError(t, err)
	require.EqualValues(t, 4, c.N, "a record of what was cut, and one of the opening")
	require.Contains(t, strings.Join(lines(t, path), ""), `"event":"cut","reason":"12 bytes"`)

	require.NoError(t, l.Reopen())
	require.NoError(t, os.Rename(path, old))
	require.NoError(t, l.Append(audit.Record{Event: audit.EventBegin, ID: "late"}))
	require.NoError(t, l.Reopen())
	require.NoError(t, l.Append(audit.Record{Event: audit.EventBegin, ID: "new"}))
	require.NotContains(t, strings.Join(lines(t, path), ""), "late")
	c, err = verify(t, old, path)
	require.NoError(t, err)
	require.EqualValues(t, 7, c.N)
	_, err = verify(t, path, old)
	require.ErrorIs(t, err, audit.ErrBroken)

	// If a new file can't be written, the old file is used, and the next attempt works.
	require.NoError(t, os.Rename(path, filepath.Join(dir, "audit.log.2")))
	var before syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 10, Max: before.Max}))
	require.Error(t, l.Reopen())
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before))
	require.NoError(t, l.Append(audit.Record{Event: audit.EventBegin}))
	require.NoError(t, l.Reopen())
	c, err = verify(t, old, filepath.Join(dir, "audit.log.2"), path)
	require.NoError(t, err)
	require.EqualValues(t, 10, c.N)

	require.NoError(t, l.Close())
	require.NoError(t, os.WriteFile(path, []byte("hello\n"), 0o600))
	_, err = audit.Open(path)
	require.ErrorContains(t, err, "move the file away")
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Symlink(old, path))
	_, err = audit.Open(path)
	require.Error(t, err, "no link is followed")
}

func TestManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, path)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				_ = l.Append(audit.Record{Event: audit.EventEnd})
			}
		})
	}
	all.Wait()
	c, err := verify(t, path)
	require.NoError(t, err)
	require.EqualValues(t, 1601, c.N)
}

// T44: lines from before the host was killed are there, and the chain is valid.
func TestT44_KilledWhileWriting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	self, err := os.Executable()
	require.NoError(t, err)
	written := 0
	for range 10 {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "AUDIT_TEST_WRITE="+path)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		head := make([]byte, 2000)
		_, err = io.ReadFull(out, head)
		require.NoError(t, err)
		require.NoError(t, cmd.Process.Signal(syscall.SIGKILL))
		rest, _ := io.ReadAll(out)
		_ = cmd.Wait()
		written += bytes.Count(append(head, rest...), []byte("\n"))
	}
	l := open(t, path)
	require.NoError(t, l.Close())
	c, err := verify(t, path)
	require.NoError(t, err)
	require.GreaterOrEqual(t, int(c.Records), written)
}

// R4: a failed write is reported, and logging continues when there is space again.
func TestR04_NoRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, path)
	var before syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: uint64(info.Size() + 20), Max: before.Max}))
	require.Error(t, l.Append(audit.Record{Event: audit.EventBegin}))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before))
	require.NoError(t, l.Append(audit.Record{Event: audit.EventBegin}))
	_, err = verify(t, path)
	require.NoError(t, err)
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte(`{"n":1,"time":"2026-01-01T00:00:00Z","event":"opened","prev":"0000000000000000000000000000000000000000000000000000000000000000"}` + "\n"))
	f.Add([]byte("{}\n{}"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		var c audit.Chain
		_ = c.Verify(bytes.NewReader(text))
	})
}
