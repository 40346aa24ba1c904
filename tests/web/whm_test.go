package web

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// whmWorld is a server with the accounts u20501 and u20503, which the reseller u20502 owns, and u20502. The
// account u20503 is a reseller, too.
func whmWorld(t *testing.T) (w *hosttest.World, web *hosttest.Web, root, reseller func(path string) map[string]any) {
	t.Helper()
	const one, two, three = 20501, 20502, 20503
	w = hosttest.Server(t, one, two, three)
	web = w.OpenHTTPS(t)
	w.Set(t, "[web]\n", "[web]\nresellers = [\"u20502\", \"u20503\"]\n")
	for _, owned := range []int{one, three} {
		text, err := os.ReadFile(w.AccountFile(owned))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(w.AccountFile(owned), append(text, "\n[data]\nOWNER = \"u20502\"\n"...), 0o644))
	}
	w.Serve(t)
	web.Wait(t)
	ask := func(credentials string) func(string) map[string]any {
		return func(path string) map[string]any {
			t.Helper()
			method, body := "POST", ""
			path, body, _ = strings.Cut(path, "?")
			_, answer := web.Ask(t, method, web.WHM+"/json-api/"+path, body, "Authorization: "+credentials)
			var out map[string]any
			require.NoError(t, json.Unmarshal([]byte(answer), &out), answer)
			return out
		}
	}
	return w, web, ask("whm root:" + w.Token(t, "root")), ask("whm u20502:" + w.Token(t, "u20502", "--whm"))
}

// in returns a value in an answer, by its path.
func in(answer map[string]any, path ...string) any {
	var value any = answer
	for _, key := range path {
		object, _ := value.(map[string]any)
		value = object[key]
	}
	return value
}

func reason(answer map[string]any) string { return fmt.Sprint(in(answer, "metadata", "reason")) }

