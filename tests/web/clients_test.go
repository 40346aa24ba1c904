package web

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// open returns a running world with its HTTPS API.
func open(t *testing.T) (*hosttest.World, *hosttest.Web) {
	t.Helper()
	return openWith(t, "")
}

// openWith is open with another line in the configuration's [web].
func openWith(t *testing.T, line string) (*hosttest.World, *hosttest.Web) {
	t.Helper()
	w := hosttest.Sandbox(t)
	web := w.OpenHTTPS(t)
	w.Set(t, "[web]\n", "[web]\n"+line+"\n")
	w.Start(t)
	web.Wait(t)
	return w, web
}

func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}

// curl runs the real curl.
func curl(t *testing.T, args ...string) string {
	t.Helper()
	return hosttest.Output(t, exec.Command("curl", append([]string{"-sk", "--max-time", "60", "--path-as-is"}, args...)...))
}

// Every form of URL for passwdpop and passwd_pop that is documented or used by published clients, with real
// curl. Each changes the password, which verify_password checks.
func TestDocumentedURLs(t *testing.T) {
	t.Parallel()
	w, web := open(t)
	account := "Authorization: cpanel demo:" + w.Token(t, "demo")
	root := "Authorization: whm root:" + w.Token(t, "root")
	password := w.SetPassword(t, "demo")
	rootPassword := w.SetPassword(t, "root")
	cookie, session := web.SignIn(t, web.CPanel, "demo", password)
	whmCookie, whmSession := web.SignIn(t, web.WHM, "root", rootPassword)
	const (
		api2    = "cpanel_jsonapi_apiversion=2&cpanel_jsonapi_module=Email&cpanel_jsonapi_func=passwdpop&"
		quoted  = "domain=%22example.com%22&email=%22user%22&password="
		plain   = "domain=example.com&email=user&password="
		success = `{"cpanelresult":{"apiversion":2,"module":"Email","func":"passwdpop","data":[{"reason":"","result":1}],"event":{"result":1}}}` + "\n"
		done    = `{"data":null,"errors":null,"messages":null,"metadata":{},"status":1,"warnings":null}` + "\n"
		xml     = "<?xml version=\"1.0\" ?>\n<cpanelresult><apiversion>2</apiversion><data><reason></reason><result>1</result></data><event><result>1</result></event><func>passwdpop</func><module>Email</module></cpanelresult>\n"
		full    = `{"apiversion":3,"module":"Email","func":"passwd_pop","result":{"data":null,"errors":null,"messages":null,"metadata":{},"status":1,"warnings":null}}` + "\n"
		whm1    = `{"data":{"uapi":{"data":null,"errors":null,"messages":null,"metadata":{},"status":1,"warnings":null}},"metadata":{"command":"uapi_cpanel","reason":"OK","result":1,"version":1}}` + "\n"
	)
	for i, tt := range []struct {
		name string
		args []string // NEW stands for the password.
		want string
	}{
		{"the documentation's first URL", []string{"-b", whmCookie, "-X", "POST", "https://" + web.WHM + "/" + whmSession + "/json-api/cpanel?cpanel_jsonapi_user=demo&" + api2 + plain + "NEW"}, success},
		{"with quotes", []string{"-H", root, "https://" + web.WHM + "/json-api/cpanel?cpanel_jsonapi_user=%22demo%22&" + api2 + quoted + "NEW"}, success},
		{"by POST", []string{"-H", root, "-d", "cpanel_jsonapi_user=demo&" + api2 + plain + "NEW", "https://" + web.WHM + "/json-api/cpanel"}, success},
		{"as multipart", []string{"-H", root, "-F", "cpanel_jsonapi_user=demo", "-F", "domain=example.com", "-F", "email=user", "-F", "password=NEW", "https://" + web.WHM + "/json-api/cpanel?" + strings.TrimSuffix(api2, "&")}, success},
		{"as JSON", []string{"-H", account, "-H", "Content-Type: application/json", "-d", `{"email":"user@example.com","password":"NEW"}`, "https://" + web.CPanel + "/execute/Email/passwd_pop"}, done},
		{"old names", []string{"-H", root, "https://" + web.WHM + "/json-api/cpanel?user=demo&cpanel_xmlapi_version=2&cpanel_xmlapi_module=Email&cpanel_jsonapi_func=passwdpop&" + plain + "NEW"}, success},
		{"older names", []string{"-H", account, "https://" + web.CPanel + "/json-api/cpanel?cpanel_jsonapi_version=2&cpanel_jsonapi_module=Email&cpanel_jsonapi_func=passwdpop&" + plain + "NEW"}, success},
		{"XML", []string{"-H", root, "https://" + web.WHM + "/xml-api/cpanel?cpanel_xmlapi_user=demo&cpanel_xmlapi_apiversion=2&cpanel_xmlapi_module=Email&cpanel_xmlapi_func=passwdpop&" + plain + "NEW"}, xml},
		{"upper case scheme", []string{"-H", strings.Replace(root, "whm", "WHM", 1), "https://" + web.WHM + "/json-api/cpanel?api.version=1&user=demo&cpanel_jsonapi_user=demo&" + api2 + plain + "NEW"}, success},
		{"UAPI by token", []string{"-H", account, "https://" + web.CPanel + "/execute/Email/passwd_pop?email=user%40example.com&password=NEW"}, done},
		{"UAPI by Basic", []string{"-u", "demo:" + password, "https://" + web.CPanel + "/execute/Email/passwd_pop?email=user&domain=example.com&password=NEW"}, done},
		{"UAPI by session", []string{"-b", cookie, "-d", "email=user@example.com&password=NEW", "https://" + web.CPanel + "/" + session + "/execute/Email/passwd_pop"}, done},
		{"UAPI by WHM", []string{"-H", root, "https://" + web.WHM + "/json-api/cpanel?cpanel_jsonapi_user=demo&cpanel_jsonapi_apiversion=3&cpanel_jsonapi_module=Email&cpanel_jsonapi_func=passwd_pop&" + plain + "NEW"}, full},
		{"uapi_cpanel", []string{"-H", root, "https://" + web.WHM + "/json-api/uapi_cpanel?api.version=1&cpanel.user=demo&cpanel.module=Email&cpanel.function=passwd_pop&email=user@example.com&password=NEW"}, whm1},
		{"with a session's token in front of a header", []string{"-H", account, "https://" + web.CPanel + "/cpsess0123456789/execute/Email/passwd_pop?email=user@example.com&password=NEW"}, done},
		{"HTTP/1.1 and gzip", []string{"--http1.1", "--compressed", "-H", account, "https://" + web.CPanel + "/execute/Email/passwd_pop?email=user@example.com&password=NEW"}, done},
	} {
		password := fmt.Sprintf("12345luggage.%d", i)
		for j := range tt.args {
			tt.args[j] = strings.ReplaceAll(tt.args[j], "NEW", password)
		}
		require.Equal(t, tt.want, curl(t, tt.args...), tt.name)
		require.True(t, verifies(t, w, password), tt.name)
	}
	// A mailbox user with the mailbox's own password, which each change replaces.
	current := "12345luggage.15"
	for i, form := range []string{"/execute/Email/passwd_pop?email=user@example.com&password=", "/execute/Email/passwd_pop?email=user&password="} {
		next := fmt.Sprint("by the user ", i)
		require.Equal(t, done, curl(t, "-u", "user@example.com:"+current, "https://"+web.Webmail+form+strings.ReplaceAll(next, " ", "+")))
		current = next
	}
	require.True(t, verifies(t, w, current))
	// A password is used byte for byte, including quotes. A name is not.
	require.Equal(t, success, curl(t, "-G", "-H", root, "https://"+web.WHM+"/json-api/cpanel?cpanel_jsonapi_user=demo&"+strings.TrimSuffix(api2, "&"),
		"--data-urlencode", `domain="example.com"`, "--data-urlencode", `email="user"`, "--data-urlencode", `password="quoted & ünïcode 100%"`))
	require.True(t, verifies(t, w, `"quoted & ünïcode 100%"`))
}

