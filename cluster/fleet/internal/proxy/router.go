package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync/atomic"
	"time"

	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Bounds and defaults of the router. The defaults are those the SDL names.
const (
	defaultMaxBody   = 1 << 20
	defaultTimeout   = time.Minute
	defaultNextTries = 3
	readHeaderTime   = 10 * time.Second
	idleTime         = 2 * time.Minute
	maxHeaderBytes   = 64 << 10
	dialTimeout      = 5 * time.Second
)

// Route is where one host name leads.
type Route struct {
	// Pool has the replicas, Port is the container's.
	Pool    *Pool
	Port    uint16
	Options manifest.HTTPOptions
}

// Router is an [http.Handler] that leads by host name. It is safe for
// concurrent use.
type Router struct {
	dial  Dial
	log   *slog.Logger
	table atomic.Pointer[map[string]*httputil.ReverseProxy]
	limit atomic.Pointer[map[string]int64]
}

// NewRouter returns a router without routes.
func NewRouter(dial Dial, log *slog.Logger) *Router {
	r := &Router{dial: dial, log: log}
	r.Set(nil)
	return r
}

// Set replaces all routes; the keys are host names in lower case. Requests that
// have begun go on.
func (r *Router) Set(routes map[string]Route) {
	table := make(map[string]*httputil.ReverseProxy, len(routes))
	limit := make(map[string]int64, len(routes))
	for host, route := range routes {
		table[host] = r.proxy(route)
		limit[host] = int64(orDefault(route.Options.MaxBodySize, defaultMaxBody))
	}
	r.limit.Store(&limit)
	r.table.Store(&table)
}

func orDefault(v, otherwise uint32) uint32 {
	if v == 0 {
		return otherwise
	}
	return v
}

// Hostname reduces a Host header to the key of a route.
func Hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// ServeHTTP implements [http.Handler].
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	host := Hostname(req.Host)
	proxy := (*r.table.Load())[host]
	if proxy == nil {
		http.Error(w, "no service has this host name", http.StatusNotFound)
		return
	}
	if most := (*r.limit.Load())[host]; req.Body != nil {
		if req.ContentLength > most {
			http.Error(w, "request body too large", http.StatusRequestEntityTooLarge)
			return
		}
		req.Body = http.MaxBytesReader(w, req.Body, most)
	}
	proxy.ServeHTTP(w, req)
}

// proxy makes the reverse proxy of a route.
func (r *Router) proxy(route Route) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme = "http"
			p.Out.URL.Host = p.In.Host // the transport chooses the replica
			p.Out.Host = p.In.Host
			p.SetXForwarded() // what the client claims is dropped
		},
		Transport:     newTransport(route, r.dial),
		FlushInterval: -1,
		ErrorHandler:  r.failed,
		ErrorLog:      slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
	}
}

// failed answers for a replica that could not.
func (r *Router) failed(w http.ResponseWriter, req *http.Request, err error) {
	var large *http.MaxBytesError
	var timeout net.Error
	switch {
	case errors.As(err, &large):
		http.Error(w, "request body too large", http.StatusRequestEntityTooLarge)
	case errors.Is(err, errNoReplica):
		w.Header().Set("Retry-After", "1")
		http.Error(w, "no replica of this service is ready", http.StatusServiceUnavailable)
	case errors.Is(err, context.Canceled):
		w.WriteHeader(http.StatusBadGateway) // nobody reads it
	case errors.As(err, &timeout) && timeout.Timeout():
		http.Error(w, "the service did not answer in time", http.StatusGatewayTimeout)
	default:
		r.log.DebugContext(req.Context(), "replica failed", slog.String("host", req.Host), slog.Any("err", err))
		http.Error(w, "the service could not be reached", http.StatusBadGateway)
	}
}

// Serve answers on a listener until the context ends; then it lets requests
// finish for as long as grace.
func (r *Router) Serve(ctx context.Context, ln net.Listener, grace time.Duration) error {
	base, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort() // ends connections that changed their protocol
	srv := &http.Server{
		BaseContext: func(net.Listener) context.Context { return base },
		Handler:     r, ReadHeaderTimeout: readHeaderTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(limit(ln, maxIngressConns)) }()
	select {
	case err := <-done:
		return fmt.Errorf("ingress: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if srv.Shutdown(end) != nil {
		_ = srv.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("ingress: %w", err)
	}
	return nil
}

// body releases the replica when the response has been read, or when a
// connection that changed its protocol ends.
type body struct {
	io.ReadCloser
	release func()
}

func (b *body) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}

// duplexBody is the body of a connection that changed its protocol.
type duplexBody struct {
	io.ReadWriteCloser
	release func()
}

func (b *duplexBody) Close() error {
	defer b.release()
	return b.ReadWriteCloser.Close()
}

// releasing makes a response release its replica when it ends.
func releasing(res *http.Response, release func()) *http.Response {
	if rw, ok := res.Body.(io.ReadWriteCloser); ok {
		res.Body = &duplexBody{rw, release}
	} else {
		res.Body = &body{res.Body, release}
	}
	return res
}
