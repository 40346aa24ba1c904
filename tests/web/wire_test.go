package web

import (
	"compress/gzip"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/tests/ports"
)

// Old clients, and compression: HTTP/1.0 over TLS, gzip in both directions, access hashes.
func TestOldWire(t *testing.T) {
	t.Parallel()
	w, web := open(t)
	token := w.Token(t, "demo")
	require.Contains(t, curl(t, "--http1.0", "-H", "Authorization: cpanel demo:"+token, "https://"+web.CPanel+"/execute/Email/count_pops"), `"status":1`)
	require.Contains(t, curl(t, "--http1.1", "-H", "Authorization: cpanel demo:"+token, "https://"+web.CPanel+"/execute/Email/count_pops"), `"status":1`)

	var body strings.Builder
	packed := gzip.NewWriter(&body)
	_, err := packed.Write([]byte("email=user@example.com&password=packed+%26+sent+1"))
	require.NoError(t, err)
	require.NoError(t, packed.Close())
	for _, coding := range []string{"gzip", "GZIP", "x-gzip"} {
		status, answer := web.Ask(t, "POST", web.CPanel+"/execute/Email/passwd_pop", body.String(), "Authorization: cpanel demo:"+token, "Content-Encoding: "+coding)
		require.Equal(t, 200, status, coding)
		require.Contains(t, answer, `"status":1`, coding)
	}
	require.True(t, verifies(t, w, "packed & sent 1"))
	require.Equal(t, 415, first(web.Ask(t, "POST", web.CPanel+"/execute/Email/passwd_pop", body.String(), "Authorization: cpanel demo:"+token, "Content-Encoding: br")))

	answer := web.Request(t, "GET", web.CPanel+"/openapi.json", "", "Authorization: cpanel demo:"+token, "Accept-Encoding: gzip")
	defer func() { _ = answer.Body.Close() }()
	require.Equal(t, "gzip", answer.Header.Get("Content-Encoding"))
	unpacked, err := gzip.NewReader(answer.Body)
	require.NoError(t, err)
	text, err := io.ReadAll(unpacked)
	require.NoError(t, err)
	require.Contains(t, string(text), `"openapi":"3.1.0"`)

	hash := strings.Repeat("0123456789abcdef", 58)
	file := filepath.Join(w.Dir, "accesshash")
	require.NoError(t, os.WriteFile(file, []byte(hash[:464]+"\n"+hash[464:]+"\n"), 0o600))
	hosttest.Output(t, w.Command(t, "liveapi", "token", "accesshash", "--user", "root", file))
	require.Contains(t, curl(t, "-H", "Authorization: WHM root:"+hash, "https://"+web.WHM+"/json-api/version"), `"version":"11.`)
	require.Equal(t, 401, first(web.Ask(t, "GET", web.WHM+"/json-api/version", "", "Authorization: WHM root:"+hash[1:]+"0")))
}

// WHM's own functions with a session's address, in XML with the root element and the fields that clients
// read.
func TestWHMForms(t *testing.T) {
	t.Parallel()
	w, web := open(t)
	auth := "Authorization: whm root:" + w.Token(t, "root")
	ask := func(path string) string {
		status, body := web.Ask(t, "GET", web.WHM+path, "", auth)
		require.Equal(t, 200, status, path)
		return body
	}
	for _, path := range []string{
		"version", "listaccts", "accountsummary?user=demo", "uapi_cpanel?cpanel.user=demo&cpanel.module=Email&cpanel.function=count_pops",
	} {
		require.Equal(t, ask("/json-api/"+path), ask("/cpsess0123456789/json-api/"+path))
	}
	require.Regexp(t, `^<\?xml version="1.0" \?>\n<result><data><version>11\.`, ask("/xml-api/version?api.version=1"))
	require.Regexp(t, `^<\?xml version="1.0" \?>\n<version><version>11\.`, ask("/xml-api/version"))
	_, own := web.Ask(t, "GET", web.CPanel+"/xml-api/version", "", "Authorization: cpanel demo:"+w.Token(t, "demo"))
	require.Contains(t, own, "<cpanelresult><apiversion>2</apiversion><data><version>11.")
	require.Contains(t, ask("/json-api/listaccts?searchmethod=exact"), `"user":"demo"`)
	require.Contains(t, ask("/json-api/listaccts?searchtype=user&searchmethod=exact&search=dem"), `"acct":[]`)
	for _, part := range []string{`"outgoing_mail_suspended":0`, `"outgoing_mail_hold":0`, `"min_defer_fail_to_trigger_protection":"5"`, `"unix_startdate":0`, `"suspended":0`, `"suspendreason":"not suspended"`} {
		require.Contains(t, ask("/json-api/accountsummary?user=demo"), part)
	}

	// A suspended account is served nowhere, and its own host says so.
	socket := w.Dial(t)
	require.Contains(t, socket.Call("uapi", "Email", "count_pops", `{}`), `"status":1`)
	hosttest.Output(t, w.Command(t, "liveapi", "account", "suspend", "demo"))
	require.Regexp(t, `"suspended":1.*"suspendreason":"Unknown"`, ask("/json-api/accountsummary?user=demo"))
	require.Contains(t, socket.Call("uapi", "Email", "count_pops", `{}`), "Your account is suspended.")
	require.Contains(t, w.Dial(t).Answer(), "Your account is suspended.")
	require.Equal(t, 403, first(web.Ask(t, "GET", web.WHM+"/json-api/cpanel?cpanel_jsonapi_user=demo&cpanel_jsonapi_module=Email&cpanel_jsonapi_func=listpops", "", auth)))
	require.Equal(t, 401, first(web.Ask(t, "GET", web.Webmail+"/me.json", "", "Authorization: "+basicAuth("user@example.com:"+sandboxPassword))))
	out, err := w.Command(t, "uapi", "--user=demo", "Email", "count_pops").CombinedOutput()
	require.NotContains(t, string(out), "status: 1", "%v", err)
	hosttest.Output(t, w.Command(t, "liveapi", "account", "unsuspend", "demo"))
	require.Contains(t, w.Dial(t).Call("uapi", "Email", "count_pops", `{}`), `"status":1`)
}