func TestWHMAccounts(t *testing.T) {
	t.Parallel()
	w, web, root, reseller := whmWorld(t)
	const v1 = "api.version=1&"
	status := func() string {
		_, body := web.Ask(t, "GET", web.CPanel+"/execute/Email/count_pops", "", "Authorization: "+basicAuth("u20501:A new and g00d one"))
		return body
	}
	require.Equal(t, "Password changed for user u20501", reason(root("passwd?"+v1+"user=u20501&password=A+new+and+g00d+one")))
	require.Contains(t, status(), `"data":1`)
	require.Contains(t, reason(root("passwd?"+v1+"user=nobody&password=x")), "You do not have access to an account named “nobody”")

	// Suspended at once, for every way in, and listed with the reason.
	answer := reseller("suspendacct?user=u20501&reason=not+paid+%22yet%22")
	require.EqualValues(t, 1, answer["result"].([]any)[0].(map[string]any)["status"], "without a version: a list of results")
	require.Contains(t, status(), "Access denied")
	list := root("listsuspended?" + v1)
	record := in(list, "data", "account").([]any)[0].(map[string]any)
	require.Equal(t, []any{"u20501", "not paid \"yet\"", "u20502"}, []any{record["user"], record["reason"], record["owner"]})
	require.Contains(t, fmt.Sprint(root("accountsummary?user=u20501")), "not paid")
	require.Equal(t, "u20501's account is now active", reason(root("unsuspendacct?"+v1+"user=u20501")))
	require.Contains(t, status(), `"data":1`)
	require.Empty(t, in(root("listsuspended?"+v1), "data", "account"))
	text, err := os.ReadFile(w.AccountFile(20501))
	require.NoError(t, err)
	require.NotContains(t, string(text), "suspend")

	// A reseller does not take over another reseller, even if it owns that account.
	for _, call := range []string{"passwd?" + v1 + "user=u20503&password=A+new+and+g00d+one", "suspendacct?" + v1 + "user=u20503"} {
		require.Contains(t, reason(reseller(call)), "only root may change that account", call)
	}
	// A reseller acts for its own accounts only, and not on itself.
	for path, says := range map[string]string{
		"suspendacct?" + v1 + "user=u20502": "your own account", "suspendacct?" + v1 + "user=root": "do not have access",
		"createacct?" + v1 + "username=x&domain=x.example": "only root", "removeacct?" + v1 + "user=u20501": "only root",
		"modifyacct?" + v1 + "user=u20501&owner=u20502": "only root",
	} {
		require.Contains(t, reason(reseller(path)), says, path)
	}

	// Facts about an account.
	require.Equal(t, "Account Modified", reason(root("modifyacct?"+v1+"user=u20501&contactemail=me%40example.net&MAXPOP=3&plan=big")))
	_, body := web.Ask(t, "GET", web.CPanel+"/execute/Variables/get_user_information?name=contact_email&name=maximum_mail_accounts&name=plan&name=owner", "", "Authorization: "+basicAuth("u20501:A new and g00d one"))
	require.Contains(t, body, `{"contact_email":"me@example.net","maximum_mail_accounts":3,"owner":"u20502","plan":"big"}`)
	for args, says := range map[string]string{
		"user=u20501": "Provide at least one of the arguments", "user=u20501&MAXPOP=some": "The ‘MAXPOP’ argument must be a whole number, or unlimited", "user=u20501&owner=../x": "‘owner’",
		"user=u20501&plan=" + strings.Repeat("x", 300): "The ‘plan’ argument is too long: at most 255", "user=u20501&plan=a%0Ab": "‘plan’", "user=u20501&contactemail=me": "‘contactemail’",
		"user=u20501&locale=../en": "‘locale’", "user=u20501&RS=../x": "‘RS’",
		"": "‘user’",
	} {
		require.Contains(t, reason(root("modifyacct?"+v1+args)), says)
	}

	// An account needs a system user.
	require.Contains(t, reason(root("createacct?"+v1+"username=lwnobody&domain=new.example")), "Create the user “lwnobody” first (useradd -m lwnobody)")
	user := hosttest.SystemUser(t)
	for args, says := range map[string]string{
		"username=../x&domain=new.example": "‘username’", "username=" + user + "&domain=..": "‘domain’", "username=" + user + "&domain=u20501.example": "belongs to the account u20501",
		"username=" + user + "&domain=new.example&maxpop=many": "The ‘maxpop’ argument must be a whole number",
		"username=" + user: "‘domain’", "username=u20501&domain=new.example": "Create the user",
	} {
		require.Contains(t, reason(root("createacct?"+v1+args)), says, args)
	}
	require.Contains(t, reason(root("passwd?"+v1+"user=u20501&password=a%0Ab")), "contains a line break")
	// If the password can't be set, there is no account either.
	long := reason(root("createacct?" + v1 + "username=" + user + "&domain=new.example&password=" + strings.Repeat("x", 600)))
	if !strings.Contains(long, "uid") {
		require.Contains(t, long, "The account was not created: The ‘password’ argument can't be used: the password has more than 512 bytes")
	}
	require.NotContains(t, fmt.Sprint(root("listaccts")), "new.example")
	created := reason(root("createacct?" + v1 + "username=" + user + "&domain=new.example&plan=small"))
	if strings.Contains(created, "uid") { // A user of a low uid may have no account.
		require.NotContains(t, fmt.Sprint(root("listaccts")), "new.example")
	} else {
		require.Equal(t, "Account Creation Ok", created)
		require.Contains(t, fmt.Sprint(root("listaccts")), "new.example")
		require.Contains(t, reason(root("removeacct?"+v1+"user="+user)), "account removed")
		require.NotContains(t, fmt.Sprint(root("listaccts")), "new.example")
	}

	// Every change is in the audit log, without passwords.
	require.NoFileExists(t, filepath.Join(w.Dir, "accounts", "lwnobody.toml"))
	log, err := os.ReadFile(filepath.Join(w.Dir, "audit.log"))
	require.NoError(t, err)
	for _, function := range []string{"passwd", "suspendacct", "unsuspendacct", "modifyacct", "createacct"} {
		require.Contains(t, string(log), `"function":"`+function+`"`)
	}
	require.NotContains(t, string(log), "A new and g00d one")
}

