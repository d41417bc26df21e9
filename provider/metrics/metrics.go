// Package metrics shows a provider to Prometheus. It registers nothing by
// itself: each [Metrics] has a registry of its own, so that several providers
// live in one process.
//
//	m := metrics.New()
//	p, err := provider.New(provider.Config{Observer: m, …})
//	m.Attach(p)
//	http.Handle("/metrics", m.Handler())
//
// Counters and the latency of bids come from the provider's events; everything
// else is read from the provider when somebody asks. No label names a tenant, so
// the number of series is bounded by the kinds of things there are.
package metrics

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// Source is what is shown; a [provider.Provider] is one.
type Source interface {
	Overview(ctx context.Context) (provider.Overview, error)
}

// Metrics is a [provider.Observer] and a registry. It is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	source   atomic.Pointer[Source]

	events   *prometheus.CounterVec
	declined *prometheus.CounterVec
	closed   *prometheus.CounterVec
	latency  prometheus.Histogram
	gauges   gauges
}

var (
	_ provider.Observer    = (*Metrics)(nil)
	_ prometheus.Collector = (*Metrics)(nil)
)

// namespace begins the names of all metrics.
const namespace = "moorage_provider"

// New makes metrics that show nothing but counters of zero until [Metrics.Attach].
func New() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		events:   counter("events_total", "What the provider did or saw, per kind.", "kind"),
		declined: counter("declined_total", "Decisions against a bid, per reason; one decision may have several.", "reason"),
		closed:   counter("leases_closed_total", "Leases that ended, per reason.", "reason"),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "bid_latency_seconds",
			Help:    "From the first sight of an order until its bid is in a block.",
			Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128},
		}),
		gauges: newGauges(),
	}
	m.registry.MustRegister(m) // panics only when two metrics have one name
	return m
}

// Attach says which provider is shown. It may be called again with another.
func (m *Metrics) Attach(s Source) { m.source.Store(&s) }

// Registry is where the metrics are registered; further collectors may be added.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Observe implements [provider.Observer].
func (m *Metrics) Observe(e provider.Event) {
	m.events.WithLabelValues(e.Kind.String()).Inc()
	if e.Kind == provider.EventDeclined {
		for _, r := range e.Reasons {
			m.declined.WithLabelValues(string(r.Code)).Inc()
		}
	}
	if e.Kind == provider.EventLeaseClosed {
		m.closed.WithLabelValues(e.Reason.String()).Inc()
	}
	if e.Kind == provider.EventBid {
		m.latency.Observe(e.After.Seconds())
	}
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	m.events.Describe(ch)
	m.declined.Describe(ch)
	m.closed.Describe(ch)
	m.latency.Describe(ch)
	m.gauges.describe(ch)
}

// collectTimeout bounds the reading of the provider.
const collectTimeout = 5 * time.Second

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.events.Collect(ch)
	m.declined.Collect(ch)
	m.closed.Collect(ch)
	m.latency.Collect(ch)
	s := m.source.Load()
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	o, err := (*s).Overview(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(m.gauges.ready, err)
		return
	}
	m.gauges.collect(ch, o)
}

// ready is 1 for a provider that can serve, draining or not.
func ready(s api.ProviderState) float64 {
	if s == api.ProviderUnready {
		return 0
	}
	return 1
}
