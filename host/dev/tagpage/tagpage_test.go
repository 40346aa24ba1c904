package tagpage_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/dev/tagpage"
	"github.com/liveapid/liveapid/host/modules/accountinfo"
	"github.com/liveapid/liveapid/host/modules/builtin"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/cpvars"
)

var caller = protocol.Caller{Role: protocol.RoleAccount, Account: protocol.Account{
	Name: "al<ice", Home: "/home/alice", Domains: []string{"a.example"}, Features: []string{"fileman"},
}}

func lookup(a protocol.Account) cpvars.Lookup { return accountinfo.Lookup(a, "host.example", "11.1") }

// doer serves the special requests like the host, and a module of records.
type doer struct{ calls []string }

func (d *doer) Do(ctx context.Context, c protocol.Caller, call protocol.Call) *protocol.Result {
	d.calls = append(d.calls, call.Module)
	if call.Expand {
		call.Args = cpvars.ExpandArgs(call.Args, lookup(c.Account))
	}
	switch {
	case call.Module == "Box" && call.Func == "list":
		return &protocol.Result{Data: []any{
			map[string]any{"name": "a & <b>", "n": int64(1), "on": true, "raw_html": "<i>x</i>", "tags": []any{"x", "<y>"},
				"kids": []any{map[string]any{"k": "1", "v": "<a>"}, map[string]any{"k": "2"}}},
			map[string]any{"name": "c", "n": 2.5, "on": false},
		}}
	case call.Module == "Box" && call.Func == "echo":
		return &protocol.Result{Data: fmt.Sprint(call.Args.Positional...)}
	case call.Module == "Box" && call.Func == "none":
		return &protocol.Result{Data: []any{}}
	case call.Module == "Box":
		return protocol.Failed(protocol.NewError(protocol.KindNoFunction, "No such function."))
	}
	if len(call.Args.Positional) == 0 {
		return protocol.Failed(protocol.NewError(protocol.KindNoModule, "No such module."))
	}
	call.Args.Named = map[string]any{"text": call.Args.Positional[0]}
	result, err := builtin.Special{Variables: lookup}.Call(ctx, host.Request{Caller: c, Call: call})
	if err != nil {
		panic(err)
	}
	return result
}

func TestRender(t *testing.T) {
	for page, want := range map[string]string{
		"":                                              "",
		"<p>5 < 6 & 7</p>":                              "<p>5 < 6 & 7</p>",
		`Hello <cpanel print="$user">!`:                 "Hello al&lt;ice!",
		`<cpanel print='DOMAIN'/>`:                      "a.example",
		`<cpanel langprint="Key">`:                      "Key",
		`<cpanel Box="echo($domain,'a,b')">`:            "a.examplea,b",
		`<cpanelif $user>yes</cpanelif>`:                "yes",
		`<cpanelif !$user>yes<cpanelelse>no</cpanelif>`: "no",
		`<cpanelif "$user=='al<ice'">yes</cpanelif>`:    "yes",
		`<cpanelfeature fileman>F</cpanelfeature><cpanelfeature ftp>G</cpanelfeature>`: "F",
		`<cpanelif 1>a<cpanelif 0>b<cpanelelse>c</cpanelif>d<cpanelelse>e</cpanelif>f`: "acdf",
		`<cpanelif 0>a<cpanelif 1>b<cpanelelse>c</cpanelif>d<cpanelelse>e</cpanelif>f`: "ef",
		`<?cp Box::list(%[br /], name) ?>`:                                             "a &amp; &lt;b&gt;<br />c<br />",
		"<?cp Box::list(\n[tr class='%'][td]%[/td][td]^%[/td], *num, n, ^name) ?>":     "<tr class='odd'><td>1</td><td>^a%20%26%20%3Cb%3E</td><tr class='even'><td>2.5</td><td>^c</td>",
		`<?cp Box::list([input %] %;, +on, raw_html) ?>`:                               "<input checked> <i>x</i>;<input > ;",
		`<?cp Box::list(%|, tags::(%\,)) ?>`:                                           "(x,)(&lt;y&gt;,)||",
		`<?cp Box::list(%|, kids::[li]%=%[/li]::k::v) ?>`:                              "<li>1=&lt;a&gt;</li><li>2=</li>||",
		`<?cp Box::list(100\% %\, , n) ?>`:                                             "100% 1,100% 2.5,",
		`<?cp Box::none(%, name) || 'none <here>' ?>`:                                  "none &lt;here&gt;",
		`<?cp Box::missing(%, name) || 'failed' ?>`:                                    "failed",
	} {
		got, problems := tagpage.Render(t.Context(), &doer{}, caller, page)
		require.Empty(t, problems, page)
		require.Equal(t, want, got, page)
	}
}

