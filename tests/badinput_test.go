package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// Invalid input in each envelope: the error names the parameter, and no byte of the store changes.
func TestBadInput(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	w.Start(t)
	c := w.Dial(t)
	before, err := os.ReadFile(w.Shadow)
	require.NoError(t, err)
	const good = `"domain":"example.com","email":"user","password":"x"`
	without := func(name string) string {
		var args []string
		for _, pair := range strings.Split(good, ",") {
			if !strings.HasPrefix(pair, `"`+name+`"`) {
				args = append(args, pair)
			}
		}
		return strings.Join(args, ",")
	}
	with := func(name, value string) string { return without(name) + `,"` + name + `":` + value }
	kib := strings.Repeat("x", 8<<10)
	for _, row := range []struct{ name, args, api2, uapi string }{
		{"no domain", without("domain"), "Provide the ‘domain’ argument.", ""},
		{"an empty domain", with("domain", `""`), "Provide the ‘domain’ argument.", ""},
		{"no email", without("email"), "Provide the ‘email’ argument.", "="},
		{"an empty email", with("email", `""`), "Provide the ‘email’ argument.", "="},
		{"no password", without("password"), "Provide the ‘password’ argument.", "="},
		{"an empty password", with("password", `""`), "Provide the ‘password’ argument.", "="},
		{"a null password", with("password", `null`), "Provide the ‘password’ argument.", "="},
		{"nothing at all", ``, "Provide the ‘email’ argument.", "="},
		{"another's domain", with("domain", `"example.org"`), "You do not have access to the domain “example.org”.", "="},
		{"no such mailbox", with("email", `"nobody"`), "The email account “nobody@example.com” does not exist.", "="},
		{"an address of another domain", with("email", `"user@example.net"`), "The ‘email’ and ‘domain’ arguments name different domains: “example.net” and “example.com”.", "="},
		{"a path", with("email", `"../user"`), "The ‘email’ argument is not a valid mailbox name: email: may not begin with '.'.", "="},
		{"a NUL in the name", with("email", `"us\u0000er"`), "The ‘email’ argument is not a valid mailbox name: email: may not contain '\\x00'.", "="},
		{"a newline in the password", with("password", `"a\nb"`), "The password contains invalid characters.", "="},
		{"a NUL in the password", with("password", `"a\u0000b"`), "The password contains invalid characters.", "="},
		{"8 KiB of password", with("password", `"`+kib+`"`), "The password is too long: at most 256 bytes are allowed.", "="},
		{"257 bytes of password", with("password", `"`+kib[:257]+`"`), "The password is too long: at most 256 bytes are allowed.", "="},
		{"a boolean", with("password", `true`), "The ‘password’ argument must be text, not a boolean.", "="},
		{"a list", with("password", `["x"]`), "The ‘password’ argument must be text, not a list.", "="},
		{"an object", with("email", `{"a":{"b":"c"}}`), "The ‘email’ argument must be text, not an object.", "="},
		{"the closing marker as the domain", with("domain", `"</cpanelresult>"`), "You do not have access to the domain “</cpanelresult>”.", "="},
		{"the closing marker as the mailbox", with("email", `"</cpanelresult>"`), "The ‘email’ argument is not a valid mailbox name: email: may not contain '<'.", "="},
		{"invalid UTF-8", with("password", "\"a\xff\""), "Unknown API request: the text is not valid UTF-8; send every name and value as UTF-8", "="},
		{"half a surrogate", with("password", `"\ud83d"`), "Unknown API request: the text is not valid UTF-8; send every name and value as UTF-8", "="},
		{"a name twice", good + `,"password":"y"`, `Unknown API request: the action can't be read: key "password" is repeated in an object`, "="},
		{"broken JSON", good + `,`, "Unknown API request: the action can't be read: broken JSON", "="},
		{"nested too deep", with("extra", strings.Repeat("[", 40)+strings.Repeat("]", 40)), "Unknown API request: the action can't be read: the JSON is nested deeper than 32", "="},
		{"too many values", with("extra", "["+strings.Repeat("1,", 30_000)+"1]"), "Unknown API request: the action can't be read: too many names and values: more than 20000", "="},
	} {
		t.Run(row.name, func(t *testing.T) {
			answer := c.Call("2", "Email", "passwdpop", "{"+row.args+"}")
			var api2 struct {
				Result struct {
					Error string
					Data  []struct {
						Result *int
						Reason string
					}
					Event struct {
						Result int
						Reason string
					}
				} `json:"cpanelresult"`
			}
			require.NoError(t, json.Unmarshal([]byte(answer), &api2))
			require.True(t, strings.HasPrefix(answer, `{"cpanelresult":{`))
			require.Contains(t, api2.Result.Error, row.api2)
			if len(api2.Result.Data) == 1 { // The function ran and failed.
				require.Equal(t, 0, *api2.Result.Data[0].Result)
				require.Equal(t, api2.Result.Error, api2.Result.Data[0].Reason)
				require.Equal(t, 1, api2.Result.Event.Result)
			} else { // The function was not run.
				require.Equal(t, 0, api2.Result.Event.Result)
				require.Equal(t, api2.Result.Error, api2.Result.Event.Reason)
			}
			if row.uapi == "" {
				return
			}
			want := row.uapi
			if want == "=" {
				want = row.api2
			}
			answer = c.Call("uapi", "Email", "passwd_pop", "{"+row.args+"}")
			var uapi struct {
				Result struct {
					Status int
					Errors []string
					Data   any
				}
			}
			require.NoError(t, json.Unmarshal([]byte(answer), &uapi))
			require.Equal(t, 0, uapi.Result.Status)
			require.Len(t, uapi.Result.Errors, 1)
			require.Contains(t, uapi.Result.Errors[0], want)
			require.Nil(t, uapi.Result.Data)
			require.NotContains(t, answer, kib[:300])
		})
	}
	after, err := os.ReadFile(w.Shadow)
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))
}

