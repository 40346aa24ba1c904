package script

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
	"github.com/liveapid/liveapid/protocol/plugin/pluginpb"
)

// script is a module with a function that runs Perl code and answers with its output. $in is the request.
const described = `sub answer { my $j = shift; print length($j) . "\n" . $j } $| = 1;
while (defined(my $n = <STDIN>)) { read STDIN, my $in, $n;
  if ($in =~ /"describe"/) { answer('{"modules":[{"name":"M","functions":[{"api":3,"name":"f","roles":["account"]}]}]}'); next }
  CODE
}`

// server is a plugin with a running script.
type server struct {
	*Server
	log    string
	exited chan int
}

// newServer starts a plugin with a script that answers calls by running Perl code.
func newServer(t *testing.T, script string) *server {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	s := &server{Server: NewServer(), log: log.Name(), exited: make(chan int, 8)}
	s.Server.log, s.exit = log, func(code int) { s.exited <- code }
	t.Cleanup(func() {
		if s.process != nil {
			s.process.kill()
			<-s.watched // After this, nothing writes to the log.
		}
		require.NoError(t, log.Close())
	})
	return s
}

func (s *server) describe(t *testing.T, settings map[string]any) error {
	t.Helper()
	doc, err := payload.EncodeSettings(settings)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = s.Describe(ctx, &pluginpb.Payload{Msgpack: doc})
	return err
}

func perl(script string) map[string]any {
	return map[string]any{"module": "M", "dir": "/", "command": []any{"perl", "-e", script}}
}

func start(t *testing.T, code string) *server {
	t.Helper()
	s := newServer(t, code)
	require.NoError(t, s.describe(t, perl(strings.Replace(described, "CODE", code, 1))))
	return s
}

func call(ctx context.Context, t *testing.T, s *server, args map[string]any) (*protocol.Result, error) {
	t.Helper()
	doc, err := payload.EncodeRequest(payload.Request{ID: "abc", Call: protocol.Call{API: protocol.UAPI, Module: "M", Func: "f", Args: protocol.Args{Named: args}}})
	require.NoError(t, err)
	out, err := s.Call(ctx, &pluginpb.Payload{Msgpack: doc})
	if err != nil {
		return nil, err
	}
	result, err := payload.DecodeResult(out.GetMsgpack())
	require.NoError(t, err)
	return result, nil
}

func (s *server) logged(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(s.log)
	require.NoError(t, err)
	return string(text)
}

func TestCall(t *testing.T) {
	t.Parallel()
	s := start(t, `my ($d) = $in =~ /"a":("[^"]*"|\{[^}]*\})/; answer(qq({"data":[$d,1,18446744073709551615,-2,1.5,true,null,{"\$base64":"/w=="}],"messages":["m"],"warnings":["w"],"metadata":{"k":1}}));`)
	result, err := call(t.Context(), t, s, map[string]any{"a": "pä<>"})
	require.NoError(t, err)
	require.Nil(t, result.Err)
	require.Equal(t, "pä<>", result.Data.([]any)[0])
	list := result.Data.([]any)
	require.EqualValues(t, 1, list[1])
	require.Equal(t, uint64(18446744073709551615), list[2])
	require.EqualValues(t, -2, list[3])
	require.Equal(t, []any{1.5, true, nil, "\xff"}, list[4:])
	require.Equal(t, []string{"m"}, result.Messages)
	require.Equal(t, []string{"w"}, result.Warnings)
	require.Len(t, result.Metadata, 1)

	// Text that is not UTF-8 arrives byte for byte in both directions. Secrets arrive as text.
	for _, password := range []any{"p\xff\x00", protocol.NewSecret("p\xff\x00")} {
		result, err = call(t.Context(), t, s, map[string]any{"a": password})
		require.NoError(t, err)
		require.Equal(t, "p\xff\x00", result.Data.([]any)[0])
	}
	require.NotContains(t, s.logged(t), "\xff")
}

