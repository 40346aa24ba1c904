package web

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/front/control"
	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/tests/ports"
)

// R16: a running call is answered when the host is told to stop.
func TestR16_DrainOverHTTPS(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	web := w.OpenHTTPS(t)
	host := w.Serve(t)
	web.Wait(t)
	auth := "Authorization: cpanel demo:" + w.Token(t, "demo")
	_, body := web.Ask(t, "POST", web.CPanel+"/execute/Email/passwd_pop", "email=user@example.com&password=before+1", auth)
	require.Contains(t, body, `"status":1`)
	unlock := w.LockStore(t)
	answers := make(chan string, 1)
	go func() {
		_, body := web.Ask(t, "POST", web.CPanel+"/execute/Email/passwd_pop", "email=user@example.com&password=drained+1", auth)
		answers <- body
	}()
	require.Eventually(t, func() bool {
		s, err := control.Read(t.Context(), filepath.Join(w.Dir, "run", "control.sock"))
		return err == nil && s.InFlight == 1
	}, hosttest.Patience, hosttest.Tick)
	require.NoError(t, host.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", web.CPanel)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, hosttest.Patience, hosttest.Tick, "it takes nobody new")
	unlock()
	require.Contains(t, <-answers, `"status":1`)
	require.NoError(t, host.Wait(t))
}

// T7: tokens and sessions end with their account. An account that is created again with the same name and uid
// does not get them.
func TestT07_TokensDieWithTheAccount(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, 20601, 20602)
	web := w.OpenHTTPS(t)
	w.Set(t, "[web]\n", "[web]\nresellers  = [\"u20602\"]\n")
	host := w.Serve(t)
	web.Wait(t)
	name := hosttest.Name(20601)
	token := w.Token(t, name)
	keep := w.Token(t, hosttest.Name(20602))
	password := w.SetPassword(t, name)
	cookie, session := web.SignIn(t, web.CPanel, name, password)
	box, _ := web.SignIn(t, web.Webmail, "user@u20601.example", sandboxPassword)
	status := func(address string, headers ...string) int {
		status, _ := web.Ask(t, "GET", address+"/execute/Email/count_pops", "", headers...)
		return status
	}
	byToken, byCookie := []string{"Authorization: cpanel " + name + ":" + token}, []string{"Cookie: " + cookie}
	require.Equal(t, 200, status(web.CPanel, byToken...))
	require.Equal(t, 200, status(web.CPanel+"/"+session, byCookie...))

	ended := func(what string) {
		require.Eventually(t, func() bool { return status(web.CPanel, byToken...) == 401 }, hosttest.Patience, hosttest.Tick, what)
		require.Equal(t, 401, status(web.CPanel+"/"+session, byCookie...), what)
		require.Equal(t, 303, first(web.Ask(t, "GET", web.Webmail+"/", "", "Cookie: "+box)), what)
	}
	hosttest.Output(t, w.Command(t, "liveapi", "account", "suspend", name))
	ended("suspended")
	out, err := w.Command(t, "liveapi", "token", "create", "--user", name, "--name", "x").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "suspended")
	hosttest.Output(t, w.Command(t, "liveapi", "account", "unsuspend", name))
	require.Eventually(t, func() bool { return status(web.CPanel, byToken...) == 200 }, hosttest.Patience, hosttest.Tick, "its tokens are its own again")

	// If a file is unreadable for a moment, for example while it is edited, sessions end, but tokens and
	// passwords do not.
	file, err := os.ReadFile(w.AccountFile(20601))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(w.AccountFile(20601), []byte("domains = ["), 0o644))
	ended("can't be read")
	require.NoError(t, os.WriteFile(w.AccountFile(20601), file, 0o644))
	require.Eventually(t, func() bool { return status(web.CPanel, byToken...) == 200 }, hosttest.Patience, hosttest.Tick, "can be read again")
	require.Equal(t, 200, status(web.CPanel, "Authorization: "+basicAuth(name+":"+password)))

	hosttest.Output(t, w.Command(t, "liveapi", "account", "delete", name))
	ended("deleted")
	require.Eventually(t, func() bool {
		return !strings.Contains(hosttest.Output(t, w.Command(t, "liveapi", "token", "list")), name+" ")
	}, hosttest.Patience, hosttest.Tick)
	require.NoError(t, os.WriteFile(w.AccountFile(20601), file, 0o644))
	require.Eventually(t, func() bool {
		return strings.Contains(hosttest.Output(t, w.Command(t, "liveapi", "status")), "accounts  2\n")
	}, hosttest.Patience, hosttest.Tick)
	require.Equal(t, 401, status(web.CPanel, "Authorization: "+basicAuth(name+":"+password)), "nor is its password the next one's")
	w.SetPassword(t, name)
	require.Equal(t, 200, status(web.CPanel, "Authorization: "+basicAuth(name+":"+password)))
	ended("made anew")
	require.Equal(t, 200, status(web.CPanel, "Authorization: cpanel "+hosttest.Name(20602)+":"+keep))

	// Tokens of an account that is removed while no host runs end too.
	token = w.Token(t, name)
	host.Stop(t)
	require.NoError(t, os.Remove(w.AccountFile(20601)))
	w.Serve(t)
	web.Wait(t)
	require.Eventually(t, func() bool {
		return !strings.Contains(hosttest.Output(t, w.Command(t, "liveapi", "token", "list")), name+" ")
	}, hosttest.Patience, hosttest.Tick)

	// A reseller may act for its own accounts, and for no others.
	reseller := "Authorization: whm u20602:" + w.Token(t, "u20602", "--whm")
	w.AddAccount(t, 20603)
	w.AddAccount(t, 20604)
	text, err := os.ReadFile(w.AccountFile(20603))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(w.AccountFile(20603), append(text, "[data]\nOWNER = \"u20602\"\n"...), 0o644))
	list := "/json-api/cpanel?cpanel_jsonapi_module=Email&cpanel_jsonapi_func=listpops&cpanel_jsonapi_user="
	require.Eventually(t, func() bool { return first(web.Ask(t, "GET", web.WHM+list+"u20603", "", reseller)) == 200 }, hosttest.Patience, hosttest.Tick)
	require.Equal(t, 200, first(web.Ask(t, "GET", web.WHM+list+"u20602", "", reseller)))
	for _, foreign := range []string{"u20604", "u20601", "root", "daemon", "U20603"} {
		require.Equal(t, 403, first(web.Ask(t, "GET", web.WHM+list+foreign, "", reseller)), foreign)
	}
	_, body := web.Ask(t, "GET", web.WHM+"/json-api/listaccts", "", reseller)
	require.Contains(t, body, `"user":"u20603"`)
	require.NotContains(t, body, "u20604")
	require.Equal(t, 401, first(web.Ask(t, "GET", web.WHM+list+"u20603", "", "Authorization: whm u20603:"+token)))
	// A program that runs for an account runs as the account.
	root := "Authorization: whm root:" + w.Token(t, "root")
	_, body = web.Ask(t, "POST", web.WHM+"/json-api/cpanel", "cpanel_jsonapi_user=u20604&cpanel_jsonapi_apiversion=2&cpanel_jsonapi_module=Email&cpanel_jsonapi_func=passwdpop&domain=u20604.example&email=user&password=by+whm+1", root)
	require.Contains(t, body, `"result":1}]`)
	audit := hosttest.Output(t, exec.Command("cat", filepath.Join(w.Dir, "audit.log")))
	require.Regexp(t, `"account":"u20604".*"door":"whm","from":"root by token [^"]+ from 127\.0\.0\.1"`, audit)
}

