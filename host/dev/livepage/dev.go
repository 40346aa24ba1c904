package livepage

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/liveapid/liveapid/host/dev/tagpage"
	"github.com/liveapid/liveapid/protocol"
)

//go:embed web
var web embed.FS

const (
	devPrefix = "/.liveapi/" // The server's own paths begin with this.
	keptRuns  = 100          // Runs of pages that are kept for the list.
	maxFiles  = 10_000       // Files that are watched for changes.
	pollTime  = 300 * time.Millisecond
	maxHTML   = 16 << 20
	// injected is added to every HTML page. It reloads the page when a file changes.
	injected = `<script src="` + devPrefix + `reload.js" defer></script>`
)

// PageRun is a page that ran, with the calls that it made.
type PageRun struct {
	ID     int           `json:"id"`
	Time   time.Time     `json:"time"`
	Method string        `json:"method"`
	Path   string        `json:"path"`
	Status int           `json:"status"`
	Took   time.Duration `json:"took_ns"`
	Calls  []Call        `json:"calls"`
}

// Dev serves a directory of plugin pages to their author, on this machine only: it runs pages, expands tags
// in HTML, and serves other files as they are.
type Dev struct {
	runner *Runner
	dir    string
	root   *os.Root // All files are opened through it, so that links can't lead out of the directory.
	mux    *http.ServeMux
	token  string // Keeps other users of this machine away.

	mu   sync.Mutex
	next int
	runs []PageRun // The newest last.
}

// NewDev serves dir. runner runs its pages.
func NewDev(runner *Runner, dir string) (*Dev, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	own, err := fs.Sub(web, "web")
	if err != nil {
		return nil, err
	}
	d := &Dev{runner: runner, dir: dir, root: root, mux: http.NewServeMux(), token: rand.Text()}
	d.mux.Handle("GET "+devPrefix, http.StripPrefix(devPrefix, http.FileServerFS(own)))
	d.mux.HandleFunc("GET "+devPrefix+"calls", d.serveCalls)
	d.mux.HandleFunc("GET "+devPrefix+"changes", d.serveChanges)
	d.mux.HandleFunc("/", d.serveFile)
	return d, nil
}

// Token returns the token that the first address must carry as ?token=.
func (d *Dev) Token() string { return d.token }

// Close closes the directory.
func (d *Dev) Close() error { return d.root.Close() }

// tokenCookie is the cookie that carries the token after the first page.
const tokenCookie = "liveapi_dev"

// admit reports whether a request carries the token. If the token is in the address, admit redirects to the
// address without it and sets the cookie.
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

// Handler returns the HTTP handler. It answers only requests to this machine's own names, with the token, and
// not from another site: neither a web page elsewhere nor another user of this machine may run a plugin here.
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
			http.Error(w, "Another site asks for this page.", http.StatusForbidden)
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

// serveFile serves a path: a page, an HTML file, any other file, or a directory.
func (d *Dev) serveFile(w http.ResponseWriter, req *http.Request) {
	name := strings.TrimPrefix(path.Clean("/"+req.URL.Path), "/")
	if name == "" {
		name = "."
	}
	if slices.ContainsFunc(strings.Split(name, "/"), func(part string) bool { return strings.HasPrefix(part, ".") && part != "." }) {
		http.Error(w, "Hidden files are not served.", http.StatusNotFound)
		return
	}
	st, err := d.root.Stat(filepath.FromSlash(name))
	if err == nil && st.IsDir() {
		if !strings.HasSuffix(req.URL.Path, "/") {
			http.Redirect(w, req, "/"+name+"/", http.StatusSeeOther) // Relative links need the slash.
			return
		}
		if index := d.index(name); index != "" {
			name, err = path.Join(name, index), nil
		} else {
			http.FileServerFS(d.root.FS()).ServeHTTP(w, req) // It lists the directory.
			return
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "The file does not exist.", http.StatusNotFound)
	case err != nil:
		http.Error(w, "The file can't be served: it may be a link out of the directory.", http.StatusForbidden)
	case KindOf(name) != None:
		d.servePage(w, req, name)
	case strings.HasSuffix(name, ".html"), strings.HasSuffix(name, ".htm"):
		d.serveHTML(w, req, name)
	default:
		http.ServeFileFS(w, req, d.root.FS(), name)
	}
}

// index returns the index file of a directory, or "".
func (d *Dev) index(dir string) string {
	for _, name := range []string{"index.live.php", "index.livephp", "index.live.pl", "index.livepl", "index.html"} {
		if _, err := d.root.Stat(filepath.FromSlash(path.Join(dir, name))); err == nil {
			return name
		}
	}
	return ""
}