// WHM's own functions, in both envelopes.
func TestWHMFunctions(t *testing.T) {
	t.Parallel()
	w, web := open(t)
	root := "Authorization: whm root:" + w.Token(t, "root")
	ask := func(path string) string {
		_, body := web.Ask(t, "GET", web.WHM+path, "", root)
		return body
	}
	require.Equal(t, "{\"version\":\"11.136.0.0\"}\n", ask("/json-api/version"))
	require.Equal(t, "{\"data\":{\"version\":\"11.136.0.0\"},\"metadata\":{\"command\":\"version\",\"reason\":\"OK\",\"result\":1,\"version\":1}}\n", ask("/json-api/version?api.version=1"))
	require.Equal(t, "<?xml version=\"1.0\" ?>\n<version><version>11.136.0.0</version></version>\n", ask("/xml-api/version"))
	for _, path := range []string{"/json-api/listaccts", "/json-api/listaccts?search=EXAMPLE&searchtype=domain", "/json-api/listaccts?search=demo&searchtype=user&searchmethod=exact"} {
		require.Contains(t, ask(path), `"domain":"example.com"`, path)
		require.Contains(t, ask(path), `"status":1,"statusmsg":"Ok"`, path)
	}
	require.Contains(t, ask("/json-api/listaccts?api.version=1&search=nobody"), `{"data":{"acct":[]},"metadata":{`)
	require.Contains(t, ask("/json-api/listaccts?search=("), `regular expression`)
	require.Contains(t, ask("/json-api/listaccts?searchtype=colour"), `‘searchtype’`)
	// WHM API 1's names for filter, sort, pages and columns, as @cpanel/api sends them.
	const v1 = "/json-api/listaccts?api.version=1&"
	require.Contains(t, ask(v1+"api.filter.enable=1&api.filter.verbose=1&api.filter.a.field=user&api.filter.a.type=eq&api.filter.a.arg0=dem"), `{"data":{"acct":[]},"metadata":{"command":"listaccts","filter":{"filtered":1},`)
	require.Contains(t, ask(v1+"api.filter.enable=1&api.filter.a.field=user&api.filter.a.type=contains&api.filter.a.arg0=dem"), `"user":"demo"`)
	for query, part := range map[string]string{
		"api.filter.a.field=uid&api.filter.a.type=gt_equal&api.filter.a.arg0=0":   `"user":"demo"`,
		"api.filter.a.field=uid&api.filter.a.type=lt_equal&api.filter.a.arg0=-1":  `"acct":[]`,
		"api.filter.a.field=user&api.filter.a.type=less&api.filter.a.arg0=5":      "The ‘api.filter.a.type’ argument must be one of",
		"api.filter.a.field=user&api.filter.a.type=matches&api.filter.a.arg0=%28": "The ‘api.filter.a.arg0’ argument is not a regular expression",
		"api.sort.enable=1&api.sort.b.field=user&api.sort.b.method=random":        "The ‘api.sort.b.method’ argument must be one of",
		"searchtype=user&search=%28":                                              "The ‘search’ argument is not a regular expression",
	} {
		require.Contains(t, ask(v1+query), part, query)
	}
	require.Contains(t, ask(v1+"api.chunk.enable=1&api.chunk.verbose=1&api.chunk.start=1&api.chunk.size=2"), `"chunk":{"chunks":1,"current":1,"records":1,"size":2,"start":`)
	require.Contains(t, ask(v1+"api.chunk.enable=1&api.chunk.start=2&api.chunk.size=2"), `"acct":[]`)
	require.Contains(t, ask(v1+"api.sort.enable=1&api.sort.a.field=user&api.sort.a.reverse=1&api.columns.enable=1&api.columns.a=user"), `{"data":{"acct":[{"user":"demo"}]}`)
	require.Contains(t, ask(v1+"want=user,domain"), `{"data":{"acct":[{"domain":"example.com","user":"demo"}]}`)
	require.Contains(t, ask("/xml-api/listaccts"), "<listaccts><acct><backup>0</backup><disklimit>")
	require.Contains(t, ask("/json-api/accountsummary?user=demo"), `"user":"demo"`)
	require.Contains(t, ask("/json-api/accountsummary?api.version=1&domain=Example.com"), `"user":"demo"`)
	require.Contains(t, ask("/json-api/accountsummary?user=nobody"), `{"error":"Account does not exist.","status":0,"statusmsg":"Account does not exist."}`)
	require.Contains(t, ask("/json-api/accountsummary"), `Provide the ‘user’ or the ‘domain’ argument.`)
	require.Contains(t, ask("/json-api/applist"), `"listaccts"`)
	require.Equal(t, "{\"error\":\"Unknown App Requested: asdf\",\"status\":0,\"statusmsg\":\"Unknown App Requested: asdf\"}\n", ask("/json-api/asdf"))
	require.Contains(t, ask("/json-api/asdf?api.version=1"), `Unknown app (“asdf”) requested`)
	require.Contains(t, ask("/json-api/uapi_cpanel?cpanel.user=demo&cpanel.module=Email"), `Provide the ‘cpanel.function’ argument.`)
	require.Contains(t, ask("/json-api/uapi_cpanel?cpanel.user=demo&cpanel.module=Email&cpanel.function=nothing"), `could not find the function`)
	require.Contains(t, ask("/json-api/cpanel?cpanel_jsonapi_user=demo&cpanel_jsonapi_apiversion=1&cpanel_jsonapi_module=Email&cpanel_jsonapi_func=getpopquota&arg-0=user&arg-1=example.com"),
		`"data":{"result":"unlimited"},"event":{"result":1}`)
	require.Contains(t, ask("/json-api/cpanel?cpanel_jsonapi_module=Email&cpanel_jsonapi_func=listpops"), `Provide the ‘cpanel_jsonapi_user’ argument`)
}

