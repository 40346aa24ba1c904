package wire_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/wire"
)

func act(json string) string { return "<cpanelaction>\n" + json + "\n</cpanelaction>" }

func TestParseCalls(t *testing.T) {
	named := func(args map[string]any) protocol.Args { return protocol.Args{Named: args} }
	email := func(api protocol.API, name string, args protocol.Args) protocol.Call {
		return protocol.Call{API: api, Module: "Email", Func: name, Args: args}
	}
	for _, c := range []struct {
		name, json string
		want       protocol.Call
	}{
		{"API 2", `{"reqtype":"exec","module":"Email","func":"passwdpop","apiversion":"2","args":{"domain":"example.com"}}`,
			email(protocol.API2, "passwdpop", named(map[string]any{"domain": "example.com"}))},
		{"a version as a number", `{"module":"Email","func":"passwdpop","apiversion":2,"args":{}}`, email(protocol.API2, "passwdpop", named(map[string]any{}))},
		{"UAPI by name", `{"module":"Email","func":"f","apiversion":"uapi"}`, email(protocol.UAPI, "f", named(nil))},
		{"UAPI by number", `{"module":"Email","func":"f","apiversion":3,"args":null}`, email(protocol.UAPI, "f", named(nil))},
		{"PHP's empty list", `{"module":"Email","func":"f","apiversion":"2","args":[]}`,
			email(protocol.API2, "f", protocol.Args{Positional: []any{}})},
		{"API 1's list", `{"module":"Email","func":"f","apiversion":"1","args":["a",1]}`,
			email(protocol.API1, "f", protocol.Args{Positional: []any{"a", protocol.Number("1")}})},
		{"API 1's one text", `{"module":"Email","func":"f","apiversion":1,"args":"a"}`, email(protocol.API1, "f", protocol.Args{Positional: []any{"a"}})},
		{"every kind of value", `{"module":"Email","func":"f","apiversion":"2","args":{"a":"\u00e4\"","b":1.50,"c":true,"d":null,"e":["x"],"f":{"g":"</cpanelresult>"}}}`,
			email(protocol.API2, "f", named(map[string]any{"a": "ä\"", "b": protocol.Number("1.50"), "c": true, "d": nil, "e": []any{"x"}, "f": map[string]any{"g": "</cpanelresult>"}}))},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, payload := range []string{act(c.json), "<cpanelaction>" + c.json + "</cpanelaction>", "\n " + act(c.json) + "\n"} {
				got := wire.Parse([]byte(payload))
				require.Equal(t, wire.RequestCall, got.Kind, "%v", got.Err)
				require.Equal(t, c.want, got.Call)
			}
		})
	}
}

func TestParseOthers(t *testing.T) {
	for payload, want := range map[string]wire.RequestKind{
		`<cpaneljson enable="1">`:                wire.RequestJSON,
		`<cpaneljson enable='1' />`:              wire.RequestJSON,
		"<cpaneljson  enable=1>\n":               wire.RequestJSON,
		`<cpanelxml shutdown="1" />`:             wire.RequestShutdown,
		`<cpanelxml shutdown="1"/>`:              wire.RequestShutdown,
		`<cpanel print="$homedir">`:              wire.RequestSpecial,
		`<cpanel Email="listpops(a,b)">`:         wire.RequestCall,
		`<?cp Email::listpops(%, email) ?>`:      wire.RequestCall,
		`<cpanelif $haspostgres>`:                wire.RequestSpecial,
		`<cpanelfeature fileman>`:                wire.RequestSpecial,
		`<cpanelxml enable="1">`:                 wire.RequestXML,
		`<cpanelmsgpack enable="1" />`:           wire.RequestMessagePack,
		`<cpaneljson enable="0">`:                wire.RequestUnknown,
		``:                                       wire.RequestUnknown,
		`hello`:                                  wire.RequestUnknown,
		`<cpanelaction>{`:                        wire.RequestUnknown,
		act(`{"reqtype":"if","args":"!$a"}`):     wire.RequestSpecial,
		act(`{"reqtype":"feature"}`):             wire.RequestSpecial,
		act(`{"module":"print","args":"$user"}`): wire.RequestSpecial,
	} {
		got := wire.Parse([]byte(payload))
		require.Equal(t, want, got.Kind, payload)
		if want == wire.RequestUnknown {
			require.NotNil(t, got.Err, payload)
			require.NotEmpty(t, got.Err.Message, payload)
		}
	}
}

