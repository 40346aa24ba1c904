package web

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

const change = "email=user%40example.com&password=not+allowed+1"

// T5: authentication comes before routing. Without credentials no method, path or port reaches a call.
func TestT05_NothingWithoutCredentials(t *testing.T) {
	t.Parallel()
	w, web := open(t)
	paths := []string{
		"/execute/Email/passwd_pop", "/cpsess0123456789/execute/Email/passwd_pop", "/json-api/cpanel", "/xml-api/cpanel", "/json-api/listaccts", "/json-api/uapi_cpanel",
		"/json-api/version", "/openapi.json", "/functions.json", "/me.json", "/docs", "/cpsess0123456789/", "/cpsess0123456789/openapi.json",
		"/Execute/Email/passwd_pop", "/execute//Email/passwd_pop", "/execute/../execute/Email/passwd_pop", "/execute/%45mail/passwd_pop", "/%65xecute/Email/passwd_pop",
		"/./execute/Email/passwd_pop", "/assets/../execute/Email/passwd_pop", "/assets/app.html", "/assets/../web.go", "/login/execute/Email/passwd_pop",
	}
	query := "?cpanel_jsonapi_user=demo&cpanel_jsonapi_apiversion=2&cpanel_jsonapi_module=Email&cpanel_jsonapi_func=passwdpop&domain=example.com&cpanel.user=demo&cpanel.module=Email&cpanel.function=passwd_pop&" + change
	for _, address := range []string{web.CPanel, web.WHM, web.Webmail} {
		for _, path := range paths {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "X"} {
				for _, header := range []string{"A: b", "Cookie: cpsession=x; whostmgrsession=x; webmailsession=x", "X-HTTP-Method-Override: POST"} {
					if method == "CONNECT" {
						continue // Go's client sends it only to proxies. TestRawRequests sends it by hand.
					}
					r, err := http.NewRequestWithContext(t.Context(), method, "https://"+address, nil)
					require.NoError(t, err)
					name, value, _ := strings.Cut(header, ": ")
					r.Header.Set(name, value)
					r.URL.Opaque = path + query
					answer, err := web.Client.Do(r)
					require.NoError(t, err)
					_, _ = io.Copy(io.Discard, answer.Body)
					_ = answer.Body.Close()
					what := method + " " + path
					switch {
					case answer.StatusCode == http.StatusSeeOther:
						require.Equal(t, "/login", answer.Header.Get("Location"), what)
					default:
						require.Contains(t, []int{401, 403, 404, 405}, answer.StatusCode, what)
					}
					require.NotEmpty(t, answer.Header.Get("Content-Security-Policy"), what)
				}
			}
		}
	}
	require.True(t, verifies(t, w, sandboxPassword))
	log, err := os.ReadFile(filepath.Join(web.State, "access.log"))
	require.NoError(t, err)
	require.NotContains(t, string(log), `"call"`)
}

