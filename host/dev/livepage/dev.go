package livepage

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed web
var web embed.FS

const (
	devPrefix = "/.liveapi/" // The prefix of the server's own paths.
	keptRuns  = 100          // Maximum number of page runs in the list of runs.
	maxFiles  = 10_000       // Maximum number of files that are watched for changes.
	pollTime  = 300 * time.Millisecond
	maxHTML   = 16 << 20
)

// Dev is an HTTP server for the author of plugin pages, on the author's own machine only. It serves a
// directory: it runs pages, expands the tags in HTML files, and serves other files as they are.
type Dev struct {
	runner *Runner
	dir    string
	root   *os.Root // Opens all files, so that links can't lead outside dir.
	mux    *http.ServeMux
	token  string // Required of clients: keeps other local users out.
	stamp  func() string

	mu    sync.Mutex
	began time.Time // The ids of runs begin anew with each start, so clients compare it, too.
	next  int
	runs  []PageRun // The newest run is the last.
}

// NewDev returns a Dev that serves the directory dir and runs its pages with runner. Pages are also reloaded when the
// text that stamp returns changes; stamp may be nil. The caller must call Close.
func NewDev(runner *Runner, dir string, stamp func() string) (*Dev, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	own, err := fs.Sub(web, "web")
	if err != nil {
		return nil, err
	}
	if stamp == nil {
		stamp = func() string { return "" }
	}
	d := &Dev{runner: runner, dir: dir, root: root, mux: http.NewServeMux(), token: rand.Text(), stamp: stamp, began: time.Now()}
	d.mux.Handle("GET "+devPrefix, http.StripPrefix(devPrefix, http.FileServerFS(own)))
	d.mux.HandleFunc("GET "+devPrefix+"runs.json", d.serveRuns)
	d.mux.HandleFunc("GET "+devPrefix+"runs/{id}", d.serveRun)
	d.mux.HandleFunc("POST "+devPrefix+"runs/{id}/calls/{call}/replay", d.serveReplay)
	d.mux.HandleFunc("POST "+devPrefix+"clear", d.serveClear)
	d.mux.HandleFunc("GET "+devPrefix+"changes", d.serveChanges)
	d.mux.HandleFunc("/", d.serveFile)
	return d, nil
}

// Token returns the token. The first address that the author opens must contain it as the query parameter
// token; a cookie carries it after that.
func (d *Dev) Token() string { return d.token }

// Close closes the directory that is served.
func (d *Dev) Close() error { return d.root.Close() }

// tokenCookie is the name of the cookie that carries the token after the first request.
const tokenCookie = "liveapi_dev"

// admit reports whether req has the token in its cookie. If not, admit answers req: if the address contains the
// token, admit sets the cookie and redirects to the address without the token; otherwise it answers with status
// 403.
func (d *Dev) admit(w http.ResponseWriter, req *http.Request) bool {
	same := func(token string) bool { return subtle.ConstantTimeCompare([]byte(token), []byte(d.token)) == 1 }
	if c, err := req.Cookie(tokenCookie); err == nil && same(c.Value) {
		return true
	}
	if query := req.URL.Query(); same(query.Get("token")) {
		query.Del("token")
		http.SetCookie(w, &http.Cookie{Name: tokenCookie, Value: d.token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
		to := url.URL{Path: path.Clean("/" + req.URL.Path), RawQuery: query.Encode()}
		if strings.HasSuffix(req.URL.Path, "/") && to.Path != "/" {
			to.Path += "/"
		}
		http.Redirect(w, req, to.String(), http.StatusSeeOther)
		return false
	}
	http.Error(w, "Open the address that liveapi dev printed: it carries the token that lets you in.", http.StatusForbidden)
	return false
}

// Handler returns the HTTP handler. The handler answers a request only if the host name is localhost or a
// loopback address, the request carries the token, and no other site has caused the request. Otherwise a web
// page on another site or another user of the machine could run a plugin with the author's rights.
func (d *Dev) Handler() http.Handler {
	guarded := http.NewCrossOriginProtection().Handler(d.mux)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		host, _, err := net.SplitHostPort(req.Host)
		if err != nil {
			host = req.Host
		}
		if !slices.Contains([]string{"localhost", "127.0.0.1", "::1", "[::1]"}, host) {
			http.Error(w, "This server answers requests to localhost only.", http.StatusMisdirectedRequest)
			return
		}
		if site := req.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
			http.Error(w, "The request comes from another site and was rejected.", http.StatusForbidden)
			return
		}
		if !d.admit(w, req) {
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if strings.HasPrefix(req.URL.Path, devPrefix) {
			w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'")
		}
		guarded.ServeHTTP(w, req)
	})
}

// Serve serves HTTP requests on l until ctx ends. Running pages may then finish for at most drainTime.
func (d *Dev) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler: d.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		if server.Shutdown(drain) != nil { // Waits for running pages, up to drainTime.
			_ = server.Close()
		}
	})
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("serve pages: %w", err)
	}
	<-ended
	return nil
}