func TestErrorsOfTheModule(t *testing.T) {
	t.Parallel()
	s := start(t, `answer('{"error":{"kind":"not_found","message":"No such thing."}}');`)
	result, err := call(t.Context(), t, s, nil)
	require.NoError(t, err)
	require.Equal(t, protocol.KindNotFound, result.Err.Kind)
	require.Equal(t, "No such thing.", result.Err.Message)
}

// R18: a script that breaks the protocol in any way ends its worker.
func TestR18_BrokenScripts(t *testing.T) {
	t.Parallel()
	const late = "it does not answer in time"
	for name, c := range map[string]struct{ code, says string }{
		"it prints":                      {`print "hello\n";`, "does not begin with its length"},
		"it ends":                        {`exit 3;`, "exit status 3"},
		"it kills itself":                {`kill 9, $$; sleep 60;`, "signal: killed"},
		"it closes its output":           {`close STDOUT; sleep 60;`, "closed its standard output"},
		"it stops within an answer":      {`print "100\n{"; close STDOUT; sleep 60;`, "closed its standard output"},
		"its answer is too long":         {`print "16777217\n";`, "at most 16777216"},
		"its length is too long":         {`print "11111111111111111111";`, "does not begin with its length"},
		"its answer is another call's":   {`answer('{"id":"other","data":1}');`, "for another call"},
		late:                             {`sleep 60;`, "the time limit was exceeded"},
		"it answers a bit at a time":     {`while (1) { print "0"; select undef, undef, undef, 0.01 }`, "does not begin with its length"},
		"it leaves a child with the end": {`print "5\n"; exit 0 if fork; sleep 8; exit 0;`, "script ended"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, c.code)
			ctx, cancel := context.WithTimeout(t.Context(), map[bool]time.Duration{true: 300 * time.Millisecond, false: time.Minute}[name == late])
			defer cancel()
			_, err := call(ctx, t, s, map[string]any{"password": "c4n4ry"})
			require.Error(t, err)
			require.Equal(t, 1, <-s.exited)
			// The host is told; if it no longer waits, the log is.
			require.Eventually(t, func() bool { return strings.Contains(err.Error()+s.logged(t), c.says) }, time.Minute, time.Millisecond, "%s", c.says)
			require.NotContains(t, err.Error()+s.logged(t), "c4n4ry")
			s.process.kill()
		})
	}
}

// An answer that can't be sent fails its call, and the script continues.
func TestUnfitAnswers(t *testing.T) {
	t.Parallel()
	s := start(t, `my %answers = (json => "{", utf8 => "\"\xff\"", deep => "[" x 40 . "]" x 40, much => "[" . "1," x 200001 . "1]", number => '{"data":1e999}');
		my ($how) = $in =~ /"how":"(\w+)"/; answer($answers{$how} // '{"id":"abc","data":1}');`)
	for how, says := range map[string]string{
		"json": "broken JSON", "utf8": "not valid UTF-8", "deep": "nested deeper", "much": "names and values", "number": "too large",
	} {
		result, err := call(t.Context(), t, s, map[string]any{"how": how})
		require.NoError(t, err, how)
		require.Equal(t, protocol.KindInternal, result.Err.Kind)
		require.ErrorContains(t, result.Err.Err, says)
	}
	result, err := call(t.Context(), t, s, map[string]any{"how": "well"})
	require.NoError(t, err)
	require.Nil(t, result.Err)
}

// A second answer to a call would shift all later answers, so the script is killed.
func TestTwoAnswers(t *testing.T) {
	t.Parallel()
	s := start(t, `answer('{"data":1}' ) for 1, 2; `)
	_, err := call(t.Context(), t, s, nil)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err = call(t.Context(), t, s, nil)
		return err != nil
	}, time.Minute, time.Millisecond)
	require.Equal(t, 1, <-s.exited)
	require.Contains(t, s.logged(t), "more than one answer")
}

// The caller gets the last answer of a script that exits.
func TestLastAnswer(t *testing.T) {
	t.Parallel()
	s := start(t, `answer('{"data":"' . "x" x 5_000_000 . '"}'); exit 0;`)
	result, err := call(t.Context(), t, s, nil)
	require.NoError(t, err)
	require.Len(t, result.Data, 5_000_000)
	require.Equal(t, 1, <-s.exited)
}

