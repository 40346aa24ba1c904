package web

import (
	"crypto/tls"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// T38: with a cookie, nothing can be changed by GET, without the session's token, or from another site. After
// a session has ended, it can't be used.
func TestT38_Sessions(t *testing.T) {
	t.Parallel()
	w, web := open(t)
	password := w.SetPassword(t, "demo")
	cookie, session := web.SignIn(t, web.CPanel, "demo", password)
	other, _ := web.SignIn(t, web.CPanel, "demo", password)
	execute := web.CPanel + "/" + session + "/execute/Email/passwd_pop"
	json2 := web.CPanel + "/" + session + "/json-api/cpanel"
	api2 := "cpanel_jsonapi_apiversion=2&cpanel_jsonapi_module=Email&cpanel_jsonapi_func=passwdpop&domain=example.com&" + change
	for _, tt := range []struct {
		name, method, address, body string
		headers                     []string
		status                      int
	}{
		{"GET", "GET", execute + "?" + change, "", []string{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"}, 403},
		{"GET of API 2", "GET", json2 + "?" + api2, "", []string{"Sec-Fetch-Site: same-origin"}, 403},
		{"GET of an old browser's page", "GET", execute + "?" + change, "", []string{"Origin: https://" + web.CPanel}, 403},
		{"HEAD", "HEAD", execute + "?" + change, "", nil, 403},
		{"a script's GET without the token", "GET", web.CPanel + "/execute/Email/passwd_pop?" + change, "", nil, 401},
		{"a script's GET with another token", "GET", web.CPanel + "/cpsess0000000001/execute/Email/passwd_pop?" + change, "", nil, 401},
		{"no token", "POST", web.CPanel + "/execute/Email/passwd_pop", change, nil, 401},
		{"another token", "POST", web.CPanel + "/cpsess0000000001/execute/Email/passwd_pop", change, nil, 401},
		{"another session's cookie", "POST", execute, change, []string{"Cookie: " + other}, 401},
		{"no cookie", "POST", execute, change, []string{"Cookie: a=b"}, 401},
		{"two cookies", "POST", execute, change, []string{"Cookie: " + cookie + "; " + cookie}, 401},
		{"another site's form", "POST", execute, change, []string{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site"}, 403},
		{"another site's form, in an old browser", "POST", execute, change, []string{"Origin: https://evil.example"}, 403},
		{"no site's form", "POST", execute, change, []string{"Origin: null"}, 403},
		{"another port of this host", "POST", execute, change, []string{"Sec-Fetch-Site: same-site"}, 403},
		{"another site's picture", "GET", web.CPanel + "/" + session + "/execute/Email/list_pops", "", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"}, 403},
		{"another site's link to a call", "GET", web.CPanel + "/" + session + "/execute/Email/list_pops", "", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"}, 403},
		{"another site's form that signs in", "POST", web.CPanel + "/login", "user=demo&pass=x", []string{"Origin: https://evil.example"}, 403},
		{"another name of this host", "POST", execute, change, []string{"Host: evil.example"}, 401},
		{"another port's session", "POST", web.Webmail + "/" + session + "/execute/Email/passwd_pop", change, nil, 401},
	} {
		headers := tt.headers
		if !slices.ContainsFunc(headers, func(h string) bool { return strings.HasPrefix(h, "Cookie") }) {
			headers = append(headers, "Cookie: "+cookie)
		}
		status, body := web.Ask(t, tt.method, tt.address, tt.body, headers...)
		require.Equal(t, tt.status, status, "%s: %s", tt.name, body)
	}
	// Browsers also send stored passwords for Basic with requests from other sites.
	status, _ := web.Ask(t, "GET", web.CPanel+"/execute/Email/passwd_pop?"+change, "", "Authorization: "+basicAuth("demo:"+password), "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors")
	require.Equal(t, 403, status)
	require.True(t, verifies(t, w, sandboxPassword), "nothing of it changed anything")

	status, body := web.Ask(t, "GET", web.CPanel+"/"+session+"/execute/Email/list_pops", "", "Cookie: "+cookie)
	require.Equal(t, 200, status)
	require.Contains(t, body, `"status":1`)
	status, _ = web.Ask(t, "POST", execute, "email=user@example.com&password=by+session+1", "Cookie: "+cookie, "Origin: https://"+web.CPanel, "Sec-Fetch-Site: same-origin")
	require.Equal(t, 200, status)
	require.True(t, verifies(t, w, "by session 1"))

	// A script, which sends none of the headers that browsers send, may change by GET, too; HEAD only reads.
	status, _ = web.Ask(t, "GET", execute+"?email=user@example.com&password=by+a+script+1", "", "Cookie: "+cookie)
	require.Equal(t, 200, status)
	require.True(t, verifies(t, w, "by a script 1"))
	for _, header := range []string{"Cookie: " + cookie, "Authorization: cpanel demo:" + w.Token(t, "demo", "--name", "head")} {
		base := web.CPanel
		if strings.HasPrefix(header, "Cookie") {
			base += "/" + session
		}
		status, body = web.Ask(t, "HEAD", base+"/execute/Email/list_pops", "", header)
		require.Equal(t, 200, status)
		require.Empty(t, body)
		status, _ = web.Ask(t, "HEAD", base+"/execute/Email/passwd_pop?email=user@example.com&password=by+head+1", "", header)
		require.Equal(t, 403, status)
	}
	status, _ = web.Ask(t, "POST", execute, "email=user@example.com&password=by+session+1", "Cookie: "+cookie)
	require.Equal(t, 200, status)

	// A script may also sign in by GET; a browser gets the page.
	for _, path := range []string{"/login", "/login/"} {
		address := web.CPanel + path + "?login_only=1&user=demo&pass=" + url.QueryEscape(password)
		status, body = web.Ask(t, "GET", address, "")
		require.Equal(t, 200, status)
		require.Contains(t, body, `"security_token":"/cpsess`)
		status, body = web.Ask(t, "GET", strings.Replace(address, "user=demo", "user=other", 1), "")
		require.Equal(t, 401, status)
		require.Contains(t, body, `"status":0`)
		for _, header := range []string{"Sec-Fetch-Mode: navigate", "Origin: https://" + web.CPanel} {
			status, body = web.Ask(t, "GET", address, "", header)
			require.Equal(t, 200, status)
			require.Contains(t, body, "<form")
			require.NotContains(t, body, "cpsess")
		}
	}

	// A mailbox user must enter the password again, whatever the form of the call.
	boxCookie, boxSession := web.SignIn(t, web.Webmail, "user@example.com", "by session 1")
	for _, path := range []string{"/execute/Email/passwd_pop", "/json-api/cpanel", "/xml-api/cpanel"} {
		for _, more := range []string{"", "&current_password=wrong", "&current_password=", "&current_password=by+session+1&current_password=wrong"} {
			_, body = web.Ask(t, "POST", web.Webmail+"/"+boxSession+path, api2+more, "Cookie: "+boxCookie)
			require.NotRegexp(t, `"status":1|"result":1}]|<result>1</result></data>`, body, path+more)
		}
	}
	require.True(t, verifies(t, w, "by session 1"))
	_, body = web.Ask(t, "POST", web.Webmail+"/"+boxSession+"/execute/Email/passwd_pop", "email=user&password=by+session+2&current_password=by+session+1", "Cookie: "+boxCookie)
	require.Contains(t, body, `"status":1`)
	require.True(t, verifies(t, w, "by session 2"))

	for _, method := range []string{"GET", "HEAD"} {
		status, _ = web.Ask(t, method, web.CPanel+"/"+session+"/logout", "", "Cookie: "+cookie)
		require.Equal(t, 405, status, "signing out is a change")
	}
	status, _ = web.Ask(t, "POST", web.CPanel+"/"+session+"/logout", "", "Cookie: "+cookie)
	require.Equal(t, 303, status)
	status, _ = web.Ask(t, "GET", web.CPanel+"/"+session+"/execute/Email/list_pops", "", "Cookie: "+cookie)
	require.Equal(t, 401, status, "replayed after the sign-out")

	// A session ends when the password changes.
	cookie, session = web.SignIn(t, web.CPanel, "demo", password)
	hosttest.Output(t, w.Command(t, "liveapi", "password", "--user", "demo", "--remove"))
	status, _ = web.Ask(t, "GET", web.CPanel+"/"+session+"/execute/Email/list_pops", "", "Cookie: "+cookie)
	require.Equal(t, 401, status)
	w.SetPassword(t, "demo")

	// A page's own request does not open the browser's sign-in window.
	refused := web.Request(t, "GET", web.CPanel+"/"+session+"/me.json", "", "Cookie: "+cookie, "Sec-Fetch-Mode: cors", "Sec-Fetch-Site: same-origin")
	_ = refused.Body.Close()
	require.Empty(t, refused.Header.Get("WWW-Authenticate"))

	answer := web.Request(t, "POST", web.CPanel+"/login", url.Values{"user": {"demo"}, "pass": {password}}.Encode())
	_ = answer.Body.Close()
	set := answer.Header.Get("Set-Cookie")
	for _, attribute := range []string{"__Host-cpsession=", "HttpOnly", "Secure", "SameSite=Strict", "Path=/"} {
		require.Contains(t, set, attribute)
	}
	status, body = web.Ask(t, "GET", web.CPanel+"/login?user=demo&pass="+url.QueryEscape(password), "")
	require.Equal(t, 200, status)
	require.Contains(t, body, "<form", "a password in a URL signs nobody in")
	status, body = web.Ask(t, "POST", web.CPanel+"/login/?login_only=1", url.Values{"user": {"demo"}, "pass": {password}}.Encode())
	require.Equal(t, 200, status)
	require.Regexp(t, `"security_token":"/cpsess\d{10}"`, body)
}

// T39: every answer has headers that keep a browser from running foreign code, and users' data is shown as
// text.
func TestT39_Pages(t *testing.T) {
	t.Parallel()
	w, web := open(t)
	password := w.SetPassword(t, "demo")
	cookie, session := web.SignIn(t, web.CPanel, "demo", password)
	for _, path := range []string{"/", "/login", "/assets/app.js", "/assets/none", "/" + session + "/", "/" + session + "/docs", "/" + session + "/none", "/execute/Email/x", "/%", "/" + session + "/openapi.json"} {
		answer := web.Request(t, "GET", web.CPanel+strings.ReplaceAll(path, "%", "%25"), "", "Cookie: "+cookie)
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		_ = answer.Body.Close()
		csp := answer.Header.Get("Content-Security-Policy")
		for _, rule := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			require.Contains(t, csp, rule, path)
		}
		require.NotContains(t, csp, "unsafe", path)
		for name, value := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"} {
			require.Equal(t, value, answer.Header.Get(name), path)
		}
		require.Empty(t, answer.Header.Get("Access-Control-Allow-Origin"), path)
		require.NotRegexp(t, `<script>|<script [^>]*>[^<]|\son[a-z]+=|style=|https?://`, strings.ReplaceAll(string(body), "http://www.w3.org/2000/svg", ""), path)
	}
	const script = `"><script>alert(1)</script>`
	_, body := web.Ask(t, "POST", web.CPanel+"/login", url.Values{"user": {script}, "pass": {"x"}}.Encode())
	require.NotContains(t, body, "<script>")
	require.Contains(t, body, "&lt;script&gt;")
	for _, path := range []string{"/execute/Email/passwd_pop?email=" + url.QueryEscape(script) + "&password=x", "/json-api/cpanel?cpanel_jsonapi_module=" + url.QueryEscape(script) + "&cpanel_jsonapi_func=x"} {
		answer := web.Request(t, "GET", web.CPanel+path, "", "Authorization: "+basicAuth("demo:"+password))
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		_ = answer.Body.Close()
		require.NotContains(t, string(body), "<", path)
		require.Contains(t, answer.Header.Get("Content-Type"), "application/json", path)
	}
}

// T53: a browser sends its cookie to every port of a host's name, including a tenant's program. The cookie
// alone does not give the token, and is useless for another user of this machine.
func TestT53_TheCookieAlone(t *testing.T) {
	t.Parallel()
	w, web := open(t)
	password := w.SetPassword(t, "demo")
	cookie, session := web.SignIn(t, web.CPanel, "demo", password)
	for _, path := range []string{"/", "/login", "/logout", "/docs", "/me.json", "/execute/Tokens/create_full_access?name=x", "/json-api/cpanel"} {
		answer := web.Request(t, "GET", web.CPanel+path, "", "Cookie: "+cookie)
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		_ = answer.Body.Close()
		require.NotContains(t, string(body)+answer.Header.Get("Location"), "cpsess", path)
	}
	status, _ := web.Ask(t, "GET", web.CPanel+"/"+session+"/me.json", "", "Cookie: "+cookie)
	require.Equal(t, 200, status)

	// Even with the token, because the thief's program runs as another user.
	conn, err := hosttest.DialTCP(web.CPanel, "", 20077)
	require.NoError(t, err)
	thief := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // It signs itself.
	_, err = io.WriteString(thief, "GET /"+session+"/me.json HTTP/1.0\r\nHost: "+web.CPanel+"\r\nCookie: "+cookie+"\r\n\r\n")
	require.NoError(t, err)
	answer, err := io.ReadAll(thief)
	require.NoError(t, err)
	require.NotContains(t, string(answer), `"user"`)
	status, _ = web.Ask(t, "GET", web.CPanel+"/"+session+"/me.json", "", "Cookie: "+cookie)
	require.NotEqual(t, 200, status, "a session whose cookie was stolen has ended")

	// The token can't be guessed.
	cookie, session = web.SignIn(t, web.CPanel, "demo", password)
	for range 25 {
		_, _ = web.Ask(t, "GET", web.CPanel+"/cpsess0000000001/me.json", "", "Cookie: "+cookie)
	}
	status, _ = web.Ask(t, "GET", web.CPanel+"/"+session+"/me.json", "", "Cookie: "+cookie)
	require.NotEqual(t, 200, status)
}