// T4: a mailbox user may change the own password, see the own settings, and call nothing else. A token
// of another account, another port or another time is invalid.
func TestT04_WhoMayCallWhat(t *testing.T) {
	t.Parallel()
	w, web := open(t)
	hosttest.Output(t, w.Command(t, "uapi", "--user=demo", "Email", "add_pop", "email=other", "password=The other's own 1"))
	token := w.Token(t, "demo")
	other := w.Token(t, "root")
	_, body := web.Ask(t, "GET", web.CPanel+"/functions.json", "", "Authorization: cpanel demo:"+token)
	var all struct {
		Functions []struct {
			API          int
			Module, Name string
		}
		Missing []string
	}
	require.NoError(t, json.Unmarshal([]byte(body), &all))
	require.Greater(t, len(all.Functions), 50)
	require.Empty(t, all.Missing)
	basic := "user@example.com:" + sandboxPassword
	for _, f := range all.Functions {
		own := f.Module == "Email" && (f.Name == "passwd_pop" || f.Name == "passwdpop") || f.Module == "PasswdStrength" ||
			f.Module == "Locale" || f.Module+f.Name == "Variablesget_session_information" || f.Module+f.Name == "LiveAPIlist_functions"
		settings := f.Module == "Email" && slices.Contains([]string{"get_pop_quota", "getpopquota", "get_client_settings", "get_webmail_settings"}, f.Name)
		echo := f.Module == "Email" && (f.Name == "account_name" || f.Name == "accountname") // It reads nothing.
		args := url.Values{
			"cpanel_jsonapi_apiversion": {fmt.Sprint(f.API)}, "cpanel_jsonapi_module": {f.Module}, "cpanel_jsonapi_func": {f.Name},
			"email": {"other@example.com"}, "domain": {"example.com"}, "password": {"not allowed 1"}, "name": {"x"}, "arg-0": {"other"}, "arg-1": {"example.com"},
			"account": {"other@example.com"},
		}
		status, body := web.Ask(t, "POST", web.Webmail+"/json-api/cpanel", args.Encode(), "Authorization: "+basicAuth(basic))
		require.Equal(t, 200, status)
		if own || echo {
			require.NotContains(t, body, "Permission denied", "%+v", f)
			continue
		}
		if settings {
			require.Contains(t, body, "for your own mailbox only", "%+v", f)
			continue
		}
		require.Contains(t, body, "Permission denied.", "%+v", f)
	}
	for _, email := range []string{"other", "other@example.com", "user@example.org", "user@EXAMPLE.com.", "demo", "Main Account", "../user", "user@example.com@example.com"} {
		_, body := web.Ask(t, "POST", web.Webmail+"/execute/Email/passwd_pop", url.Values{"email": {email}, "password": {"not allowed 1"}}.Encode(), "Authorization: "+basicAuth(basic))
		require.Contains(t, body, `"status":0`, email)
	}
	require.True(t, verifies(t, w, sandboxPassword))
	require.Equal(t, 200, first(web.Ask(t, "GET", web.Webmail+"/me.json", "", "Authorization: "+basicAuth("other@example.com:The other's own 1"))), "it has the password it had")

	for _, tt := range []struct{ address, header string }{
		{web.CPanel, "cpanel root:" + other}, {web.CPanel, "cpanel demo:" + other}, {web.CPanel, "whm root:" + other}, {web.CPanel, "cpanel demo:" + token + "x"},
		{web.CPanel, "cpanel demo:"}, {web.CPanel, "cpanel :" + token}, {web.CPanel, "cpanel " + token}, {web.CPanel, "cpanel"}, {web.CPanel, "Bearer " + token},
		{web.CPanel, "cpanel demo:" + token + " "}, {web.CPanel, "cpanel Demo:" + token}, {web.CPanel, "cpanel nobody:" + token}, {web.CPanel, basicAuth("demo:" + token)},
		{web.CPanel, "Basic !!!"}, {web.CPanel, basicAuth("user@example.com:" + sandboxPassword)}, {web.CPanel, basicAuth("root:x")},
		{web.WHM, "whm demo:" + token}, {web.WHM, "cpanel demo:" + token}, {web.WHM, "whm root:" + token}, {web.WHM, "whm reseller:" + other},
		{web.Webmail, "cpanel demo:" + token}, {web.Webmail, basicAuth("demo:" + token)}, {web.Webmail, basicAuth("user@example.com:wrong")},
	} {
		answer := web.Request(t, "GET", tt.address+"/json-api/cpanel?cpanel_jsonapi_user=demo&cpanel_jsonapi_module=Email&cpanel_jsonapi_func=listpops", "", "Authorization: "+tt.header)
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		_ = answer.Body.Close()
		ok := tt.header == "cpanel demo:"+token+" " // A space at the end of a header is not part of its value.
		if ok {
			require.Equal(t, 200, answer.StatusCode)
			continue
		}
		require.Equal(t, 401, answer.StatusCode, tt.header)
		require.Contains(t, string(body), "Access denied")
		require.Contains(t, answer.Header.Get("WWW-Authenticate"), "Basic")
	}
	// An account that names another account, and an account that WHM's user does not own.
	status, body := web.Ask(t, "GET", web.CPanel+"/json-api/cpanel?cpanel_jsonapi_user=other&cpanel_jsonapi_module=Email&cpanel_jsonapi_func=listpops", "", "Authorization: cpanel demo:"+token)
	require.Equal(t, 403, status)
	require.Equal(t, `{"cpanelresult":{"apiversion":"2","data":{"reason":"Access denied","result":"0"},"error":"Access denied","type":"text"}}`+"\n", body)
	status, _ = web.Ask(t, "GET", web.WHM+"/json-api/cpanel?cpanel_jsonapi_user=other&cpanel_jsonapi_module=Email&cpanel_jsonapi_func=listpops", "", "Authorization: whm root:"+other)
	require.Equal(t, 403, status)
	status, _ = web.Ask(t, "GET", web.CPanel+"/json-api/listaccts", "", "Authorization: cpanel demo:"+token)
	require.Equal(t, 403, status)
	status, body = web.Ask(t, "GET", web.WHM+"/execute/Email/list_pops", "", "Authorization: whm root:"+other)
	require.Equal(t, 403, status)
	require.Contains(t, body, "uapi_cpanel")
}