// Unusual but valid input: each password is stored byte for byte.
func TestOddPasswords(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	w.Start(t)
	c := w.Dial(t)
	for _, password := range []string{`"a:b"`, `"a\"b'c"`, `"a&b%20c d+e"`, `"päß😀"`, `"\u0070\u00e4\ud83d\ude00"`, `"x"`, `"</cpanelresult>"`, `12345`, `1.50`, `" "`, `"-"`, `"{PLAIN}x"`} {
		require.Contains(t, c.Call("2", "Email", "passwdpop", `{"domain":"example.com","email":"user@example.com","password":`+password+`}`), `"data":[{"reason":"","result":1}]`, password)
		require.Contains(t, c.Call("3", "Email", "verify_password", `{"email":"user@example.com","password":`+password+`}`), `"data":1,`, password)
	}
	require.Contains(t, c.Call("3", "Email", "verify_password", `{"email":"user@example.com","password":"{PLAIN}"}`), `"data":0,`)
}

// The command lines answer invalid input in the same envelopes, or print an error and exit with status 1.
func TestCommandLines(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	run := func(stdin, program string, args ...string) (stdout, stderr string, status int) {
		cmd := w.Command(t, program, args...)
		var out, errs strings.Builder
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
		err := cmd.Run()
		if err != nil {
			require.NotNil(t, cmd.ProcessState, "%v", err)
		}
		return out.String(), errs.String(), cmd.ProcessState.ExitCode()
	}
	for _, serving := range []bool{false, true} { // First with a host that the command starts, then with a running host.
		if serving {
			w.Serve(t)
		}
		out, errs, status := run("", "cpapi2", "--user=demo", "Email", "passwdpop", "domain=example.com", "email=user", "password=12345luggage")
		require.Equal(t, 0, status, errs)
		require.Equal(t, "---\ncpanelresult:\n  apiversion: 2\n  data:\n    -\n      reason: \"\"\n      result: 1\n  event:\n    result: 1\n  func: passwdpop\n  module: Email\n", out)
		out, errs, status = run("", "uapi", "--output=jsonpretty", "--user=demo", "Email", "passwd_pop", "email=user@example.com", "password=A%2BB+C")
		require.Equal(t, 0, status, errs)
		require.Contains(t, out, "\n      \"status\": 1,\n")
		out, _, _ = run("A+B C\n", "uapi", "--output=json", "Email", "verify_password", "email=user@example.com", "password=-")
		require.Contains(t, out, `"data":1,`)
		out, _, status = run(`{"email":"user@example.com","password":"by JSON"}`, "uapi", "--output=json", "--input=json", "Email", "passwd_pop")
		require.Equal(t, 0, status)
		require.Contains(t, out, `"status":1`)
		out, _, status = run("", "cpapi2", "--output=json", "Email", "nothing", "a=b")
		require.Equal(t, 0, status, "an answer was printed")
		require.Equal(t, `{"cpanelresult":{"apiversion":2,"module":"Email","func":"nothing","error":"Could not find function 'nothing' in module 'Email'"}}`+"\n", out)
		out, _, _ = run("", "uapi", "--output=json", "Email", "passwd_pop", "email=user", "password=%ff")
		require.Contains(t, out, `not valid UTF-8`)
		out, _, _ = run("", "cpapi2", "--output=json", "Email", "passwdpop", "email=user", "email=user2", "domain=example.com", "password=x")
		require.Contains(t, out, "The ‘email’ argument must be text, not a list.")
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--user=somebody", "Email", "passwdpop"}, "Unknown user “somebody”."},
		{nil, "the module or the function is missing; name both"},
		{[]string{"--nonsense", "Email", "passwdpop"}, "is not a known option"},
		{[]string{"Email", "passwdpop", "password=top", "secret"}, "does not have the form name=value"},
	} {
		out, errs, status := run("", "cpapi2", c.args...)
		require.Equal(t, 1, status)
		require.Empty(t, out)
		require.Contains(t, errs, c.says)
		require.NotContains(t, errs, "secret")
	}
	out, _, status := run("", "cpapi2", "--help")
	require.Equal(t, 0, status)
	require.Contains(t, out, "Usage: cpapi2 ")
	require.NoError(t, os.WriteFile(w.Config, []byte("mode = \"both\"\n"), 0o644))
	_, errs, status := run("", "uapi", "Email", "passwd_pop")
	require.Equal(t, 1, status)
	require.Contains(t, errs, `mode: "both" is neither personal nor server`)
}