func first(status int, _ string) int { return status }

// Metrics, and an access log that continues in a new file after the old one was moved. The log contains no
// session tokens and no query strings.
func TestMetricsAndAccessLog(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	web := w.OpenHTTPS(t)
	metrics := ports.Address(ports.Free(t))
	w.Set(t, "modules  =", "metrics = \""+metrics+"\"\nmodules  =")
	password := w.SetPassword(t, "demo")
	host := w.Serve(t)
	web.Wait(t)
	cookie, session := web.SignIn(t, web.CPanel, "demo", password)
	_, body := web.Ask(t, "GET", web.CPanel+"/"+session+"/execute/Email/list_pops?regex=secretive", "", "Cookie: "+cookie)
	require.Contains(t, body, `"status":1`)
	_, _ = web.Ask(t, "GET", web.WHM+"/json-api/version", "")
	answer, err := http.Get("http://" + metrics + "/metrics") //nolint:noctx // A test's.
	require.NoError(t, err)
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	_ = answer.Body.Close()
	require.Contains(t, string(text), `liveapid_http_request_seconds_count{service="cpanel",status="200"} 1`)
	require.Contains(t, string(text), `liveapid_http_request_seconds_count{service="cpanel",status="302"} 1`)
	require.Contains(t, string(text), `liveapid_http_request_seconds_count{service="whm",status="401"} 1`)
	require.Contains(t, string(text), `liveapid_calls_total{api="UAPI",function="list_pops",module="Email",result="ok"} 1`)

	path := filepath.Join(web.State, "access.log")
	log, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Regexp(t, `"user":"demo","by":"session","method":"GET","path":"/cpsess\[masked\]/execute/Email/list_pops","query":"\[masked\]","call":"Email::list_pops","proto":"HTTP/1.1","status":200,`, string(log))
	require.NotContains(t, string(log), session)
	require.NotContains(t, string(log), "secretive")
	require.NoError(t, os.Rename(path, path+".1"))
	require.NoError(t, host.Process.Signal(syscall.SIGHUP))
	require.Eventually(t, func() bool { _, err := os.Stat(path); return err == nil }, hosttest.Patience, hosttest.Tick)
	_, _ = web.Ask(t, "GET", web.CPanel+"/login", "")
	require.Eventually(t, func() bool {
		log, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(log), `"path":"/login"`)
	}, hosttest.Patience, hosttest.Tick)
}
