package hosttest

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/tests/ports"
)

// Web is the HTTPS API of a world, as its clients see it.
type Web struct {
	CPanel, WHM, Webmail string // Address of each service: host and port.
	State                string
	Log                  *Buffer // The host's log if World.Start serves the world.
	// Client is an HTTP client that accepts any certificate, stores no cookies and does not follow redirects.
	Client *http.Client
}

const (
	webState = `state      = "web" `
	webPass  = "Sign in as demo 1" // The password that SetPassword sets.
)

// closeWeb turns off the HTTPS API in the configuration of w. The ports are the same in all sandboxes, so
// tests that run at once would conflict.
func (w *World) closeWeb(t testing.TB) {
	t.Helper()
	w.Set(t, webState, "# "+webState)
}

// OpenHTTPS turns on the HTTPS API in the configuration of w, on free ports. Call it before Start or Serve.
func (w *World) OpenHTTPS(t testing.TB) *Web {
	t.Helper()
	w.Set(t, "# "+webState, webState)
	web := &Web{State: w.Dir + "/web", Log: &Buffer{}}
	w.log = web.Log
	for name, at := range map[string]*string{"12083": &web.CPanel, "12087": &web.WHM, "12096": &web.Webmail} {
		*at = ports.Address(ports.Free(t))
		w.Set(t, "127.0.0.1:"+name+`"`, *at+`"`)
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true, //nolint:gosec // It signs itself.
		DisableCompression: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	web.Client = &http.Client{
		Transport: transport, Timeout: Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return web
}

// Wait waits until all services accept connections.
func (web *Web) Wait(t testing.TB) {
	t.Helper()
	for _, at := range []string{web.CPanel, web.WHM, web.Webmail} {
		ports.Wait(t, at)
	}
}

// Token runs liveapi token create for user, with the additional arguments more, and returns the new token.
func (w *World) Token(t testing.TB, user string, more ...string) string {
	t.Helper()
	args := append([]string{"token", "create", "--user", user}, more...)
	if !strings.Contains(strings.Join(more, " "), "--name") {
		args = append(args, "--name", fmt.Sprintf("test-%d", time.Now().UnixNano()))
	}
	lines := strings.Split(strings.TrimSpace(Output(t, w.Command(t, "liveapi", args...))), "\n")
	return lines[len(lines)-1]
}

// SetPassword sets the password of user for the HTTPS API and returns the password.
func (w *World) SetPassword(t testing.TB, user string) string {
	t.Helper()
	cmd := w.Command(t, "liveapi", "password", "--user", user)
	cmd.Stdin = strings.NewReader(webPass + "\n")
	Output(t, cmd)
	return webPass
}

// Ask sends a request to address, which contains host, port and path, and returns the status and the body of
// the answer. Each header has the form "Name: value".
func (web *Web) Ask(t testing.TB, method, address, body string, headers ...string) (int, string) {
	t.Helper()
	answer := web.Request(t, method, address, body, headers...)
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(text)
}

// Request is Ask, but it returns the whole answer. The caller must close the body.
func (web *Web) Request(t testing.TB, method, address, body string, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://"+address, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ": ")
		require.True(t, ok, h)
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Set(name, value)
	}
	answer, err := web.Client.Do(r)
	require.NoError(t, err)
	return answer
}

// SignIn signs in to the service at address as a browser does. It returns the session's cookie and the
// security token, with which the paths of the session begin.
func (web *Web) SignIn(t testing.TB, address, user, password string) (cookie, token string) {
	t.Helper()
	answer := web.Request(t, http.MethodPost, address+"/login", url.Values{"user": {user}, "pass": {password}}.Encode())
	defer func() { _ = answer.Body.Close() }()
	require.Equal(t, http.StatusFound, answer.StatusCode)
	require.Len(t, answer.Cookies(), 1)
	return answer.Cookies()[0].Name + "=" + answer.Cookies()[0].Value, strings.Trim(answer.Header.Get("Location"), "/")
}