// An action that can't be parsed keeps its known parts for the answer's envelope, and the error names the
// mistake.
func TestParseBrokenActions(t *testing.T) {
	head := `"module":"Email","func":"passwdpop",`
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	for _, c := range []struct {
		name, json string
		api        protocol.API
		says       string
	}{
		{"no JSON", `{` + head + `"apiversion":"2","args":{`, protocol.API2, "ends too early"},
		{"a stray comma", `{` + head + `"apiversion":"2",,}`, protocol.API2, "broken JSON at byte"},
		{"text behind", `{` + head + `"apiversion":"2"} x`, protocol.API2, "text follows"},
		{"a key twice", `{` + head + `"apiversion":"2","args":{"a":1,"a":2}}`, protocol.API2, "is repeated"},
		{"the module twice", `{` + head + `"apiversion":"2","module":"Ftp"}`, protocol.API2, "is repeated"},
		{"bad UTF-8", `{` + head + `"apiversion":"2","args":{"password":"` + "\xff" + `"}}`, protocol.API2, "not valid UTF-8"},
		{"half a surrogate", `{` + head + `"apiversion":"2","args":{"password":"\ud800"}}`, protocol.API2, "not valid UTF-8"},
		{"nested too deep", `{` + head + `"apiversion":"uapi","args":{"a":` + deep + `}}`, protocol.UAPI, "nested deeper than 32"},
		{"no object", `[1]`, 0, "must be an object"},
		{"a version that is none", `{` + head + `"apiversion":"4"}`, 0, "is not one of 1, 2, 3 and uapi"},
		{"no version", `{` + head + `"args":{}}`, 0, "is not one of 1, 2, 3 and uapi"},
		{"a version of another type", `{` + head + `"apiversion":[2]}`, 0, "apiversion: must be text"},
		{"no function", `{"module":"Email","apiversion":"2"}`, protocol.API2, "both must be named"},
		{"no module", `{"func":"f","apiversion":"3"}`, protocol.UAPI, "both must be named"},
		{"a module of another type", `{"module":{},"func":"f","apiversion":"2"}`, 0, "module: must be text"},
		{"another reqtype", `{` + head + `"apiversion":"2","reqtype":"fetch"}`, protocol.API2, "reqtype: must be"},
		{"arguments as text", `{` + head + `"apiversion":"2","args":"a=b"}`, protocol.API2, "args: must be an object"},
		{"arguments as a list", `{` + head + `"apiversion":"uapi","args":["a"]}`, protocol.UAPI, "needs an object of names and values, not a list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := wire.Parse([]byte(act(c.json)))
			require.Equal(t, wire.RequestUnknown, got.Kind)
			require.Equal(t, c.api, got.Call.API)
			require.Contains(t, got.Err.Message, c.says)
			require.Equal(t, protocol.KindBadRequest, got.Err.Kind)
			if strings.Contains(c.json, head) && c.api != 0 {
				require.Equal(t, "Email", got.Call.Module)
				require.Equal(t, "passwdpop", got.Call.Func)
			}
		})
	}
}

// T24: the parser's errors do not repeat the document, because it may contain a password.
func TestT24_ErrorsDoNotRepeatTheDocument(t *testing.T) {
	for _, broken := range []string{
		`{"module":"Email","func":"f","apiversion":"2","args":{"password":"c4n4ry"`,
		`{"args":{"password":"c4n4ry"},"apiversion":"2",,}`,
		`{"args":{"password":c4n4ry},"apiversion":"2"}`,
	} {
		require.NotContains(t, wire.Parse([]byte(act(broken))).Err.Error(), "c4n4ry")
	}
}

// Parse reads what AppendAction writes.
func TestAppendAction(t *testing.T) {
	call := protocol.Call{API: protocol.API2, Module: "Email", Func: "passwdpop", Args: protocol.Args{Named: map[string]any{
		"a": "</cpanelaction>\n\x00\"\\ä😀", "b": protocol.Number("12"), "c": true, "d": nil, "e": []any{"x", map[string]any{}},
	}}}
	got := wire.Parse(wire.AppendAction(nil, call))
	require.Equal(t, wire.RequestCall, got.Kind)
	require.Equal(t, call, got.Call)

	one := protocol.Call{API: protocol.API1, Module: "Email", Func: "addpop", Args: protocol.Args{Positional: []any{"a", "b"}}}
	require.Equal(t, one, wire.Parse(wire.AppendAction(nil, one)).Call)
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		wire.EnableJSON, wire.Shutdown, `<cpanel print="$homedir">`, `<?cp Email::f(%) ?>`, act(`{}`), act(`[]`),
		act(`{"reqtype":"exec","module":"Email","func":"passwdpop","apiversion":"2","args":{"domain":"example.com","email":"user","password":"12345luggage"}}`),
		act(`{"module":"a","func":"b","apiversion":3,"args":[{"a":[1,true,null,"\ud83d\ude00"]}]}`),
		act(`{"module":"a","func":"b","apiversion":1,"args":["x"]}`), act(`{"args":{"a":"\ud800"}}`), "<cpanelaction>", "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		request := wire.Parse(payload)
		if request.Kind != wire.RequestCall {
			if request.Kind == wire.RequestUnknown {
				require.NotNil(t, request.Err)
				require.True(t, utf8.ValidString(request.Call.Module))
			}
			return
		}
		again := wire.Parse(wire.AppendAction(nil, request.Call))
		require.Equal(t, wire.RequestCall, again.Kind)
		require.Equal(t, request.Call.Module, again.Call.Module)
		require.Equal(t, request.Call.API, again.Call.API)
		require.Equal(t, len(request.Call.Args.Named), len(again.Call.Args.Named))
	})
}

func TestAnswers(t *testing.T) {
	answer, err := wire.AppendAnswer(nil, wire.AnswerJSONEnabled)
	require.NoError(t, err)
	require.Equal(t, "<?xml version=\"1.0\" ?>\n<cpanelresult>{\"data\":{\"result\":\"json\"}}</cpanelresult>\n", string(answer))

	for _, body := range []string{"</cpanelresult>", "a<b", "a\nb"} {
		_, err := wire.AppendAnswer(nil, []byte(body))
		require.ErrorIs(t, err, wire.ErrAnswer, body)
	}
	failure := wire.AppendFailure(nil, "No </cpanelresult> \"here\"\n")
	require.True(t, json.Valid(failure))
	_, err = wire.AppendAnswer(nil, failure)
	require.NoError(t, err)
	require.Equal(t, `{"data":{"result":0},"error":"No \u003c/cpanelresult\u003e \"here\"\n"}`, string(failure))
}
