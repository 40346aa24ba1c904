package envelope_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/envelope"
)

func TestXML(t *testing.T) {
	api2 := protocol.Call{API: protocol.API2, Module: "Email", Func: "f"}
	uapi := protocol.Call{API: protocol.UAPI, Module: "Email", Func: "f"}
	for _, c := range []struct {
		name, json, want string
	}{
		{"API 2", string(envelope.JSON(api2, &protocol.Result{Data: []any{map[string]any{"user": "a", "n": int64(1)}, map[string]any{"user": nil}}})),
			"<apiversion>2</apiversion><data><n>1</n><user>a</user></data><data><user></user></data><event><result>1</result></event><func>f</func><module>Email</module>"},
		{"UAPI", string(envelope.JSON(uapi, &protocol.Result{Data: "x & <y>"})),
			"<apiversion>3</apiversion><func>f</func><module>Email</module><result><data>x &amp; &lt;y&gt;</data><errors></errors><messages></messages><metadata></metadata><status>1</status><warnings></warnings></result>"},
		{"a failure", `{"data":{"result":0},"error":"No </cpanelresult>\n"}`, "<data><result>0</result></data><error>No &lt;/cpanelresult&gt;&#xA;</error>"},
		{"odd keys", `{"a b":1,"1x":true,"":false,"xmlns":"n","cpanelresult":"c","ä":[]}`,
			"<_>0</_><_1x>1</_1x><a_b>1</a_b><_cpanelresult>c</_cpanelresult><_xmlns>n</_xmlns>"},
		{"lists", `{"a":[1,[2,3],{"b":[]}]}`, "<a>1</a><a><item>2</item><item>3</item></a><a></a>"},
		{"what XML can't carry", "{\"a\":\"x\\u0000\\u001b\\uffff\"}", "<a>x\ufffd\ufffd\ufffd</a>"},
		{"no object", `[1]`, "<data>1</data>"},
	} {
		got, ok := envelope.XML([]byte(c.json), 10_000)
		require.True(t, ok)
		require.Equal(t, c.want, string(got), c.name)
	}
	key := strings.Repeat("k", 60_000)
	got, ok := envelope.XML([]byte(`{"`+key+`":[`+strings.Repeat("1,", 2000)+`1]}`), 1<<20)
	require.False(t, ok)
	require.Less(t, len(got), 2<<20, "a long name is not repeated for ever")
}

// For any values, the output is a single line of well-formed XML without the end of an answer.
func FuzzXML(f *testing.F) {
	for _, seed := range []string{`{"a":"</cpanelresult>"}`, `{"</a>":[1,[2],{"b":null}]}`, `"\ud800"`, `{"\u0000":"\u0001\r\n"}`, `{"cpanelresult":{"data":[]}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if !json.Valid(doc) {
			return
		}
		out, ok := envelope.XML(doc, 10<<20)
		if !ok {
			return
		}
		require.NotContains(t, string(out), "\n")
		require.NotContains(t, string(out), "</cpanelresult>")
		dec := xml.NewDecoder(strings.NewReader("<cpanelresult>" + string(out) + "</cpanelresult>"))
		for {
			if _, err := dec.Token(); err != nil {
				require.True(t, errors.Is(err, io.EOF), "%v in %q", err, out)
				return
			}
		}
	})
}
