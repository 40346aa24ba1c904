package apitool

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/liveapid/liveapid/protocol"
)

func parseLine(stdin string, words ...string) (options, protocol.Call, error) {
	return parseLineOf("cpapi2", stdin, words...)
}

func parseLineOf(name, stdin string, words ...string) (options, protocol.Call, error) {
	p := programs()[slices.IndexFunc(programs(), func(p program) bool { return p.name == name })]
	o, err := parseOptions(p, words)
	if err != nil {
		return o, protocol.Call{}, err
	}
	call, err := o.call(strings.NewReader(stdin))
	return o, call, err
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		name, stdin string
		words       []string
		want        map[string]any
	}{
		{"plain", "", []string{"domain=example.com", "email=user", "password=12345luggage"}, map[string]any{"domain": "example.com", "email": "user", "password": "12345luggage"}},
		{"decoded once", "", []string{"a=A+B", "b=A%2BB", "c=50%25off", "d=%2525", "e=a b&c/d=e"}, map[string]any{"a": "A B", "b": "A+B", "c": "50%off", "d": "%25", "e": "a b&c/d=e"}},
		{"a % that is none", "", []string{"a=100%", "b=%zz", "c=%4"}, map[string]any{"a": "100%", "b": "%zz", "c": "%4"}},
		{"any byte", "", []string{"a=%00%ff", "b=%C3%A4"}, map[string]any{"a": "\x00\xff", "b": "ä"}},
		{"the first = splits", "", []string{"a=b==", "c="}, map[string]any{"a": "b==", "c": ""}},
		{"a name is decoded too", "", []string{"api2%5Ffilter=1"}, map[string]any{"api2_filter": "1"}},
		{"a repeated name is a list", "", []string{"a=1", "a=2", "a=3"}, map[string]any{"a": []any{"1", "2", "3"}}},
		{"from standard input, as it is", "se+cr%41et\nsecond\r\nlast", []string{"a=-", "b=-", "c=-"}, map[string]any{"a": "se+cr%41et", "b": "second", "c": "last"}},
		{"an @ that is none", "", []string{`a=\@file`, "b=%40file", "c=x@example.com"}, map[string]any{"a": "@file", "b": "@file", "c": "x@example.com"}},
		{"--input=key-value", "", []string{"--input=key-value", "a=1"}, map[string]any{"a": "1"}},
		{"JSON", `{"names":["a","b"],"n":1.50,"o":{"x":null}}`, []string{"--input=json", "more=1"}, map[string]any{"names": []any{"a", "b"}, "n": protocol.Number("1.50"), "o": map[string]any{"x": nil}, "more": "1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			words := append([]string{"--user=demo", "Email", "passwdpop"}, c.words...)
			o, call, err := parseLine(c.stdin, words...)
			require.NoError(t, err)
			require.Equal(t, "demo", o.user)
			require.Equal(t, "yaml", o.output)
			require.Equal(t, protocol.Call{API: protocol.API2, Module: "Email", Func: "passwdpop", Args: protocol.Args{Named: c.want}}, call)
		})
	}
	o, _, err := parseLine("", "Email", "passwdpop", "--output=jsonpretty", "a=1", "--user", "x")
	require.NoError(t, err, "options may stand anywhere")
	require.Equal(t, "jsonpretty", o.output)
	require.Equal(t, "x", o.user)
}