// The time limit of a script does not include waiting for other calls.
func TestWaitingIsNotTheScripts(t *testing.T) {
	t.Parallel()
	s := start(t, `sleep 4; answer('{"data":1}');`)
	ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
	defer cancel()
	done := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := call(ctx, t, s, nil)
			done <- err
		}()
	}
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	require.Empty(t, s.logged(t))
}

// A call whose deadline passes while it waits has not run.
func TestBusy(t *testing.T) {
	t.Parallel()
	s := start(t, `sleep 60;`)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := call(t.Context(), t, s, nil)
		first <- err
	}()
	require.Eventually(t, func() bool { return len(s.busy) == 0 }, time.Minute, time.Millisecond)
	cancel()
	result, err := call(ctx, t, s, nil)
	require.NoError(t, err)
	require.Equal(t, protocol.KindUnavailable, result.Err.Kind)
	require.Contains(t, result.Err.Message, "nothing was changed")

	// If the script exits, waiting calls go back to the host.
	waiting := make(chan error, 1)
	go func() {
		_, err := call(t.Context(), t, s, nil)
		waiting <- err
	}()
	s.process.kill()
	require.Error(t, <-first)
	require.Equal(t, codes.Aborted, status.Code(<-waiting))
	require.Equal(t, 1, <-s.exited)
	_, err = call(t.Context(), t, s, nil)
	require.Equal(t, codes.Aborted, status.Code(err))
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	const ok = `{"modules":[{"name":"M","functions":[]}]}`
	answer := func(json string) map[string]any {
		return perl(`my $n = <STDIN>; read STDIN, my $in, $n; print STDERR $in; my $j = '` + json + `'; print length($j) . "\n$j"; close STDOUT; sleep 60`)
	}
	for name, c := range map[string]struct {
		settings map[string]any
		says     string
	}{
		"well":                      {answer(ok), ""},
		"another module":            {answer(`{"modules":[{"name":"Email","functions":[]}]}`), `but its module is M`},
		"two modules":               {answer(`{"modules":[{"name":"M","functions":[]},{"name":"Email","functions":[]}]}`), `but its module is M`},
		"none":                      {answer(`{}`), `but its module is M`},
		"a function without a role": {answer(`{"modules":[{"name":"M","functions":[{"api":3,"name":"f"}]}]}`), "the list of roles is empty"},
		"no object":                 {answer(`1`), "not a map"},
		"it does not start":         {map[string]any{"module": "M", "dir": "/", "command": []any{"/no/such"}}, "no such file"},
		"it ends at once":           {perl("exit 1"), "the script"},
		"no command":                {map[string]any{"module": "M", "dir": "/"}, "must be set"},
		"a command of numbers":      {map[string]any{"module": "M", "dir": "/", "command": []any{1}}, "list of strings"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := newServer(t, "").describe(t, c.settings)
			if c.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.says)
		})
	}
}

// Variables of go-plugin and the host are not passed to the script.
func TestEnvironment(t *testing.T) {
	t.Setenv("LIVEAPID_PLUGIN", "cookie")
	t.Setenv("PATH", "/bin")
	env := strings.Join(environ([]string{"LIVEAPI_MODULE=M"}), " ")
	require.Contains(t, env, "PATH=/bin")
	require.True(t, strings.HasSuffix(env, " LIVEAPI_MODULE=M"))
	require.NotContains(t, env, "cookie")
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("2\n{}"))
	f.Add([]byte(`13` + "\n" + `{"$base64":"/w=="}`))
	f.Add([]byte("4\n[1.5"))
	f.Add([]byte("999999999\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		value, err := readFrame(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		frame, err := encode(value)
		require.NoError(t, err)
		again, err := readFrame(bufio.NewReader(bytes.NewReader(frame)))
		require.NoError(t, err, strconv.Quote(string(frame)))
		second, err := encode(again) // 1.0 is encoded as 1.
		require.NoError(t, err)
		require.Equal(t, string(frame), string(second))
	})
}