// A module that does not start hides no other module.
func TestBrokenModule(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	web := w.OpenHTTPS(t)
	dir := filepath.Join(w.Dir, "modules", "Broken")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "module.pl"), []byte("die 'it does not start'"), 0o755))
	w.Start(t)
	web.Wait(t)
	auth := "Authorization: cpanel demo:" + w.Token(t, "demo")
	for _, path := range []string{"/functions.json", "/openapi.json", "/docs"} {
		status, body := web.Ask(t, "GET", web.CPanel+path, "", auth)
		require.Equal(t, 200, status, path)
		require.Contains(t, body, "passwd_pop", path)
		require.Contains(t, body, "Broken", path)
		_, body = web.Ask(t, "GET", web.CPanel+path, "", "Authorization: cpanel demo:"+w.Token(t, "demo", "--feature", "popaccts"))
		require.Contains(t, body, "some modules", path)
		require.NotContains(t, body, "Broken", path)
		_, body = web.Ask(t, "GET", web.Webmail+path, "", "Authorization: "+basicAuth("user@example.com:"+sandboxPassword))
		require.Contains(t, body, "passwd_pop", path)
		require.NotContains(t, body, "Broken", path)
		require.NotContains(t, body, "some modules", path)
	}
}

// serial returns the serial number of the certificate at an address.
func serial(t *testing.T, address string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // It signs itself.
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// T40: at least TLS 1.2, HTTP/2 only if configured, and a changed certificate is used at once.
func TestT40_TLS(t *testing.T) {
	t.Parallel()
	_, web := open(t)
	for version, ok := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", web.CPanel, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}) //nolint:gosec // What is refused is the test.
		require.Equal(t, ok, err == nil, "%s: %v", tls.VersionName(version), err)
		if ok {
			_ = conn.Close()
		}
	}
	answer := web.Request(t, "GET", web.CPanel+"/login", "")
	_ = answer.Body.Close()
	require.Equal(t, "HTTP/1.1", answer.Proto, "as cPanel's own server")
	first := serial(t, web.CPanel)
	_, another := openWith(t, "http2 = true")
	answer = another.Request(t, "GET", another.CPanel+"/login", "")
	_ = answer.Body.Close()
	require.Equal(t, "HTTP/2.0", answer.Proto)
	for _, name := range []string{"self-signed.key", "self-signed.crt"} {
		text, err := os.ReadFile(filepath.Join(another.State, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(web.State, name+".new"), text, 0o600))
	}
	require.NoError(t, os.Rename(filepath.Join(web.State, "self-signed.key.new"), filepath.Join(web.State, "self-signed.key")))
	require.Equal(t, first, serial(t, web.CPanel), "half of a pair changes nothing")
	require.NoError(t, os.Rename(filepath.Join(web.State, "self-signed.crt.new"), filepath.Join(web.State, "self-signed.crt")))
	require.Eventually(t, func() bool { return serial(t, web.CPanel) != first }, hosttest.Patience, hosttest.Tick)
}

// A configured certificate, and its replacement, as ACME clients install it. HTTP without TLS is served on
// loopback if configured.
func TestConfiguredCertificateAndPlain(t *testing.T) {
	t.Parallel()
	_, one := open(t)
	_, two := open(t)
	w := hosttest.Sandbox(t)
	web := w.OpenHTTPS(t)
	plain := ports.Address(ports.Free(t))
	certificate, key := filepath.Join(w.Dir, "fullchain.pem"), filepath.Join(w.Dir, "privkey.pem")
	put := func(from *hosttest.Web) {
		for to, name := range map[string]string{key: "self-signed.key", certificate: "self-signed.crt"} {
			text, err := os.ReadFile(filepath.Join(from.State, name))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(to+".new", text, 0o600))
			require.NoError(t, os.Rename(to+".new", to))
		}
	}
	put(one)
	w.Set(t, "[web]\n", "[web]\ncertificate = \"fullchain.pem\"\nkey = \"privkey.pem\"\nplain_cpanel = \""+plain+"\"\n")
	w.Start(t)
	web.Wait(t)
	require.Equal(t, serial(t, one.CPanel), serial(t, web.CPanel))
	require.NoFileExists(t, filepath.Join(web.State, "self-signed.key"))
	put(two)
	require.Eventually(t, func() bool { return serial(t, web.CPanel) == serial(t, two.CPanel) }, hosttest.Patience, hosttest.Tick)

	token := w.Token(t, "demo")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+plain+"/execute/Email/passwd_pop", strings.NewReader(url.Values{"email": {"user"}, "password": {"in plain 1"}}.Encode()))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", "cpanel demo:"+token)
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), `"status":1`)
	_, port, err := net.SplitHostPort(plain)
	require.NoError(t, err)
	w.Set(t, plain, "0.0.0.0:"+port)
	out, err := w.Command(t, "liveapid", "serve").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "loopback")
}
