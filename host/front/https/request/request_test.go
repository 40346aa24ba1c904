package request_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/front/https/request"
	"github.com/liveapid/liveapid/protocol"
)

func TestParsePath(t *testing.T) {
	for _, tt := range []struct {
		raw  string
		want request.Path
	}{
		{"/execute/Email/passwd_pop", request.Path{Kind: request.Execute, Module: "Email", Func: "passwd_pop"}},
		{"/cpsess0123456789/execute/Email/passwd_pop", request.Path{Kind: request.Execute, Session: "cpsess0123456789", Module: "Email", Func: "passwd_pop"}},
		{"/json-api/cpanel", request.Path{Kind: request.CPanel}},
		{"/cpsess0123456789/xml-api/cpanel", request.Path{Kind: request.CPanel, Session: "cpsess0123456789", XML: true}},
		{"/json-api/listaccts", request.Path{Kind: request.Function, Func: "listaccts"}},
		{"/login/", request.Path{Kind: request.Login, Page: "/login"}},
		{"/cpsess0123456789/logout", request.Path{Kind: request.Logout, Session: "cpsess0123456789", Page: "/logout"}},
		{"/cpsess0123456789/", request.Path{Kind: request.Page, Session: "cpsess0123456789", Page: "/"}},
		{"/cpsess0123456789", request.Path{Kind: request.Page, Session: "cpsess0123456789", Page: "/"}},
		{"/cpsess123/", request.Path{Kind: request.Page, Page: "/cpsess123/"}}, // Not a session's token, which has ten digits.
		{"/Execute/Email/passwd_pop", request.Path{Kind: request.Page, Page: "/Execute/Email/passwd_pop"}},
	} {
		require.Equal(t, tt.want, request.ParsePath(tt.raw), tt.raw)
	}
	for raw, want := range map[string]request.Path{ // A slash at the end is allowed.
		"/execute/Email/x/":                   {Kind: request.Execute, Module: "Email", Func: "x"},
		"/json-api/cpanel/":                   {Kind: request.CPanel},
		"/cpsess0123456789/json-api/version/": {Kind: request.Function, Func: "version", Session: "cpsess0123456789"},
	} {
		require.Equal(t, want, request.ParsePath(raw), raw)
	}
	for _, raw := range []string{
		"", "execute/Email/x", "//execute/Email/x", "/execute//Email/x", "/execute/../execute/Email/x", "/execute/./Email/x", "/execute/Email%2Fx",
		"/execute/%45mail/x", "/execute/Email/x//", "/execute/Email", "/execute/Email/x/y", "/execute/Email/..", "/%2e%2e/execute/Email/x",
		"/execute/Email/x\r\nSet-Cookie: a=b", "/execute\\Email\\x", "/json-api/", "/json-api/cpanel//", "/json-api/a/b", "/execute/Email/", "/execute/", "/execute", "http://host/execute/Email/x", "*",
		"/execute/Email/x;y", "/execute/Émail/x", "/" + strings.Repeat("a", 600), "/execute/Email/" + strings.Repeat("a", 65),
	} {
		require.Equal(t, request.Unknown, request.ParsePath(raw).Kind, "%q", raw)
	}
}

func newRequest(method, target, kind, body string) *http.Request {
	r := httptest.NewRequest(method, "https://x"+target, strings.NewReader(body))
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	return r
}

const form = "application/x-www-form-urlencoded"

// A password arrives byte for byte in each way that clients send it.
func TestReadBytes(t *testing.T) {
	const password = `"a b+c%41&=?#;<>'\ü€ "`
	const escaped = "%22a+b%2Bc%2541%26%3D%3F%23;%3C%3E'%5C%C3%BC%E2%82%AC%20%22"
	multi := "--B\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n" + password + "\r\n--B--\r\n"
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = io.WriteString(w, "password="+escaped)
	_ = w.Close()
	zipped := newRequest("POST", "/", form, packed.String())
	zipped.Header.Set("Content-Encoding", "gzip")
	for name, r := range map[string]*http.Request{
		"query": newRequest("GET", "/?password="+escaped, "", ""), "form": newRequest("POST", "/", form, "password="+escaped),
		"form of a Perl client": newRequest("POST", "/", "application/octet-stream", "password="+escaped), "no type": newRequest("POST", "/", "", "password="+escaped),
		"json":      newRequest("POST", "/", "application/json", `{"password":"\"a b+c%41&=?#;<>'\\ü€ \""}`),
		"multipart": newRequest("POST", "/", "multipart/form-data; boundary=B", multi), "gzip": zipped,
		"form in a GET": newRequest("GET", "/?password="+escaped, form, ""),
	} {
		v, err := request.Read(r)
		require.Nil(t, err, name)
		require.Equal(t, map[string]any{"password": password}, v.Named(), name)
	}
}