func TestWHMFacts(t *testing.T) {
	t.Parallel()
	_, _, root, reseller := whmWorld(t)
	const v1 = "api.version=1&"
	hostname, err := os.Hostname()
	require.NoError(t, err)
	require.Equal(t, hostname, in(root("gethostname?"+v1), "data", "hostname"))
	require.EqualValues(t, 1, in(root("myprivs?"+v1), "data", "privileges").([]any)[0].(map[string]any)["all"])
	require.EqualValues(t, 0, in(reseller("myprivs?"+v1), "data", "privileges").([]any)[0].(map[string]any)["all"])
	require.Empty(t, in(root("listpkgs?"+v1), "data", "pkg"))
	require.Contains(t, in(root("get_feature_names?"+v1), "data", "feature"), map[string]any{"id": "popaccts", "name": "Email Accounts"})
	require.NotEmpty(t, in(reseller("get_feature_names?"+v1), "data", "feature"))
	require.EqualValues(t, 1, in(root("verify_user_has_feature?"+v1+"user=u20501&feature=popaccts"), "data", "has_feature"))
	require.EqualValues(t, 0, in(root("getminimumpasswordstrengths?"+v1), "data", "default"))
	require.Equal(t, "u20501", in(reseller("domainuserdata?"+v1+"domain=U20501.example"), "data", "userdata", "user"))
	require.Contains(t, reason(reseller("domainuserdata?"+v1+"domain=other.example")), "does not exist")
	domains := in(root("get_domain_info?"+v1), "data", "domains").([]any)
	require.Len(t, domains, 3)
	require.Subset(t, domains[0], map[string]any{"domain": "u20501.example", "user": "u20501", "domain_type": "main", "user_owner": "u20502"})
	require.Equal(t, []any{"user@u20501.example"}, in(reseller("list_pops_for?"+v1+"user=u20501"), "data", "pops"))
	for _, function := range []string{"suspend_outgoing_email", "unsuspend_outgoing_email", "hold_outgoing_email", "release_outgoing_email"} {
		require.Equal(t, "OK", reason(reseller(function+"?"+v1+"user=u20501")), function)
		require.Contains(t, reason(reseller(function+"?"+v1+"user=other")), "do not have access", function)
	}
	batch := root("batch?" + v1 + "command=" + url.QueryEscape("accountsummary?user=u20501") + "&command=gethostname&command=" + url.QueryEscape("uapi_cpanel?cpanel.user=u20501&cpanel.module=Email&cpanel.function=count_pops"))
	results := in(batch, "data", "result").([]any)
	require.Len(t, results, 3)
	require.Equal(t, hostname, in(results[1].(map[string]any), "data", "hostname"))
	require.EqualValues(t, 1, in(results[2].(map[string]any), "data", "uapi", "data"))
	require.Equal(t, "1 of 2 functions failed; see their answers.", reason(root("batch?"+v1+"command=gethostname&command=nothing")))
	for _, bad := range []string{"", "command=batch", "command=" + url.QueryEscape("accountsummary?user=%zz"), strings.Repeat("command=version&", 51)} {
		require.Contains(t, reason(root("batch?"+v1+bad)), "‘command’", bad)
	}
	require.Contains(t, reason(reseller("batch?"+v1+"command="+url.QueryEscape("removeacct?user=u20501"))), "1 of 1 functions failed")

	// An unknown argument is not silently ignored.
	require.Contains(t, fmt.Sprint(in(root("modifyacct?"+v1+"user=u20501&plan=x&QUOTA=5"), "metadata", "output", "warnings")), "The function has no ‘QUOTA’ argument")
	require.Contains(t, fmt.Sprint(root("modifyacct?user=u20501&plan=x&QUOTA=5")["warnings"]), "‘QUOTA’")
	// Without a version, a failure has the shapes that clients look at.
	failed := root("suspendacct?user=nobody")
	require.EqualValues(t, 0, failed["status"])
	require.EqualValues(t, 0, failed["result"].([]any)[0].(map[string]any)["status"])
}

// T50: the answers of a batch are kept in memory together, so there is a limit for them.
func TestT50_WHMBatchIsBounded(t *testing.T) {
	t.Parallel()
	w, _, _, reseller := whmWorld(t)
	var passwd, shadow strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&passwd, "user%d:x:20501:20501::/x:/bin/false\n", i)
		fmt.Fprintf(&shadow, "user%d:!:1::::::\n", i)
	}
	dir := filepath.Join(w.Home(20501), "etc", "u20501.example")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "passwd"), []byte(passwd.String()), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "shadow"), []byte(shadow.String()), 0o640))
	list := "&command=" + url.QueryEscape("uapi_cpanel?cpanel.user=u20501&cpanel.module=Email&cpanel.function=list_pops")
	batch := reseller("batch?api.version=1" + strings.Repeat(list, 50))
	results := in(batch, "data", "result").([]any)
	require.Len(t, results, 50)
	require.Len(t, in(results[0].(map[string]any), "data", "uapi", "data"), 4001)
	last := results[49].(map[string]any)
	require.Contains(t, fmt.Sprint(last), "too large")
	text, err := json.Marshal(results)
	require.NoError(t, err)
	require.Less(t, len(text), 12<<20)
}

