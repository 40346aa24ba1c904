package tests

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// pages returns a directory with the example's pages and the path of the PHP binding.
func pages(t *testing.T, w *hosttest.World) string {
	t.Helper()
	root := hosttest.Root(t)
	dir := filepath.Join(w.Dir, "pages")
	require.NoError(t, os.Mkdir(dir, 0o755))
	for _, name := range []string{"password.live.php", "password.live.pl"} {
		text, err := os.ReadFile(filepath.Join(root, "examples", "mailbox-password", name))
		require.NoError(t, err)
		page := strings.Replace(string(text), "__DIR__ . '/../../bindings/php/cpanel.php'", "'"+filepath.Join(root, "bindings/php/cpanel.php")+"'", 1)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(page), 0o644))
	}
	return dir
}

func TestLiveAPIPage(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	dir := pages(t, w)
	temp := filepath.Join(w.Dir, "t")
	require.NoError(t, os.Mkdir(temp, 0o700))
	for _, name := range []string{"password.live.php", "password.live.pl"} {
		cmd := w.Command(t, "liveapi", "page", "--user", "demo", filepath.Join(dir, name))
		cmd.Env = append(cmd.Env, "TMPDIR="+temp)
		out := hosttest.Output(t, cmd)
		require.True(t, strings.HasPrefix(out, "<!DOCTYPE html>"), out)
		require.Contains(t, out, `name="domain" value="example.com"`)
		require.True(t, strings.HasSuffix(out, "</html>\n"), out)
	}
	for name, text := range map[string]string{
		"query.live.pl": `print "Content-Type: text/plain\r\n\r\n$ENV{QUERY_STRING} $ENV{REMOTE_USER} ", (exists $ENV{HOST_SECRET} ? 1 : 0), (-S $ENV{CPANEL_PHPCONNECT_SOCKET} ? 1 : 0), "\n";`,
		"status.livepl": `print "Status: 500 Broken\r\nContent-Type: text/plain\r\n\r\nno\n";`,
		"plain.txt":     "x",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	cmd := w.Command(t, "liveapi", "page", "--query", "a=b&c=d", filepath.Join(dir, "query.live.pl"))
	cmd.Env = append(cmd.Env, "HOST_SECRET=x")
	require.Equal(t, "a=b&c=d demo 01\n", hosttest.Output(t, cmd))
	for name, says := range map[string]string{"status.livepl": "status 500", "plain.txt": "the file's name must end in", "gone.live.php": "no such file"} {
		out, err := w.Command(t, "liveapi", "page", filepath.Join(dir, name)).CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), says)
	}
	left, err := filepath.Glob(filepath.Join(temp, "liveapi-page-*"))
	require.NoError(t, err)
	require.Empty(t, left, "the session's socket is gone")
}