func TestReadRefuses(t *testing.T) {
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	_, _ = w.Write(make([]byte, 64<<20))
	_ = w.Close()
	packed := newRequest("POST", "/", form, bomb.String())
	packed.Header.Set("Content-Encoding", "gzip")
	brotli := newRequest("POST", "/", form, "a=b")
	brotli.Header.Set("Content-Encoding", "br")
	broken := newRequest("POST", "/", form, "a=b")
	broken.Header.Set("Content-Encoding", "gzip")
	for _, tt := range []struct {
		name   string
		r      *http.Request
		status int
		says   string
	}{
		{"a % alone", newRequest("GET", "/?password=100%", "", ""), 400, "‘password’ argument has a %"},
		{"a % before no digits", newRequest("GET", "/?password=%zz", "", ""), 400, "‘password’"},
		{"a name with a %", newRequest("GET", "/?pass%word=1", "", ""), 400, "name has a %"},
		{"no UTF-8", newRequest("GET", "/?password=%ff", "", ""), 400, "‘password’ argument is not valid UTF-8"},
		{"a name that is no UTF-8", newRequest("GET", "/?%ff=1", "", ""), 400, "name must be text"},
		{"a name with a line feed", newRequest("GET", "/?a%0ab=1", "", ""), 400, "name must be text"},
		{"a long name", newRequest("GET", "/?"+strings.Repeat("a", 300)+"=1", "", ""), 400, "at most 256"},
		{"too many", newRequest("POST", "/", form, manyNames(1001)), 400, "More than 1000"},
		{"too often", newRequest("POST", "/", form, strings.Repeat("a=1&", 1001)), 400, "More than 1000"},
		{"too many of too many", newRequest("POST", "/", form, strings.Repeat("a&b&", 501)), 400, "More than 1000"},
		{"a large body", newRequest("POST", "/", form, "a="+strings.Repeat("x", 1<<20)), 413, "at most 1048576 bytes"},
		{"a bomb", packed, 413, "at most 1048576 bytes"},
		{"another packing", brotli, 415, "gzip"},
		{"packed, it says", broken, 400, "to its end"},
		{"XML", newRequest("POST", "/", "text/xml", "<a/>"), 415, "form"},
		{"no type at all", newRequest("POST", "/", ";;", "a=b"), 415, "Content-Type"},
		{"broken JSON", newRequest("POST", "/", "application/json", `{"a":`), 400, "JSON"},
		{"a name twice in JSON", newRequest("POST", "/", "application/json", `{"a":"1","a":"2"}`), 400, "repeated"},
		{"a list of JSON", newRequest("POST", "/", "application/json", `["a"]`), 400, "object"},
		{"JSON and more", newRequest("POST", "/", "application/json", `{} {}`), 400, "follows"},
		{"no boundary", newRequest("POST", "/", "multipart/form-data", "x"), 400, "boundary"},
		{"half a multipart", newRequest("POST", "/", "multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx"), 400, "end"},
		{"a file", newRequest("POST", "/", "multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data; name=\"a\"; filename=\"f\"\r\n\r\nx\r\n--B--\r\n"), 400, "‘a’ argument must be text, not a file"},
	} {
		_, err := request.Read(tt.r)
		require.NotNil(t, err, tt.name)
		require.Equal(t, tt.status, err.Status, tt.name)
		require.Contains(t, err.Message, tt.says, tt.name)
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("n" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + strings.Repeat("y", i/26) + "=1&")
	}
	return b.String()
}

