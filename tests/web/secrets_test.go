package web

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// T14: a password is in no log, however it was sent and whatever was wrong with it.
func TestT14_NoSecretInLogs(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	web := w.OpenHTTPS(t)
	host := w.Serve(t)
	web.Wait(t)
	const canary = "C4nary-secret-7"
	token := w.Token(t, "demo")
	auth := "Authorization: cpanel demo:" + token
	for _, query := range []string{
		"email=user@example.com&password=" + canary, "email=nobody@example.com&password=" + canary, "password=" + canary, "email=user&password=" + canary + "&password=" + canary,
		"email=user&password=" + canary + "%", "email=user&password=" + canary + "%ff", canary + "=%", "email=" + strings.Repeat("x", 300) + "&password=" + canary,
	} {
		_, _ = web.Ask(t, "GET", web.CPanel+"/execute/Email/passwd_pop?"+query, "", auth)
		_, _ = web.Ask(t, "POST", web.CPanel+"/execute/Email/passwd_pop", query, auth)
		_, _ = web.Ask(t, "POST", web.CPanel+"/execute/Email/passwd_pop", query, auth, "Content-Type: application/json")
		_, _ = web.Ask(t, "GET", web.CPanel+"/execute/"+canary+"/../x?"+query, "", auth)
	}
	_, _ = web.Ask(t, "GET", web.CPanel+"/execute/Email/list_pops", "", "Authorization: "+basicAuth("demo:"+canary))
	_, _ = web.Ask(t, "POST", web.CPanel+"/login?pass="+canary, "user=demo&pass="+canary)
	_, _ = web.Ask(t, "GET", web.CPanel+"/execute/Email/list_pops", "", "Authorization: cpanel demo:"+canary)
	// Also in the place of a name.
	_, _ = web.Ask(t, "GET", web.CPanel+"/execute/Email/list_pops", "", "Authorization: "+basicAuth(canary+":x"))
	_, _ = web.Ask(t, "GET", web.CPanel+"/execute/Email/list_pops", "", "Authorization: cpanel "+canary+":x")
	_, _ = web.Ask(t, "POST", web.WHM+"/login", "user="+canary+"&pass=x")
	host.Stop(t)
	found := 0
	require.NoError(t, filepath.Walk(w.Dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NotContains(t, string(text), canary, path)
			require.NotContains(t, string(text), token[12:], path)
			found++
		}
		return nil
	}))
	require.Greater(t, found, 5)
	require.NotContains(t, host.Log.String(), canary)
	require.NotContains(t, host.Log.String(), token)
}