func TestCommandLineRefuses(t *testing.T) {
	for _, c := range []struct {
		stdin string
		words []string
		says  string
	}{
		{"", nil, "the module or the function is missing; name both"},
		{"", []string{"Email"}, "the module or the function is missing; name both"},
		{"", []string{"Email", "f", "word"}, "does not have the form name=value"},
		{"", []string{"Email", "f", "=x"}, "does not have the form name=value"},
		{"", []string{"--colour", "Email", "f"}, "is not a known option"},
		{"", []string{"Email", "f", "password=top", "--secret"}, "is not a known option"},
		{"", []string{"Email", "f", "-s3cret"}, "is not a known option"},
		{"", []string{"--output=csv", "Email", "f"}, `--output: "csv" is not one of`},
		{"", []string{"--input=yaml", "Email", "f"}, `is not supported; the formats are json and key-value`},
		{"", []string{"Email", "f", "a=-"}, "standard input ended before the line"},
		{"x\n", []string{"Email", "f", "a=-", "b=-"}, "b=-: standard input ended before the line with this argument's value"},
		{"{}", []string{"--input=json", "Email", "f", "a=-"}, "can't be combined with --input=json"},
		{"[]", []string{"--input=json", "Email", "f"}, "the JSON must be an object"},
		{`{"a":1,"a":2}`, []string{"--input=json", "Email", "f"}, "is repeated"},
		{`{"a":{}}`, []string{"--input=json", "Email", "f", "a=1"}, "a: the argument is also in the JSON"},
		{strings.Repeat("x", protocol.MaxFrame+1), []string{"Email", "f", "a=-"}, "longer than 1048576 bytes"},
		{strings.Repeat(" ", protocol.MaxFrame+1), []string{"--input=json", "Email", "f"}, "more than 1048576 bytes"},
	} {
		_, _, err := parseLine(c.stdin, c.words...)
		require.ErrorContains(t, err, c.says, "%v", c.words)
		require.NotContains(t, strings.ToLower(err.Error()), "secret", "it may be part of a password")
		require.NotContains(t, err.Error(), "s3cret")
	}
}

// A value of @FILE is the text of the file, as it is.
func TestValueFromAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte("se+cr%41et & more\n"), 0o600))
	_, call, err := parseLine("", "Email", "passwdpop", "password=@"+path, "email=user")
	require.NoError(t, err)
	require.Equal(t, map[string]any{"password": "se+cr%41et & more\n", "email": "user"}, call.Args.Named)
	for _, name := range []string{"/nonexistent/s3cret", "", filepath.Dir(path), "/dev/zero"} {
		_, _, err := parseLine("", "Email", "passwdpop", "password=@"+name)
		require.ErrorContains(t, err, "password: a value that begins with @ names a file")
		require.NotContains(t, err.Error(), "s3cret", "it may be a password")
	}
}

// The arguments of API 1 stand in their order. A function of WHM needs no module.
func TestOtherPrograms(t *testing.T) {
	_, call, err := parseLineOf("cpapi1", "from stdin\n", "--user=demo", "Email", "addpop", "user", "-", "500", "a+b")
	require.NoError(t, err)
	require.Equal(t, protocol.Call{API: protocol.API1, Module: "Email", Func: "addpop", Args: protocol.Args{Positional: []any{"user", "from stdin", "500", "a b"}}}, call)
	o, call, err := parseLineOf("whmapi1", "", "accountsummary", "user=demo", "--fail")
	require.NoError(t, err)
	require.True(t, o.fail)
	require.Equal(t, protocol.Call{Func: "accountsummary", Args: protocol.Args{Named: map[string]any{"user": "demo"}}}, call)
	for _, c := range []struct{ name, words, says string }{
		{"whmapi1", "--user=x version", "name the account in their arguments"}, {"whmapi1", "--output=xml version", "is not one of"}, {"whmapi1", "", "the function is missing"},
		{"cpapi1", "--input=json Email addpop", "have no names"}, {"uapi", "--output=text Email f", "is not one of"},
	} {
		_, _, err := parseLineOf(c.name, "", strings.Fields(c.words)...)
		require.ErrorContains(t, err, c.says)
	}
}

func TestNearest(t *testing.T) {
	for given, want := range map[string]string{"passwdpop": "passwd_pop", "PASSWD_POP": "passwd_pop", "passwd_pip": "passwd_pop", "list_pop": "list_pops", "zebra": "", "": ""} {
		require.Equal(t, want, nearest(given, []string{"list_pops", "passwd_pop", "suspend_login"}), given)
	}
}

func TestReportsFailure(t *testing.T) {
	for answer, want := range map[string]bool{
		`{"result":{"status":1}}`: false, `{"result":{"status":0}}`: true, `{"metadata":{"result":0}}`: true, `{"metadata":{"result":1}}`: false,
		`{"cpanelresult":{"event":{"result":1},"data":[{"result":1}]}}`: false, `{"cpanelresult":{"event":{"result":1},"data":[{"result":0}]}}`: true,
		`{"cpanelresult":{"event":{"result":0}}}`: true, `{"cpanelresult":{"error":"x"}}`: true, `{"event":{"result":0}}`: true, `{"event":{"result":1}}`: false, `x`: true,
		`{"cpanelresult":{"event":{"result":1},"data":[{"email":"a"}]}}`: false,
	} {
		require.Equal(t, want, reportsFailure([]byte(answer)), answer)
	}
}