func basicAuth(credentials string) string {
	r, _ := http.NewRequestWithContext(context.Background(), "GET", "http://x", nil)
	user, password, _ := strings.Cut(credentials, ":")
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// Tokens end when they are revoked by the tool or by UAPI, and when they expire, and are limited to their
// features.
func TestTokens(t *testing.T) {
	t.Parallel()
	w, web := open(t)
	ask := func(token, path string) (int, string) {
		return web.Ask(t, "GET", web.CPanel+path, "", "Authorization: cpanel demo:"+token)
	}
	first := w.Token(t, "demo", "--name", "first")
	status, body := ask(first, "/execute/Tokens/create_full_access?name=second")
	require.Equal(t, 200, status)
	var made struct{ Data struct{ Token string } }
	require.NoError(t, json.Unmarshal([]byte(body), &made))
	require.Len(t, made.Data.Token, 64)
	_, body = ask(made.Data.Token, "/execute/Tokens/list")
	require.Contains(t, body, `"name":"first"`)
	require.NotContains(t, body, made.Data.Token)
	require.NotContains(t, body, first)
	for query, says := range map[string]string{
		"create_full_access?name=second": "already", "create_full_access": "‘name’", "create_full_access?name=a%20b": "letters", "create_full_access?name=x&expires_at=1": "‘expires_at’",
		"create_full_access?name=x&expires_at=soon": "‘expires_at’", "create_full_access?name=x&readonly=1": "‘readonly’", "rename?name=none&new_name=x": "no API token", "rename?name=first&new_name=second": "already",
	} {
		_, body = ask(first, "/execute/Tokens/"+query)
		require.Contains(t, body, `"status":0`, query)
		require.Contains(t, body, says, query)
	}
	_, body = ask(first, "/execute/Tokens/revoke?name=none")
	require.Contains(t, body, `{"data":1,"errors":null,"messages":["You have no API token with this name."]`)
	_, body = ask(first, "/execute/Tokens/list")
	require.Contains(t, body, `"features":[],"has_full_access":1,"name":"first"`)
	_, body = ask(first, "/execute/Tokens/rename?name=second&new_name=zweite")
	require.Contains(t, body, `{"data":null,"errors":null`)
	require.Contains(t, body, `"status":1`)
	soon := made
	for wait := int64(2); ; wait *= 2 { // On a slow machine the time may be over before the request.
		_, body = ask(first, fmt.Sprint("/execute/Tokens/create_full_access?readonly=0&name=soon&expires_at=", time.Now().Unix()+wait))
		if strings.Contains(body, `"status":1`) {
			break
		}
		require.Contains(t, body, "‘expires_at’")
		require.Less(t, wait, int64(60))
	}
	require.NoError(t, json.Unmarshal([]byte(body), &soon))
	require.Eventually(t, func() bool {
		status, _ := ask(soon.Data.Token, "/execute/Email/count_pops")
		return status == 401
	}, 2*hosttest.Patience, hosttest.Tick, "it ends at its time")
	status, _ = ask(made.Data.Token, "/execute/Email/list_pops")
	require.Equal(t, 200, status)
	_, body = ask(first, "/execute/Tokens/revoke?name=zweite")
	require.Contains(t, body, `"data":1`)
	status, _ = ask(made.Data.Token, "/execute/Email/list_pops")
	require.Equal(t, 401, status)
	hosttest.Output(t, w.Command(t, "liveapi", "token", "revoke", "--user", "demo", "--name", "first"))
	status, _ = ask(first, "/execute/Email/list_pops")
	require.Equal(t, 401, status)

	limited := w.Token(t, "demo", "--name", "limited", "--feature", "popaccts")
	status, body = ask(limited, "/execute/Email/count_pops")
	require.Equal(t, 200, status)
	require.Contains(t, body, `"status":1`)
	for _, path := range []string{"/execute/Tokens/create_full_access?name=more", "/execute/Tokens/list", "/execute/Chrome/get_dom"} {
		_, body = ask(limited, path)
		require.Contains(t, body, "You do not have the feature", path)
	}
	for _, path := range []string{"/execute/Tokens/create_full_access?name=more", "/execute/Tokens/revoke?name=limited", "/execute/Tokens/rename?name=limited&new_name=x"} {
		_, body = ask(w.Token(t, "demo", "--feature", "apitokens"), path)
		require.Contains(t, body, "limited to features", path)
	}
	for _, none := range []string{"", "popaccts,", " ,"} {
		out, err := w.Command(t, "liveapi", "token", "create", "--user", "demo", "--name", "none", "--feature", none).CombinedOutput()
		if err == nil {
			status, _ = ask(strings.TrimSpace(string(out[strings.LastIndexByte(strings.TrimSpace(string(out)), '\n')+1:])), "/execute/Email/count_pops")
			require.NotEqual(t, 200, status, "%q is not all features", none)
		}
	}
	whm := "Authorization: whm root:" + w.Token(t, "root", "--feature", "popaccts")
	for path, want := range map[string]int{"/json-api/listaccts": 403, "/json-api/accountsummary?user=demo": 403, "/json-api/version": 200,
		"/json-api/uapi_cpanel?cpanel.user=demo&cpanel.module=Email&cpanel.function=count_pops": 200} {
		status, _ = web.Ask(t, "GET", web.WHM+path, "", whm)
		require.Equal(t, want, status, path)
	}

	short := w.Token(t, "demo", "--name", "short", "--expires", "1s")
	require.Eventually(t, func() bool {
		status, _ := ask(short, "/execute/Email/list_pops")
		return status == 401
	}, hosttest.Patience, 200*time.Millisecond)
	// T7: a token of a former account with the same name and another uid is invalid.
	former := w.Token(t, "demo", "--name", "former")
	path := filepath.Join(web.State, "tokens.json")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	own := fmt.Sprintf("\"uid\": %d,\n   \"service\": \"cpanel\",\n   \"name\": \"former\"", os.Geteuid())
	require.Contains(t, string(text), own)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(text), own, strings.Replace(own, "\"uid\": ", "\"uid\": 4", 1), 1)), 0o600))
	status, _ = ask(former, "/execute/Email/count_pops")
	require.Equal(t, 401, status)
	out := hosttest.Output(t, w.Command(t, "liveapi", "token", "list", "--user", "demo"))
	require.Contains(t, out, "(past)")
	require.Contains(t, out, "popaccts")
}

