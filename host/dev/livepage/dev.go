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
	devPrefix = "/.liveapi/" // The prefix of the server's own paths.
	keptRuns  = 100          // Maximum number of page runs in the list of runs.
	maxFiles  = 10_000       // Maximum number of files that are watched for changes.
	pollTime  = 300 * time.Millisecond
	maxHTML   = 16 << 20
	// injected is a script element that is added to every HTML page. The script reloads the page when a file
	// changes.
	injected = `<script src="` + devPrefix + `reload.js" defer></script>`
)

// PageRun is one run of a page, with the calls that the page made.
type PageRun struct {
	ID     int           `json:"id"`
	Time   time.Time     `json:"time"`
	Method string        `json:"method"`
	Path   string        `json:"path"`
	Status int           `json:"status"`
	Took   time.Duration `json:"took_ns"`
	Calls  []Call        `json:"calls"`
}

// Dev is an HTTP server for the author of plugin pages, on the author's own machine only. It serves a
// directory: it runs pages, expands the tags in HTML files, and serves other files as they are.
type Dev struct {
	runner *Runner
	dir    string
	root   *os.Root // Opens all files, so that links can't lead outside dir.
	mux    *http.ServeMux
	token  string // Required of clients: keeps other local users out.

	mu   sync.Mutex
	next int
	runs []PageRun // The newest run is the last.
}

// NewDev returns a Dev that serves the directory dir and runs its pages with runner. The caller must call
// Close.
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

// serveFile serves the file or directory at the request's path. It runs pages, expands the tags in HTML
// files, and rejects hidden files.
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
			http.Redirect(w, req, "/"+name+"/", http.StatusSeeOther) // Relative links on the page need the final slash.
			return
		}
		if index := d.index(name); index != "" {
			name, err = path.Join(name, index), nil
		} else {
			http.FileServerFS(d.root.FS()).ServeHTTP(w, req) // Lists the files of the directory.
			return
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "The file does not exist.", http.StatusNotFound)
	case err != nil:
		http.Error(w, "The file can't be served. It may be a symbolic link that leads out of the directory.", http.StatusForbidden)
	case KindOf(name) != None:
		d.servePage(w, req, name)
	case strings.HasSuffix(name, ".html"), strings.HasSuffix(name, ".htm"):
		d.serveHTML(w, req, name)
	default:
		http.ServeFileFS(w, req, d.root.FS(), name)
	}
}

// index returns the name of the index file in dir, or "" if there is no index file.
func (d *Dev) index(dir string) string {
	for _, name := range []string{"index.live.php", "index.livephp", "index.live.pl", "index.livepl", "index.html"} {
		if _, err := d.root.Stat(filepath.FromSlash(path.Join(dir, name))); err == nil {
			return name
		}
	}
	return ""
}

// servePage runs the page called name, records its calls and sends its answer.
func (d *Dev) servePage(w http.ResponseWriter, req *http.Request, name string) {
	d.record(w, req, func(answer *buffer, watch func(Call)) {
		if err := d.runner.Run(answer, req, filepath.Join(d.dir, filepath.FromSlash(name)), watch); err != nil {
			http.Error(answer, "The page can't be run: "+err.Error(), http.StatusInternalServerError)
		}
	})
}

// serveHTML sends the HTML file called name with its tags expanded.
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

// record calls run and then adds an entry for the page run to the list of runs. run writes the answer into
// the given buffer, and passes each call to the LiveAPI to the given function. When run has returned, record
// sends the buffered answer to the client.
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
	_ = json.NewEncoder(w).Encode(runs) // An error means that the client has disconnected.
}

// serveChanges sends a server-sent event to the page whenever a file in the directory has changed, until the
// client disconnects. It compares snapshots at intervals of pollTime.
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

// snapshot returns a text that changes when a file in the directory changes. It contains the number of files
// and directories, their total size and the newest modification time.
func (d *Dev) snapshot() string {
	var newest time.Time
	var size int64
	n := 0
	_ = fs.WalkDir(d.root.FS(), ".", func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // Probably removed just now: the next snapshot differs.
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

// buffer is a ResponseWriter that stores the answer of a page in memory.
type buffer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (b *buffer) Header() http.Header    { return b.header }
func (b *buffer) WriteHeader(status int) { b.status = status }

// Write returns an error if the answer would exceed maxHTML bytes. The CGI handler then kills the page's
// program.
func (b *buffer) Write(p []byte) (int, error) {
	if b.body.Len()+len(p) > maxHTML {
		return 0, fmt.Errorf("the page has more than %d bytes", maxHTML)
	}
	return b.body.Write(p)
}

// sendTo sends the stored answer to w. It adds the script that reloads the page to an HTML page.
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
	_, _ = w.Write(body) // An error means that the client has disconnected.
}