func TestWHMTokens(t *testing.T) {
	t.Parallel()
	_, web, root, reseller := whmWorld(t)
	const v1 = "api.version=1&"
	made := root("api_token_create?" + v1 + "token_name=billing")
	text := fmt.Sprint(in(made, "data", "token"))
	require.Len(t, text, 64)
	works := func() int {
		status, _ := web.Ask(t, "GET", web.WHM+"/json-api/listaccts", "", "Authorization: whm root:"+text)
		return status
	}
	require.Equal(t, 200, works())
	require.Contains(t, in(root("api_token_list?"+v1), "data", "tokens"), "billing")
	require.NotContains(t, fmt.Sprint(root("api_token_list?"+v1)), text)
	require.NotContains(t, in(reseller("api_token_list?"+v1), "data", "tokens"), "billing", "another's tokens are not shown")
	require.Contains(t, reason(root("api_token_create?"+v1+"token_name=billing")), "already")
	require.Contains(t, reason(root("api_token_create?"+v1+"token_name=a+b")), "letters")
	require.Contains(t, reason(root("api_token_create?"+v1+"token_name=old&expires_at=1")), "‘expires_at’")
	require.Equal(t, "OK", reason(root("api_token_update?"+v1+"token_name=billing&new_name=shop")))
	require.Contains(t, reason(reseller("api_token_revoke?"+v1+"token_name=shop")), "no API token")
	require.Equal(t, 200, works())
	require.Equal(t, "OK", reason(root("api_token_revoke?"+v1+"token_name=shop")))
	require.Equal(t, 401, works())
	later := fmt.Sprint(time.Now().Add(time.Hour).Unix())
	require.EqualValues(t, later, fmt.Sprintf("%.0f", in(root("api_token_create?"+v1+"token_name=later&expires_at="+later), "data", "expires_at")))
}

// A link of create_user_session signs a user in once, for the service and the user that it names.
func TestWHMSessionLinks(t *testing.T) {
	t.Parallel()
	_, web, root, reseller := whmWorld(t)
	const v1 = "api.version=1&"
	open := func(address string, headers ...string) (status int, cookie, body string) {
		address = strings.TrimPrefix(address, "https://")
		answer := web.Request(t, "GET", address, "", headers...)
		text := make([]byte, 1<<20)
		n, _ := answer.Body.Read(text)
		_ = answer.Body.Close()
		cookie, _, _ = strings.Cut(answer.Header.Get("Set-Cookie"), ";")
		return answer.StatusCode, cookie, string(text[:n])
	}
	for _, c := range []struct{ service, user, at, path string }{
		{"cpaneld", "u20501", web.CPanel, "/execute/Email/count_pops"}, {"webmaild", "user@u20501.example", web.Webmail, "/execute/Locale/get_attributes"},
		{"whostmgrd", "u20502", web.WHM, "/json-api/listaccts"},
	} {
		made := reseller("create_user_session?" + v1 + "service=" + c.service + "&user=" + url.QueryEscape(c.user))
		link := fmt.Sprint(in(made, "data", "url"))
		token := fmt.Sprint(in(made, "data", "cp_security_token"))
		require.True(t, strings.HasPrefix(link, "https://"+c.at+token+"/login/?session="), "%s: %s", link, made)
		// As a link on another site's page.
		status, cookie, body := open(link, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate")
		require.Equal(t, 200, status)
		require.NotEmpty(t, cookie)
		require.Contains(t, body, `content="0; url=`+token+`/"`)
		status, answer := web.Ask(t, "GET", c.at+token+c.path, "", "Cookie: "+cookie)
		require.Equal(t, 200, status, answer)
		status, again, _ := open(link)
		require.Equal(t, 403, status, "it works once")
		require.Empty(t, again)
	}
	link := fmt.Sprint(in(root("create_user_session?"+v1+"service=cpaneld&user=u20501"), "data", "url"))
	for _, wrong := range []string{
		strings.Replace(link, web.CPanel, web.Webmail, 1), strings.Replace(link, "u20501", "u20502", 1), strings.Replace(link, "/cpsess", "/cpsess0", 1)[:len(link)],
	} {
		status, cookie, _ := open(wrong)
		require.NotEqual(t, 200, status, wrong)
		require.Empty(t, cookie)
	}
	for args, says := range map[string]string{
		"service=ftpd&user=u20501": "‘service’", "service=cpaneld&user=nobody": "do not have access", "service=whostmgrd&user=root": "do not have access",
		"service=webmaild&user=other@u20501.example": "does not exist", "service=webmaild&user=u20501": "address of a mailbox", "service=cpaneld": "‘user’",
	} {
		require.Contains(t, reason(reseller("create_user_session?"+v1+args)), says, args)
	}
	// A browser with a session can't be made to change something by a link.
	_, cookie, _ := open(fmt.Sprint(in(root("create_user_session?"+v1+"service=whostmgrd&user=root"), "data", "url")))
	status, _ := web.Ask(t, "GET", web.WHM+"/json-api/suspendacct?user=u20501", "", "Cookie: "+cookie, "Sec-Fetch-Site: same-origin")
	require.Equal(t, 401, status)
}