// T35, T36: whatever is wrong with a name and a password, status, body and time are the same. A client that
// fails too often must wait, and is told how long. The socket is not affected.
func TestT35_FailuresLookAlike(t *testing.T) {
	t.Parallel()
	w, web := open(t)
	password := w.SetPassword(t, "demo")
	failure := func(address, credentials string) (string, time.Duration) {
		start := time.Now()
		answer := web.Request(t, "GET", address+"/execute/Email/list_pops", "", "Authorization: "+basicAuth(credentials))
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		_ = answer.Body.Close()
		return fmt.Sprint(answer.StatusCode, " ", string(body)), time.Since(start)
	}
	want, _ := failure(web.CPanel, "demo:wrong")
	for _, tt := range []struct{ address, credentials string }{
		{web.CPanel, "nobody:wrong"}, {web.CPanel, "root:wrong"}, {web.CPanel, "a/b:wrong"}, {web.CPanel, "demo:" + strings.Repeat("x", 2000)}, {web.CPanel, "DEMO:" + password},
		{web.Webmail, "user@example.com:wrong"}, {web.Webmail, "nobody@example.com:wrong"}, {web.Webmail, "user@example.org:wrong"}, {web.Webmail, "user:wrong"}, {web.WHM, "root:wrong"},
	} {
		got, took := failure(tt.address, tt.credentials)
		require.Equal(t, want, got, tt.credentials)
		require.GreaterOrEqual(t, took, 290*time.Millisecond, "a failure is answered when failures are")
	}
	// Locked: the right password is rejected in the same way.
	token := w.Token(t, "demo")
	for over := true; over; {
		var until time.Time
		require.Eventually(t, func() bool {
			asked := time.Now()
			locked := web.Request(t, "GET", web.CPanel+"/execute/Email/list_pops", "", "Authorization: "+basicAuth("demo:wrong"))
			_ = locked.Body.Close()
			seconds, _ := strconv.Atoi(locked.Header.Get("Retry-After"))
			until = asked.Add(time.Duration(seconds-1) * time.Second)
			return seconds >= 8
		}, hosttest.Patience, 10*time.Millisecond)
		got, took := failure(web.CPanel, "demo:"+password)
		status, _ := web.Ask(t, "POST", web.CPanel+"/login?login_only=1", url.Values{"user": {"demo"}, "pass": {password}}.Encode())
		if over = time.Now().After(until); !over { // On a slow machine it may be over.
			require.Equal(t, want, got)
			require.GreaterOrEqual(t, took, 290*time.Millisecond)
			require.Equal(t, 401, status)
		}
	}
	// Concurrent guesses are as slow as consecutive guesses.
	var guesses sync.WaitGroup
	begun := time.Now()
	for range 60 {
		guesses.Go(func() {
			_, _ = web.Ask(t, "GET", web.Webmail+"/execute/Email/list_pops", "", "Authorization: "+basicAuth("together@example.com:wrong"))
		})
	}
	guesses.Wait()
	most := 6 // And another one after each waiting time.
	for wait, left := time.Second, time.Since(begun); left >= wait; wait *= 2 {
		left -= wait
		most++
	}
	log, err := os.ReadFile(filepath.Join(web.State, "access.log"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, strings.Count(string(log), `"service":"webmail"`), 60)
	require.LessOrEqual(t, strings.Count(web.Log.String(), "user=together@example.com"), most)
	// A client that disconnects does not keep others from signing in.
	for range 3 {
		conn, err := tls.Dial("tcp", web.Webmail, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) //nolint:gosec // It signs itself.
		require.NoError(t, err)
		_, err = io.WriteString(conn, "GET /execute/Email/list_pops HTTP/1.1\r\nHost: localhost\r\nAuthorization: "+basicAuth("gone@example.com:x")+"\r\n\r\n")
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
	status, _ := web.Ask(t, "GET", web.Webmail+"/execute/PasswdStrength/get_required_strength?app=pop", "", "Authorization: "+basicAuth("user@example.com:"+sandboxPassword))
	require.Equal(t, 200, status)
	status, _ = web.Ask(t, "GET", web.CPanel+"/execute/Email/list_pops", "", "Authorization: cpanel demo:"+token)
	require.Equal(t, 200, status, "nobody guesses a token, and so nobody's program waits for those who guess passwords")
	require.True(t, verifies(t, w, sandboxPassword), "the socket's owner waits for nobody")
}

// T37: the address of a request is its peer's address, or what a trusted proxy says.
func TestT37_Proxies(t *testing.T) {
	t.Parallel()
	for _, trusted := range []bool{false, true} {
		w := hosttest.Sandbox(t)
		web := w.OpenHTTPS(t)
		if trusted {
			w.Set(t, "[web]\n", "[web]\nproxies    = [\"127.0.0.0/8\", \"2001:db8::/32\"]\n")
		}
		w.Start(t)
		web.Wait(t)
		for header, want := range map[string]string{
			"192.0.2.7": "192.0.2.7", "10.0.0.1, 192.0.2.8": "192.0.2.8", "192.0.2.9, 127.0.0.9": "192.0.2.9", "192.0.2.10, 2001:db8::1": "192.0.2.10", "nonsense": "127.0.0.1", "": "127.0.0.1",
		} {
			_, _ = web.Ask(t, "GET", web.CPanel+"/login", "", "X-Forwarded-For: "+header, "Forwarded: for=192.0.2.99", "X-Real-IP: 192.0.2.98")
			log, err := os.ReadFile(filepath.Join(web.State, "access.log"))
			require.NoError(t, err)
			lines := strings.Split(strings.TrimSpace(string(log)), "\n")
			if !trusted {
				want = "127.0.0.1"
			}
			require.Contains(t, lines[len(lines)-1], `"from":"`+want+`"`, header)
		}
	}
}

// T42: if the tokens can't be read, the API is closed. The socket still works.
func TestT42_BrokenStateClosesTheAPI(t *testing.T) {
	t.Parallel()
	w, web := open(t)
	token := w.Token(t, "demo")
	path := filepath.Join(web.State, "tokens.json")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, broken := range []string{string(text[:len(text)/2]), "", "[]", `{"version":1,"tokens":[{}]}`} {
		require.NoError(t, os.WriteFile(path, []byte(broken), 0o600))
		answer := web.Request(t, "GET", web.CPanel+"/execute/Email/list_pops", "", "Authorization: cpanel demo:"+token)
		_ = answer.Body.Close()
		require.Equal(t, 503, answer.StatusCode, "%q", broken)
		require.NotEmpty(t, answer.Header.Get("Retry-After"))
		require.Contains(t, w.Dial(t).Call("uapi", "Email", "count_pops", `{}`), `"status":1`)
	}
	require.NoError(t, os.WriteFile(path, text, 0o600))
	status, _ := web.Ask(t, "GET", web.CPanel+"/execute/Email/list_pops", "", "Authorization: cpanel demo:"+token)
	require.Equal(t, 200, status)
}

// Requests that no client library sends: smuggling, injected headers, incomplete and slow requests.
func TestRawRequests(t *testing.T) {
	t.Parallel()
	w, web := open(t)
	auth := "Authorization: cpanel demo:" + w.Token(t, "demo") + "\r\n"
	talk := func(text string) string {
		conn, err := tls.Dial("tcp", web.CPanel, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) //nolint:gosec // It signs itself.
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		require.NoError(t, conn.SetDeadline(time.Now().Add(hosttest.Patience)))
		_, err = io.WriteString(conn, text)
		require.NoError(t, err)
		var all []byte
		in := bufio.NewReader(conn)
		for { // All answers on the connection, until it ends or no more are expected.
			answer, err := http.ReadResponse(in, nil)
			if err != nil {
				return string(all)
			}
			body, _ := io.ReadAll(answer.Body)
			all = append(all, fmt.Sprintf("%d %s\n", answer.StatusCode, body)...)
			if answer.Close {
				return string(all)
			}
		}
	}
	smuggled := "GET /execute/Email/passwd_pop?" + change + " HTTP/1.1\r\nHost: localhost\r\n" + auth + "\r\n"
	for name, text := range map[string]string{
		"two lengths":          "POST /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n" + smuggled,
		"a length that is odd": "POST /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: +5\r\n\r\n" + smuggled,
		"unknown encoding":     "POST /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + smuggled,
		"two slashes":          "GET //execute/Email/passwd_pop?" + change + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + auth + "\r\n",
		"space before colon":   "GET /login HTTP/1.1\r\nHost : localhost\r\nConnection: close\r\n\r\n",
		"no host":              "GET /login HTTP/1.1\r\nConnection: close\r\n\r\n",
		"a long header":        "GET /login HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n",
		"a long query":         "GET /execute/Email/list_pops?" + strings.Repeat("a=b&", 16<<10) + " HTTP/1.1\r\nHost: localhost\r\n" + auth + "\r\n",
		"CONNECT":              "CONNECT /execute/Email/passwd_pop?" + change + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
		"absolute":             "GET https://localhost/execute/Email/passwd_pop?" + change + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + auth + "\r\n",
		"NUL in the path":      "GET /execute/Email/pa\x00sswd_pop HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + auth + "\r\n",
		"two authorizations":   "GET /execute/Email/passwd_pop?" + change + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + auth + auth + "\r\n",
	} {
		out := talk(text)
		require.Regexp(t, `^(4\d\d|501) `, out, name)
		require.NotContains(t, out, "\n200 ", name)
	}
	require.True(t, verifies(t, w, sandboxPassword))
}

// R15: clients that send a header or a body one byte at a time are disconnected, and others are served.
func TestR15_SlowRequests(t *testing.T) {
	t.Parallel()
	w, web := open(t)
	auth := "Authorization: cpanel demo:" + w.Token(t, "demo")
	var all sync.WaitGroup
	for _, head := range []string{"GET /login HTTP/1.1\r\nHost: localhost\r\nX: ", "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100000\r\n\r\nuser="} {
		for range 20 {
			all.Go(func() {
				conn, err := tls.Dial("tcp", web.CPanel, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) //nolint:gosec // It signs itself.
				if err != nil {
					return
				}
				defer func() { _ = conn.Close() }()
				_, _ = io.WriteString(conn, head)
				go func() {
					pace := time.NewTicker(100 * time.Millisecond)
					defer pace.Stop()
					for range pace.C { // The server ends it.
						if _, err := io.WriteString(conn, "a"); err != nil {
							return
						}
					}
				}()
				_, _ = io.Copy(io.Discard, conn)
			})
		}
	}
	status, _ := web.Ask(t, "GET", web.CPanel+"/execute/Email/list_pops", "", auth)
	require.Equal(t, 200, status)
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(hosttest.Patience):
		t.Fatal("slow clients are not cut off")
	}
}