func TestCalls(t *testing.T) {
	parse := func(path, query string, whm bool) (request.Call, *request.Error) {
		v, err := request.Read(newRequest("GET", "/?"+query, "", ""))
		require.Nil(t, err)
		return request.Of(request.ParsePath(path), v, whm)
	}
	named := map[string]any{"domain": `"example.com"`, "email": "user", "password": "x"}
	const rest = "&domain=%22example.com%22&email=user&password=x"
	for _, tt := range []struct {
		path, query string
		whm         bool
		user        string
		api         protocol.API
	}{
		{"/json-api/cpanel", "cpanel_jsonapi_user=alice&cpanel_jsonapi_apiversion=2&cpanel_jsonapi_module=Email&cpanel_jsonapi_func=passwdpop", true, "alice", 2},
		{"/json-api/cpanel", `cpanel_jsonapi_user="alice"&cpanel_jsonapi_apiversion="2"&cpanel_jsonapi_module="Email"&cpanel_jsonapi_func="passwdpop"`, true, "alice", 2},
		{"/json-api/cpanel", "cpanel_jsonapi_user=alice&cpanel_jsonapi_version=2&cpanel_jsonapi_module=Email&cpanel_jsonapi_func=passwdpop", true, "alice", 2},
		{"/json-api/cpanel", "cpanel_xmlapi_user=alice&cpanel_xmlapi_apiversion=2&cpanel_xmlapi_module=Email&cpanel_xmlapi_func=passwdpop", true, "alice", 2},
		{"/json-api/cpanel", "user=alice&cpanel_xmlapi_version=2&cpanel_jsonapi_module=Email&cpanel_xmlapi_func=passwdpop&api.version=1", true, "alice", 2},
		{"/xml-api/cpanel", "cpanel_jsonapi_funcversion=2&cpanel_jsonapi_module=Email&cpanel_jsonapi_func=passwdpop", false, "", 2},
		{"/json-api/cpanel", "cpanel_jsonapi_module=Email&cpanel_jsonapi_func=passwdpop", false, "", 2},
		{"/json-api/cpanel", "cpanel_jsonapi_apiversion=3&cpanel_jsonapi_module=Email&cpanel_jsonapi_func=passwdpop", false, "", 3},
		{"/json-api/cpanel", "cpanel_jsonapi_apiversion=uapi&cpanel_jsonapi_module=Email&cpanel_jsonapi_func=passwdpop", false, "", 3},
	} {
		c, err := parse(tt.path, tt.query+rest, tt.whm)
		require.Nil(t, err, tt.query)
		require.Equal(t, tt.user, c.User, tt.query)
		require.Equal(t, protocol.Call{API: tt.api, Module: "Email", Func: "passwdpop", Quoted: true, Args: protocol.Args{Named: named}}, c.Call, tt.query)
	}

	c, err := parse("/json-api/cpanel", "cpanel_jsonapi_module=Email&cpanel_jsonapi_func=getdiskusage&user=user&domain=example.com", false)
	require.Nil(t, err)
	require.Equal(t, map[string]any{"user": "user", "domain": "example.com"}, c.Args.Named, "on the cPanel port user is the function's own")

	c, err = parse("/xml-api/cpanel", "cpanel_xmlapi_module=Email&cpanel_xmlapi_func=addpop&arg-2=3&arg-0=a", false)
	require.Nil(t, err)
	require.Equal(t, protocol.API1, c.API)
	require.Equal(t, []any{"a", nil, "3"}, c.Args.Positional)

	c, err = parse("/execute/Email/passwd_pop", "email=a&email=b", false)
	require.Nil(t, err)
	require.Equal(t, map[string]any{"email": []any{"a", "b"}}, c.Args.Named, "a list, as UAPI has it")

	for query, says := range map[string]string{
		"cpanel_jsonapi_func=x":       "‘cpanel_jsonapi_module’",
		"cpanel_jsonapi_module=Email": "‘cpanel_jsonapi_func’",
		"":                            "‘cpanel_jsonapi_module’",
		"cpanel_jsonapi_apiversion=4": "‘cpanel_jsonapi_apiversion’",
		"cpanel_jsonapi_module=" + strings.Repeat("a", 65) + "&cpanel_jsonapi_func=x":                              "at most 64",
		"cpanel_jsonapi_user=a&cpanel_jsonapi_user=b&cpanel_jsonapi_module=M&cpanel_jsonapi_func=x":                "repeated",
		"cpanel_jsonapi_user=a&cpanel_xmlapi_user=b&cpanel_jsonapi_module=M&cpanel_jsonapi_func=x":                 "repeated",
		"cpanel_jsonapi_module=M&cpanel_jsonapi_func=x&cpanel_jsonapi_apiversion=1&arg-64=x":                       "‘arg-64’",
		"cpanel_jsonapi_module=M&cpanel_jsonapi_func=x&cpanel_jsonapi_apiversion=1&arg-x=x":                        "‘arg-x’",
		"cpanel_jsonapi_module=M&cpanel_jsonapi_func=x&cpanel_jsonapi_apiversion=1&arg-0=x&arg-0=y":                "‘arg-0’",
		"cpanel_jsonapi_module=M&cpanel_jsonapi_func=x&cpanel_jsonapi_apiversion=1&arg-999999999999999999999999=y": "number",
	} {
		_, err := parse("/json-api/cpanel", query, true)
		require.NotNil(t, err, query)
		require.Contains(t, err.Message, says, query)
	}
}

// Any request is read or rejected, and the result is within the limits.
func FuzzRequest(f *testing.F) {
	f.Add("POST", "/json-api/cpanel", "cpanel_jsonapi_module=Email&cpanel_jsonapi_func=passwdpop&email=%22user%22", form, []byte("password=a%26b"))
	f.Add("POST", "/cpsess0123456789/execute/Email/passwd_pop", "", "application/json", []byte(`{"email":"user@example.com","password":"\u00fc"}`))
	f.Add("POST", "/xml-api/cpanel", "arg-0=1&arg-0=2", "multipart/form-data; boundary=B", []byte("--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--B--\r\n"))
	f.Add("GET", "/execute/../x", "%ff=%zz", "", []byte(nil))
	f.Fuzz(func(t *testing.T, method, path, query, kind string, body []byte) {
		r := &http.Request{Method: method, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(bytes.NewReader(body))}
		r.URL = httptest.NewRequest("GET", "/", nil).URL
		r.URL.RawQuery = query
		p := request.ParsePath(path)
		v, err := request.Read(r)
		if err != nil {
			require.GreaterOrEqual(t, err.Status, 400)
			require.NotEmpty(t, err.Message)
		}
		if p.Kind != request.Execute && p.Kind != request.CPanel {
			return
		}
		c, err := request.Of(p, v, true)
		if err != nil {
			return
		}
		require.NotEmpty(t, c.Module)
		require.LessOrEqual(t, len(c.Module), 64)
		require.LessOrEqual(t, len(c.Args.Positional), 64)
		for name, value := range c.Args.Named {
			require.LessOrEqual(t, len(name), 256)
			require.NotNil(t, value)
		}
	})
}
