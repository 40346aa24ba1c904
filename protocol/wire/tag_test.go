package wire_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/wire"
)

func TestParseTag(t *testing.T) {
	api1 := func(module, name string, args ...any) protocol.Call {
		return protocol.Call{API: protocol.API1, Module: module, Func: name, Args: protocol.Args{Positional: args}, Expand: true}
	}
	api2 := func(named map[string]any) protocol.Call {
		return protocol.Call{API: protocol.API2, Module: "Email", Func: "listpops", Args: protocol.Args{Named: named}, Expand: true}
	}
	for text, want := range map[string]protocol.Call{
		`<cpanel Email="addpop(user,12345luggage,500,example.com)">`:     api1("Email", "addpop", "user", "12345luggage", "500", "example.com"),
		`<cpanel Mysql='deldb($FORM{'x'})'/>`:                            api1("Mysql", "deldb", "$FORM{'x'}"),
		`<cpanel Email="Email::getpopquota( $FORM('email','domain') )">`: api1("Email", "getpopquota", "$FORM('email','domain')"),
		`<cpanel Email="f('a,b', "c d" ,)">`:                             api1("Email", "f", "a,b", "c d", ""),
		`<cpanel Email="f()">`:                                           api1("Email", "f"),
		`<?cp Email::listpops( %, email ) ?>`:                            api2(map[string]any{"api2_columns": "1", "api2_columns_0": "email"}),
		"<?cp Email::listpops(\n%[br /],\n*num, ^email, +login, user::%) regex=\"a b\", x=1 y='z'\n?>": api2(map[string]any{
			"api2_columns": "1", "api2_columns_0": "email", "api2_columns_1": "login", "api2_columns_2": "user", "regex": "a b", "x": "1", "y": "z"}),
		`<?cp Email::listpops() ?>`:                          api2(map[string]any{}),
		`<?cp Email::listpops(%\,\(x\), email) || 'none' ?>`: api2(map[string]any{"api2_columns": "1", "api2_columns_0": "email"}),
	} {
		tag := wire.ParseTag([]byte(text))
		require.Equal(t, wire.RequestCall, tag.Request.Kind, "%s: %v", text, tag.Request.Err)
		require.Equal(t, want, tag.Request.Call, text)
	}
	tag := wire.ParseTag([]byte("<?cp\r\nEmail::listpops([b]%'s box[/b], email) ?>"))
	require.Equal(t, wire.RequestCall, tag.Request.Kind, "%v", tag.Request.Err)
	require.Equal(t, "[b]%'s box[/b]", tag.Template)
	require.Equal(t, []string{"email"}, tag.Returns)
	tag = wire.ParseTag([]byte(`<?cp Email::listpops(%\,\(x\), email) || 'none' ?>`))
	require.Equal(t, `%\,\(x\)`, tag.Template)
	require.Equal(t, []string{"email"}, tag.Returns)
	require.Equal(t, "none", tag.Message)

	for text, special := range map[string]string{
		`<cpanel print="$user">`: "print", `<cpanel langprint='KEY' />`: "langprint", `<cpanel setvar="dprefix=../">`: "setvar", `<cpanelif $a==b>`: "if", `<cpanelfeature fileman>`: "feature",
	} {
		tag := wire.ParseTag([]byte(text))
		require.Equal(t, wire.RequestSpecial, tag.Request.Kind, text)
		require.Equal(t, special, tag.Request.Special)
		require.Equal(t, special, tag.Request.Call.Module)
	}
	for text, says := range map[string]string{
		`<cpanel Email="listpops">`: "must be function(argument, ...)", `<?cp Email::f(a ?>`: "a closing parenthesis is missing",
		`<?cp Email(a) ?>`: "it must read", `<?cp Email::f(a) ?`: "it must read", `<?cp Email::f(a) what is this ?>`: "only name",
		"<?cp Email::f(" + strings.Repeat("a,", 70) + "a) ?>": "too many returns", `<cpanel include="x">`: "this host does not have", `<cpanel>`: "does not support this tag", `<?cptt A::b(c) ?>`: "does not support this tag",
	} {
		tag := wire.ParseTag([]byte(text))
		require.Equal(t, wire.RequestUnknown, tag.Request.Kind, text)
		require.Contains(t, tag.Request.Err.Message, says, text)
	}
}

func FuzzParseTag(f *testing.F) {
	for _, seed := range []string{
		`<cpanel Email="addpop(user,'a,b',$FORM{'x'})">`, `<?cp Email::listpops( %[br /], *num, ^email ) regex="a" || 'none' ?>`,
		`<cpanelif !$a==b>`, `<cpanelfeature x>`, `<?cp A::b(((("\\`, `<cpanel print=">`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		tag := wire.ParseTag(text)
		if tag.Request.Kind == wire.RequestUnknown {
			require.NotNil(t, tag.Request.Err)
			return
		}
		require.NotEmpty(t, tag.Request.Call.Module)
		require.NotEmpty(t, tag.Request.Call.Func)
	})
}