// Programs that authenticate each request may send many at once. Each is answered.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	w, web := open(t)
	password := w.SetPassword(t, "demo")
	var all sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]int{}
	const each = 20 // Five times as many as are verified concurrently.
	for range each {
		for address, credentials := range map[string]string{web.Webmail: "user@example.com:" + sandboxPassword, web.CPanel: "demo:" + password} {
			all.Go(func() {
				status, _ := web.Ask(t, "GET", address+"/me.json", "", "Authorization: "+basicAuth(credentials))
				mu.Lock()
				defer mu.Unlock()
				seen[fmt.Sprint(address == web.Webmail, " ", status)]++
			})
		}
	}
	all.Wait()
	require.Equal(t, map[string]int{"true 200": each, "false 200": each}, seen)
}

const sandboxPassword = "Old.passw0rd-1"

// A client from npm, unchanged.
func TestNodeClient(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	web := w.OpenHTTPS(t)
	// The client acts for the user that it signs in as: a reseller's own account.
	w.Set(t, "[web]\n", "[web]\nresellers  = [\"demo\"]\n")
	w.Start(t)
	web.Wait(t)
	script := `
const [port, key, password] = process.argv.slice(1);
const client = require('cpanel-lib').createClient({host: '127.0.0.1', port: Number(port), username: 'demo', accessKey: key, ignoreCertError: true});
client.call('accountsummary', {user: 'demo'}, (error, answer) => {
  console.log(error || answer.acct[0].domain);
  client.callApi2('Email', 'passwdpop', {domain: 'example.com', email: 'user', password}, (error, answer) => console.log(error || JSON.stringify(answer)));
});`
	cmd := exec.Command("node", "-e", script, port(web.WHM), w.Token(t, "demo", "--whm"), "by node 1")
	cmd.Dir = filepath.Join(hosttest.Root(t), "bin", "tools", "npm")
	out := hosttest.Output(t, cmd)
	require.Equal(t, "example.com\n"+`{"cpanelresult":{"apiversion":2,"module":"Email","func":"passwdpop","data":[{"reason":"","result":1}],"event":{"result":1}}}`+"\n", out)
	require.True(t, verifies(t, w, "by node 1"))
}