// The development server: pages, tags, files, calls, and a reload when a file changes.
func TestLiveAPIDev(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	dir := pages(t, w)
	for name, text := range map[string]string{
		"index.html": `<html><body>Hello <cpanel print="$user"><cpanel Nothing="here()"></body></html>`,
		"style.css":  "body {}", ".env": "SECRET=1", "sub/index.live.pl": "print \"Content-Type: text/plain\\r\\n\\r\\nsub\\n\";",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "out.txt")))
	require.NoError(t, os.Symlink("/etc", filepath.Join(dir, "etc")))
	cmd := w.Command(t, "liveapi", "dev", "--user", "demo", "--listen", "127.0.0.1:0", dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	errs := &hosttest.Buffer{}
	cmd.Stderr = errs
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, "%s", errs)
	start := strings.Fields(line)[2]
	base, _, _ := strings.Cut(start, "/?")
	for _, path := range []string{"/", "/password.live.php", "/.liveapi/runs.json", "/?token=wrong"} {
		answer, err := http.Get(base + path)
		require.NoError(t, err)
		_ = answer.Body.Close()
		require.Equal(t, 403, answer.StatusCode, "without the token")
	}
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Timeout: hosttest.Patience, Jar: jar}
	answer, err := client.Get(start)
	require.NoError(t, err)
	_ = answer.Body.Close()
	require.Equal(t, 200, answer.StatusCode)
	require.Equal(t, base+"/", answer.Request.URL.String())
	do := func(method, path string, form url.Values, header ...string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, base+path, strings.NewReader(form.Encode()))
		require.NoError(t, err)
		if form != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		for i := 0; i < len(header); i += 2 {
			if header[i] == "Host" {
				req.Host = header[i+1]
			}
			req.Header.Set(header[i], header[i+1])
		}
		answer, err := client.Do(req)
		require.NoError(t, err)
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return answer.StatusCode, string(body)
	}
	status, body := do("GET", "/", nil)
	require.Equal(t, 200, status)
	require.Contains(t, body, "Hello demo")
	require.Contains(t, body, `<html><script type="module" src="/.liveapi/page.js?run=`)
	for _, page := range []string{"/password.live.php", "/password.live.pl"} {
		form := url.Values{"email": {"user"}, "domain": {"example.com"}, "password": {"S3cret for " + page}}
		status, body = do("POST", page, form)
		require.Equal(t, 200, status)
		require.Contains(t, body, `<p role="status">The password was changed.</p>`)
		require.Contains(t, hosttest.Output(t, verify(t, w, "user", "S3cret for "+page)), `"data":1,`)
		form.Set("email", "<b>nobody</b>")
		_, body = do("POST", page, form)
		require.NotContains(t, body, "<b>nobody")
	}
	for path, want := range map[string]int{"/style.css": 200, "/sub/": 200, "/sub": 200, "/.env": 404, "/gone.html": 404, "/out.txt": 403, "/etc/passwd": 403, "/%2e%2e/%2e%2e/etc/passwd": 403, "/%2e%2e/nothing": 404, "/.liveapi/": 200, "/.liveapi/calls.js": 200} {
		status, body = do("GET", path, nil)
		require.Equal(t, want, status, "%s: %s", path, body)
		require.NotContains(t, body, "root:x:0")
	}
	status, _ = do("GET", "/", nil, "Host", "evil.example")
	require.Equal(t, 421, status)
	for _, site := range []string{"cross-site", "same-site"} {
		for _, method := range []string{"GET", "POST"} {
			status, _ = do(method, "/password.live.php", url.Values{}, "Sec-Fetch-Site", site)
			require.Equal(t, 403, status, "%s %s", method, site)
		}
	}

	_, body = do("GET", "/.liveapi/runs.json", nil)
	require.NotContains(t, body, "S3cret")
	var list struct {
		Runs []struct {
			Path  string
			Calls []struct {
				Module, Func string
				Args         any
				OK           bool
				Result       string
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(body), &list))
	found := false
	for _, run := range list.Runs {
		for _, c := range run.Calls {
			if run.Path == "/password.live.php" && c.Func == "passwdpop" && c.OK {
				found = true
				require.Equal(t, map[string]any{"domain": "example.com", "email": "user", "password": "[masked]"}, c.Args)
			}
		}
		if run.Path == "/" {
			require.Contains(t, run.Calls[len(run.Calls)-1].Result, "No module Nothing.")
		}
	}
	require.True(t, found, body)

	events, err := client.Get(base + "/.liveapi/changes")
	require.NoError(t, err)
	defer func() { _ = events.Body.Close() }()
	stream := bufio.NewReader(events.Body)
	_, err = stream.ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "style.css"), []byte("body { color: red }"), 0o644))
	changed := make(chan bool, 1)
	go func() {
		for {
			line, err := stream.ReadString('\n')
			if err != nil || strings.HasPrefix(line, "event: change") {
				changed <- err == nil
				return
			}
		}
	}()
	select {
	case ok := <-changed:
		require.True(t, ok)
	case <-time.After(hosttest.Patience):
		t.Fatal("no change is told")
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait(), "%s", errs)

	for address, says := range map[string]string{"0.0.0.0:0": "is not a loopback address", "nonsense": "--listen"} {
		out, err := w.Command(t, "liveapi", "dev", "--listen", address, dir).CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), says)
	}
}