// servePage runs a page and records its calls.
func (d *Dev) servePage(w http.ResponseWriter, req *http.Request, name string) {
	d.record(w, req, func(answer *buffer, watch func(Call)) {
		if err := d.runner.Run(answer, req, filepath.Join(d.dir, filepath.FromSlash(name)), watch); err != nil {
			http.Error(answer, "The page can't be run: "+err.Error(), http.StatusInternalServerError)
		}
	})
}

// serveHTML serves an HTML file with its tags expanded.
func (d *Dev) serveHTML(w http.ResponseWriter, req *http.Request, name string) {
	text, err := fs.ReadFile(d.root.FS(), name)
	if err != nil || len(text) > maxHTML {
		http.Error(w, "The file can't be read.", http.StatusInternalServerError)
		return
	}
	d.record(w, req, func(answer *buffer, watch func(Call)) {
		answer.Header().Set("Content-Type", "text/html; charset=utf-8")
		caller := protocol.Caller{Account: d.runner.Account, Role: protocol.RoleAccount, Door: "page"}
		page, problems := tagpage.Render(req.Context(), watched{d.runner.Doer, watch}, caller, string(text))
		for _, p := range problems {
			watch(Call{API: "tag", Name: name, Result: p.String()})
		}
		_, _ = answer.Write([]byte(page))
	})
}

// record runs a page into a buffer, records the run, and sends the page.
func (d *Dev) record(w http.ResponseWriter, req *http.Request, run func(*buffer, func(Call))) {
	start := time.Now()
	var mu sync.Mutex
	calls := []Call{}
	answer := &buffer{header: make(http.Header), status: http.StatusOK}
	run(answer, func(c Call) {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, c)
	})
	mu.Lock()
	d.keep(PageRun{Time: start, Method: req.Method, Path: req.URL.Path, Status: answer.status, Took: time.Since(start), Calls: calls})
	mu.Unlock()
	answer.sendTo(w)
}

func (d *Dev) keep(run PageRun) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next++
	run.ID = d.next
	d.runs = append(d.runs, run)
	if len(d.runs) > keptRuns {
		d.runs = slices.Delete(d.runs, 0, len(d.runs)-keptRuns)
	}
}

func (d *Dev) serveCalls(w http.ResponseWriter, _ *http.Request) {
	d.mu.Lock()
	runs := slices.Clone(d.runs)
	d.mu.Unlock()
	slices.Reverse(runs)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(runs) // The client may be gone.
}

// serveChanges notifies a page by a server-sent event when a file of the directory changes.
func (d *Dev) serveChanges(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	seen := d.snapshot()
	ticker := time.NewTicker(pollTime)
	defer ticker.Stop()
	_, _ = fmt.Fprint(w, ": watching\n\n")
	for {
		if flush.Flush() != nil {
			return
		}
		select {
		case <-req.Context().Done():
			return
		case <-ticker.C:
		}
		event := ": still there\n\n"
		if now := d.snapshot(); now != seen {
			seen, event = now, "event: change\ndata: 1\n\n"
		}
		if _, err := fmt.Fprint(w, event); err != nil {
			return
		}
	}
}

// snapshot returns a digest of the directory's files: their names, sizes and times.
func (d *Dev) snapshot() string {
	var newest time.Time
	var size int64
	n := 0
	_ = fs.WalkDir(d.root.FS(), ".", func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // A file that vanished meanwhile is a change that the next snapshot shows.
		}
		if n++; n > maxFiles {
			return fs.SkipAll
		}
		if info, err := e.Info(); err == nil {
			size += info.Size()
			if info.ModTime().After(newest) {
				newest = info.ModTime()
			}
		}
		return nil
	})
	return fmt.Sprint(n, size, newest.UnixNano())
}

// Serve serves until ctx ends.
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
		if server.Shutdown(drain) != nil { // Running pages get a moment to end.
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

// buffer holds the answer of a page.
type buffer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (b *buffer) Header() http.Header    { return b.header }
func (b *buffer) WriteHeader(status int) { b.status = status }

// Write fails beyond the limit. The page's program is then killed.
func (b *buffer) Write(p []byte) (int, error) {
	if b.body.Len()+len(p) > maxHTML {
		return 0, fmt.Errorf("the page has more than %d bytes", maxHTML)
	}
	return b.body.Write(p)
}

// sendTo sends the answer. An HTML page gets the script that reloads it.
func (b *buffer) sendTo(w http.ResponseWriter) {
	body := b.body.Bytes()
	if strings.HasPrefix(b.header.Get("Content-Type"), "text/html") {
		at := bytes.LastIndex(bytes.ToLower(body), []byte("</body>"))
		if at < 0 {
			at = len(body)
		}
		body = slices.Concat(body[:at], []byte(injected), body[at:])
	}
	for name, values := range b.header {
		if name != "Content-Length" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(b.status)
	_, _ = w.Write(body) // The client may be gone.
}
