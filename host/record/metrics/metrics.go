// Package metrics collects the host's metrics and serves them to Prometheus. The package does not depend on
// plugins or sessions: it gets their numbers from the functions in Sources.
package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/protocol"
)

// Metrics collects the metrics of a host. It implements host.Observer to count calls. It is safe for
// concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	calls    *prometheus.CounterVec
	took     *prometheus.HistogramVec
	requests *prometheus.HistogramVec
}

var _ host.Observer = (*Metrics)(nil)

// Sources contains the functions that return current numbers. They are called for each scrape, so they must
// be safe for concurrent use.
type Sources struct {
	Sessions func() int
	Calls    func() int // Returns the number of calls in flight.
	Workers  func() []Workers
	Accounts func() int
}

// Workers contains the numbers of a plugin, summed over its workers.
type Workers struct {
	Plugin                       string
	Running                      int
	Memory                       int64
	Restarts, Hangs, MemoryKills uint64
}

// New returns metrics with all counters at zero. All fields of s must be set.
func New(s Sources) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "liveapid_calls_total", Help: "Calls that are over, by module, function and result.",
		}, []string{"api", "module", "function", "result"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "liveapid_call_seconds", Help: "How long calls took, by module.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60},
		}, []string{"module"}),
	}
	m.requests = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "liveapid_http_request_seconds", Help: "How long requests to the HTTPS API took, by service and status.",
		Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 30, 60},
	}, []string{"service", "status"})
	gauge := func(name, help string, read func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(read()) })
	}
	m.registry.MustRegister(m.calls, m.took, m.requests,
		gauge("liveapid_sessions", "Sessions that are open.", s.Sessions),
		gauge("liveapid_calls_in_flight", "Calls in flight.", s.Calls),
		gauge("liveapid_accounts", "Accounts that are known.", s.Accounts),
		&workers{read: s.Workers},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Handler returns the HTTP handler for Prometheus' scrapes.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// Begin does nothing. It is required by host.Observer.
func (m *Metrics) Begin(host.Event) error { return nil }

// End counts a call and its duration. Calls of unknown functions share the label "unknown": clients can send
// any names, and each new label would occupy memory.
func (m *Metrics) End(e host.Event, result *protocol.Result, took time.Duration) {
	module, function, api, kind := "unknown", "unknown", "unknown", "ok"
	if e.Function.Name != "" {
		module, function, api = e.Module, e.Function.Name, e.Function.API.String()
	}
	if result.Err != nil {
		kind = string(result.Err.Kind)
	}
	m.calls.WithLabelValues(api, module, function, kind).Inc()
	m.took.WithLabelValues(module).Observe(took.Seconds())
}

// Request counts a request to the HTTPS API and its duration.
func (m *Metrics) Request(service string, status int, took time.Duration) {
	m.requests.WithLabelValues(service, strconv.Itoa(status)).Observe(took.Seconds())
}

// workers is a prometheus.Collector for the numbers of the plugins' workers.
type workers struct{ read func() []Workers }

var (
	running     = prometheus.NewDesc("liveapid_workers", "Workers that run.", []string{"plugin"}, nil)
	memory      = prometheus.NewDesc("liveapid_worker_memory_bytes", "Memory of the workers.", []string{"plugin"}, nil)
	restarts    = prometheus.NewDesc("liveapid_worker_restarts_total", "Workers that ended by themselves or were killed.", []string{"plugin"}, nil)
	hangs       = prometheus.NewDesc("liveapid_worker_hangs_total", "Workers that were killed because they hung.", []string{"plugin"}, nil)
	memoryKills = prometheus.NewDesc("liveapid_worker_overweight_total", "Workers that were killed because of the memory they took.", []string{"plugin"}, nil)
)

// Describe implements prometheus.Collector.
func (*workers) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{running, memory, restarts, hangs, memoryKills} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (w *workers) Collect(out chan<- prometheus.Metric) {
	for _, p := range w.read() {
		out <- prometheus.MustNewConstMetric(running, prometheus.GaugeValue, float64(p.Running), p.Plugin)
		out <- prometheus.MustNewConstMetric(memory, prometheus.GaugeValue, float64(p.Memory), p.Plugin)
		out <- prometheus.MustNewConstMetric(restarts, prometheus.CounterValue, float64(p.Restarts), p.Plugin)
		out <- prometheus.MustNewConstMetric(hangs, prometheus.CounterValue, float64(p.Hangs), p.Plugin)
		out <- prometheus.MustNewConstMetric(memoryKills, prometheus.CounterValue, float64(p.MemoryKills), p.Plugin)
	}
}