func TestProblems(t *testing.T) {
	for page, want := range map[string]string{
		"a\n<cpanelif 1>b":                                "line 2: <cpanelif> is not closed",
		"a\nb\n</cpanelif>":                               "line 3: </cpanelif> closes no block",
		"<cpanelif 1></cpanelfeature></cpanelif>":         "line 1: </cpanelfeature> closes no block",
		"<cpanelelse>":                                    "line 1: <cpanelelse> is outside a block",
		"<cpanelif 1><cpanelelse><cpanelelse></cpanelif>": "line 1: <cpanelelse> is outside a block",
		"<cpanelif (1>x</cpanelif>":                       "line 1: The expression can't be evaluated: a closing parenthesis is missing.",
		`<cpanel include="x">`:                            "line 1: The tag can't be read: include needs a theme, which this host does not have.",
		"<?cp Box::missing(%, a) ?>":                      "line 1: No such function.",
		`<cpanel Box="missing()">`:                        "line 1: No such function.",
		"<?cptt Box::list(a.tt) ?>":                       "line 1: The tag can't be read: this host does not support this tag.",
		strings.Repeat("<cpanelif 1>", 65) + strings.Repeat("</cpanelif>", 64): "line 1: blocks are nested too deep",
	} {
		got, problems := tagpage.Render(t.Context(), &doer{}, caller, page)
		require.Len(t, problems, 1, page)
		require.Equal(t, want, problems[0].String())
		require.NotContains(t, got, "cpanelif")
	}
}

// The time for hostile pages grows with their length, not with its square.
func TestHostilePages(t *testing.T) {
	for _, piece := range []string{"<?cp <cpanelelse>", "<cpanelif \"", "<cpanelelse>", "<cpanel a='", "<?cp ", "<cpanelif $a{"} {
		page := strings.Repeat(piece, 128<<10/len(piece))
		_, problems := tagpage.Render(t.Context(), &doer{}, caller, page)
		require.LessOrEqual(t, len(problems), 100)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, _ := tagpage.Render(ctx, &doer{}, caller, `a<cpanel print="$user">`)
	require.Equal(t, `a<cpanel print="$user">`, got, "nothing is run for one who left")
}

// Tags in hidden parts are not run.
func TestHiddenTagsAreNotRun(t *testing.T) {
	d := &doer{}
	got, _ := tagpage.Render(t.Context(), d, caller, `<cpanelif 0><cpanel Box="echo(x)"><cpanelif 1>y</cpanelif></cpanelif>`)
	require.Empty(t, got)
	require.Equal(t, []string{"if"}, d.calls)
}

func FuzzRender(f *testing.F) {
	for _, seed := range []string{
		`<cpanelif $user>a<cpanelelse>b</cpanelif><?cp Box::list(%[br /], name) ?><cpanel print="$user">`,
		`<cpanelif <cpanelif 1>`, `<?cp Box::list(\`, `<cpanel Box='echo('x')'>`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, page string) {
		_, _ = tagpage.Render(t.Context(), &doer{}, caller, page)
	})
}
