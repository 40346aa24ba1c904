package apitool

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
)

func parseLine(stdin string, words ...string) (options, protocol.Call, error) {
	o, err := parseOptions("cpapi2", words)
	if err != nil {
		return o, protocol.Call{}, err
	}
	call, err := o.call(protocol.API2, strings.NewReader(stdin))
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
		{"", []string{"--input=yaml", "Email", "f"}, `is not supported; the only format is json`},
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
    - a: "1"
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