// liveapi run returns the program's status, passes its streams, arguments and signals, and removes its
// private socket afterwards.
func TestLiveAPIRun(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	out := hosttest.Output(t, w.Command(t, "liveapi", "run", "--user", "demo", "--", "sh", "-c", `test -S "$CPANEL_CONNECT_SOCKET" && test "$CPANEL_CONNECT_SOCKET" = "$CPANEL_PHPCONNECT_SOCKET" && stat -c %a "$(dirname "$CPANEL_CONNECT_SOCKET")" && echo "$CPANEL_CONNECT_SOCKET" "$@"`, "sh", "--user", "x"))
	lines := strings.Fields(out)
	require.Equal(t, []string{"700", "--user", "x"}, []string{lines[0], lines[2], lines[3]})
	require.NoFileExists(t, lines[1])
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 128 + 15} {
		cmd := w.Command(t, "liveapi", "run", "sh", "-c", script)
		_ = cmd.Run()
		require.Equal(t, want, cmd.ProcessState.ExitCode(), script)
	}
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"run", "--user", "somebody", "--", "true"}, 1, `you can run programs only as "demo"`},
		{[]string{"run"}, 2, "requires at least 1 arg"},
		{[]string{"run", "--", "/nowhere/program"}, 1, "/nowhere/program"},
		{[]string{"sandbox", w.Dir}, 1, "is not empty"},
		{[]string{"sandbox", "/tmp/a:b"}, 2, "contains ':' or a control character"},
		{[]string{"nonsense"}, 2, "unknown command"},
	} {
		cmd := w.Command(t, "liveapi", c.args...)
		out, _ := cmd.CombinedOutput()
		require.Equal(t, c.status, cmd.ProcessState.ExitCode(), "%v %s", c.args, out)
		require.Contains(t, string(out), c.says)
	}
}

// A second host is rejected, SIGTERM ends the host with success, and nothing is left of it.
func TestHostLife(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	h := w.Serve(t)
	out, err := w.Command(t, "liveapid", "serve").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "another host already listens")
	require.Contains(t, w.Dial(t).Call("uapi", "Email", "verify_password", fmt.Sprintf(`{"email":"user@example.com","password":%q}`, sandboxPassword)), `"data":1,`)
	h.Stop(t)
	require.NoFileExists(t, w.Socket)
	entries, err := os.ReadDir(w.Dir + "/run")
	require.NoError(t, err)
	require.Len(t, entries, 2, "the locks beside the sockets: %v", entries)
	require.NotContains(t, h.Log.String(), sandboxPassword)

	// A host that could serve no account does not start.
	config, err := os.ReadFile(w.Config)
	require.NoError(t, err)
	for text, says := range map[string]string{
		strings.Replace(string(config), `"demo"`, `"nobody"`, 1):     "account: no such account",
		string(config) + "\n[[plugin]]\npath = \"no-such-plugin\"\n": "no-such-plugin: no such file",
	} {
		require.NoError(t, os.WriteFile(w.Config, []byte(text), 0o644))
		out, err := w.Command(t, "liveapid", "serve").CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), says)
	}
}