// A YAML parser reads the output like the JSON, and a script finds each field on a line of its own.
func TestYAML(t *testing.T) {
	const answer = `{"a":[{"email":"x@example.com","login":"yes"},{"email":"on"},[],{},[1,[2]],"- text","a: b","  spaces ","null","1e3","0x1","~","2026-01-01","é\u0007","two\nlines\n","\tTab\nand line","=","#x","%y","@z","` + "`" + `q","!t","&a","*b","",null,true,1.50,12345678901234567890]," odd: key ":{"":{}}}`
	var out strings.Builder
	require.NoError(t, write(&out, "yaml", []byte(answer)))
	require.Contains(t, out.String(), "a:\n  -\n    email: x@example.com\n    login: \"yes\"\n  -\n    email: \"on\"\n")
	var read, want any
	require.NoError(t, yaml.Unmarshal([]byte(out.String()), &read))
	require.NoError(t, json.Unmarshal([]byte(answer), &want))
	got, err := json.Marshal(read)
	require.NoError(t, err)
	expected, err := json.Marshal(want)
	require.NoError(t, err)
	require.JSONEq(t, string(expected), string(got))
	for line := range strings.Lines(out.String()) {
		require.NotRegexp(t, `^ *- \w+: `, line, "a record's first key has a line of its own")
	}
}

func TestText(t *testing.T) {
	for answer, want := range map[string]string{
		`{"data":{"result":"user+example.com"},"event":{"result":1}}`: "user+example.com\n", `{"data":{"result":""},"event":{"result":1}}`: "",
		`{"data":{"result":5},"event":{"result":1}}`: "5\n", `{"data":{"result":""},"event":{"result":0,"reason":"It is wrong."},"error":"It is wrong."}`: "It is wrong.\n",
	} {
		var out strings.Builder
		require.NoError(t, write(&out, textOutput, []byte(answer)))
		require.Equal(t, want, out.String())
	}
}

func FuzzCommandLine(f *testing.F) {
	f.Add("Email\x00passwdpop\x00a=%41+b", "")
	f.Add("--user=x\x00Email\x00f\x00a=-\x00a=-", "one\ntwo\r\n")
	f.Add("--input=json\x00Email\x00f", `{"a":[1]}`)
	f.Fuzz(func(t *testing.T, line, stdin string) {
		_, call, err := parseLine(stdin, strings.Split(line, "\x00")...)
		if err != nil {
			return
		}
		require.NotNil(t, call.Args.Named)
		for name := range call.Args.Named {
			if name == "" && !strings.Contains(line, "--input") {
				t.Fatal("an argument without a name")
			}
		}
	})
}

const answer = `{"apiversion":3,"module":"Email","func":"f","result":{"data":[{"a":"1","b":1.50},{}],"errors":null,"messages":[],"metadata":{},"status":1,"warnings":["\u003cä"]}}`

func TestOutput(t *testing.T) {
	for form, want := range map[string]string{
		"json": answer + "\n",
		"xml": "<?xml version=\"1.0\" ?>\n<cpanelresult><apiversion>3</apiversion><func>f</func><module>Email</module><result>" +
			"<data><a>1</a><b>1.50</b></data><data></data><errors></errors><metadata></metadata><status>1</status><warnings>&lt;ä</warnings></result></cpanelresult>\n",
		"jsonpretty": `{
   "apiversion": 3,
   "func": "f",
   "module": "Email",
   "result": {
      "data": [
         {
            "a": "1",
            "b": 1.50
         },
         {}
      ],
      "errors": null,
      "messages": [],
      "metadata": {},
      "status": 1,
      "warnings": [
         "<ä"
      ]
   }
}
`,
		"yaml": `---
apiversion: 3
func: f
module: Email
result:
  data:
    -
      a: "1"
      b: 1.50
    - {}
  errors: ~
  messages: []
  metadata: {}
  status: 1
  warnings:
    - <ä
`,
	} {
		var out strings.Builder
		require.NoError(t, write(&out, form, []byte(answer)))
		require.Equal(t, want, out.String(), form)
	}
	for _, bad := range []string{"", "{", "{} {}"} {
		require.Error(t, write(&strings.Builder{}, "yaml", []byte(bad)))
	}
	require.True(t, json.Valid([]byte(answer)))
}
