// Package control is the door of the host's operator, over HTTP on a UNIX socket that only the host's own user
// can open: it reports the state of a running host, and takes WHM's functions from the command whmapi1. To
// Prometheus, it reports metrics on a loopback port, where no request changes the host's state.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/liveapid/liveapid/protocol"
)

// MaxUsage is the maximum number of accounts in Status.Usage, which contains the accounts with the most
// calls.
const MaxUsage = 100

// Status is the state of a running host. The host sends it as the answer to /status.
type Status struct {
	PID         int
	Mode        string
	Socket      string
	Started     time.Time
	Accounts    int
	Sessions    int
	InFlight    int    // Number of calls in flight.
	Calls       uint64 // Number of calls since the host started.
	Failures    uint64 // Number of failed calls since the host started.
	Workers     int
	MostWorkers int
	Cgroups     []string // Cgroup controllers that limit workers; nil means none.
	Plugins     []Plugin
	Usage       []Account // Sorted by number of calls, highest first.
}

// Plugin is the state of a plugin and its workers. Restarts counts the workers that ended although the host
// did not stop them, and the workers that the host killed because they hung. Hangs counts only the workers
// that hung.
type Plugin struct {
	Name, Path      string
	Restarts, Hangs uint64 // Unexpected ends of workers; Hangs: those due to a hang.
	MemoryKills     uint64 `json:"Overweight"`
	Workers         []Worker
}

// Worker is the state of a worker process.
type Worker struct {
	Account string // "" means that the process is the helper.
	PID     int
	Memory  int64 // Memory use in bytes.
	Calls   int   // Number of calls in flight.
	Started time.Time
	Crashes int       // Number of crashes in a row.
	RetryAt time.Time // After crashes: the earliest time of the next start.
}

// Account counts the calls of an account.
type Account struct {
	Name     string
	Calls    uint64
	Failures uint64
	Seconds  float64 // Total duration of the account's calls.
	Last     string  // Function of the account's last call.
}

// Host contains the functions that answer the requests. If a field is nil, the request that needs the field
// is not served.
type Host struct {
	Status  func() Status
	Owner   func(domain string) string // Returns the account that owns domain, or "".
	Metrics http.Handler
	WHM     http.Handler // Serves WHM's functions, at /json-api/NAME, for root.
}

// Serve answers the requests /status, /owners?domain=D, /metrics and POST /json-api/NAME on l until ctx ends.
func Serve(ctx context.Context, l net.Listener, h Host) error {
	status, metrics := h.Status, h.Metrics
	mux := http.NewServeMux()
	if h.Owner != nil {
		mux.HandleFunc("GET /owners", func(w http.ResponseWriter, r *http.Request) {
			owners := make(map[string]string)
			for _, domain := range r.URL.Query()["domain"] {
				if owner := h.Owner(domain); owner != "" {
					owners[domain] = owner
				}
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(owners)
		})
	}
	if status != nil {
		mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(status())
		})
	}
	if h.WHM != nil {
		mux.Handle("POST /json-api/{name}", h.WHM)
	}
	if metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: writeTime,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// writeTime is the maximum time from the head of a request to the end of its answer. A function of WHM may
// take as long as a call.
const writeTime = protocol.CallTimeout + 30*time.Second

// WHM runs a function of WHM as root, on the host that listens on the UNIX socket at path, and returns the
// answer, which is JSON.
func WHM(ctx context.Context, path, function string, args url.Values) ([]byte, error) {
	answer, err := request(ctx, path, http.MethodPost, "/json-api/"+url.PathEscape(function), strings.NewReader(args.Encode()), writeTime)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/json") {
		return nil, fmt.Errorf("the host answered %s", answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, protocol.MaxAnswer))
}

// Read asks the host that listens on the UNIX socket at path for its status.
func Read(ctx context.Context, path string) (Status, error) {
	var s Status
	err := ask(ctx, path, "/status", &s)
	return s, err
}

// ReadHost is like Read, but its errors tell an operator why the host does not answer.
func ReadHost(ctx context.Context, path string) (Status, error) {
	s, err := Read(ctx, path)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
		return s, fmt.Errorf("no host is running: nothing listens on %s", path)
	case errors.Is(err, os.ErrPermission):
		return s, fmt.Errorf("the host's control socket %s accepts only the host's own user; run this command as root", path)
	}
	return s, err
}

// maxAsked is the maximum number of domains per request of Owners. The domains are part of the request's URL,
// and the server limits the size of a request's head.
const maxAsked = 50

// Owners asks the host that listens on the UNIX socket at path which accounts own the given domains. The
// result maps domains to accounts. It does not contain domains that no account owns.
func Owners(ctx context.Context, path string, domains []string) (map[string]string, error) {
	all := make(map[string]string)
	for some := range slices.Chunk(domains, maxAsked) {
		var owners map[string]string
		if err := ask(ctx, path, "/owners?"+url.Values{"domain": some}.Encode(), &owners); err != nil {
			return nil, err
		}
		maps.Copy(all, owners)
	}
	return all, nil
}

// ask sends a GET request to the host that listens on the UNIX socket at path, and decodes the JSON answer
// into to. target is the path and query of the URL.
func ask(ctx context.Context, path, target string, to any) error {
	answer, err := request(ctx, path, http.MethodGet, target, nil, 10*time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the host answered %s", answer.Status)
	}
	return json.NewDecoder(answer.Body).Decode(to)
}

// request sends a request to the host that listens on the UNIX socket at path. The caller must close the body
// of the answer.
func request(ctx context.Context, path, method, target string, body io.Reader, timeout time.Duration) (*http.Response, error) {
	client := &http.Client{Timeout: timeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://control"+target, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return client.Do(req)
}
