// Package control shows the state of a running host: to root's tools over HTTP on a UNIX socket that only the
// host's own user can open, and to Prometheus on a loopback port. It changes nothing.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"syscall"
	"time"
)

// MaxUsage limits the accounts in a status to those with the most calls.
const MaxUsage = 100

// Status is the state of a host.
type Status struct {
	PID         int
	Mode        string
	Socket      string
	Started     time.Time
	Accounts    int
	Sessions    int
	InFlight    int    // Calls in flight.
	Calls       uint64 // Since the start.
	Failures    uint64 // Failed calls since the start.
	Workers     int
	MostWorkers int
	Cgroups     []string // The controllers that limit workers: memory, pids. Nil if there are none.
	Plugins     []Plugin
	Usage       []Account // Accounts with the most calls first.
}

// Plugin is the state of a plugin.
type Plugin struct {
	Name, Path      string
	Restarts, Hangs uint64 // Workers that ended by themselves, and workers that were killed because they hung.
	MemoryKills     uint64 `json:"Overweight"`
	Workers         []Worker
}

// Worker is the state of a worker.
type Worker struct {
	Account string // "" means the helper.
	PID     int
	Memory  int64 // Bytes.
	Calls   int   // In flight.
	Started time.Time
	Crashes int       // In a row.
	RetryAt time.Time // When it may start again after crashes.
}

// Account is the activity of an account.
type Account struct {
	Name     string
	Calls    uint64
	Failures uint64
	Seconds  float64 // The duration of all its calls.
	Last     string  // The function of its last call.
}

// Host are the answers to root's tools. Nil fields are not served.
type Host struct {
	Status  func() Status
	Owner   func(domain string) string // Returns the account to which a domain belongs, or "".
	Metrics http.Handler
}

// Serve answers on l until ctx ends: /status, /owners?domain=D and /metrics.
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
	if metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 20 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Read returns the status of the host that listens on path.
func Read(ctx context.Context, path string) (Status, error) {
	var s Status
	err := ask(ctx, path, "/status", &s)
	return s, err
}

// ReadHost is Read with errors that tell an operator why no host answers.
func ReadHost(ctx context.Context, path string) (Status, error) {
	s, err := Read(ctx, path)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
		return s, fmt.Errorf("no host is running: nothing listens at %s", path)
	case errors.Is(err, os.ErrPermission):
		return s, fmt.Errorf("the host at %s answers its own user only, which is most likely root", path)
	}
	return s, err
}

// maxAsked is the number of domains in a request of Owners, because they are part of the request's head.
const maxAsked = 50

// Owners asks the host that listens on path to which accounts domains belong. A domain without an account is
// not in the result.
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

// ask sends a request to the host on path and decodes its JSON answer.
func ask(ctx context.Context, path, request string, to any) error {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://control"+request, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the host answers %s", answer.Status)
	}
	return json.NewDecoder(answer.Body).Decode(to)
}
