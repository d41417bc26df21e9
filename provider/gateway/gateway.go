package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/mtls"
)

// errStopping ends streams when the gateway closes.
var errStopping = fmt.Errorf("gateway: stopping: %w", market.ErrUnavailable)

// Gateway serves a [Backend] over HTTP. It is safe for concurrent use. Streams
// that wait for a lost client have goroutines of their own: end them with Close.
type Gateway struct {
	cfg       Config
	log       *slog.Logger
	mux       *http.ServeMux
	tenants   *limiter
	anonymous *limiter
	// bodies, work and public count the requests whose body is being read, those
	// that are worked on for tenants, and those of anybody.
	bodies, work, public *slots
	sessions             *sessions

	base   context.Context //nolint:containedctx // the life of the gateway's own goroutines
	cancel context.CancelCauseFunc
}

var _ http.Handler = (*Gateway)(nil)

// New returns a gateway. It starts nothing. The error lists every fault of the
// configuration and wraps [market.ErrInvalid].
func New(cfg Config) (*Gateway, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.Limits = cfg.Limits.withDefaults()
	g := &Gateway{
		cfg: cfg, log: cfg.Logger, mux: http.NewServeMux(),
		tenants:   newLimiter(cfg.Limits.TenantRate, cfg.Limits.TenantBurst),
		anonymous: newLimiter(cfg.Limits.AnonymousRate, cfg.Limits.AnonymousBurst),
		bodies:    newSlots(cfg.Limits.Requests, cfg.Limits.RequestsPerTenant),
		work:      newSlots(cfg.Limits.Requests, cfg.Limits.RequestsPerTenant),
		public:    newSlots(cfg.Limits.Requests, cfg.Limits.RequestsPerTenant),
		sessions:  newSessions(cfg.Limits.Streams, cfg.Limits.StreamsPerTenant),
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	g.base, g.cancel = context.WithCancelCause(context.Background())
	g.register()
	return g, nil
}

// Serve answers on the listener with TLS 1.3 and the provider's certificate
// until the context ends. Then it ends the streams, lets requests finish for
// [StopTimeout], closes the gateway and returns nil. The listener is closed in
// any case. Another error means that it could not go on.
func (g *Gateway) Serve(ctx context.Context, l net.Listener, own tls.Certificate) error {
	srv := g.server()
	served := make(chan error, 1)
	inner := tls.NewListener(newLimitListener(l, g.cfg.Limits), mtls.ServerConfig(own))
	var wg sync.WaitGroup
	wg.Go(func() { served <- srv.Serve(inner) })
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
	}
	g.Close()
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), StopTimeout)
	defer cancel()
	if srv.Shutdown(sctx) != nil {
		_ = srv.Close() // some did not finish in time
	}
	wg.Wait()
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("gateway: serve: %w", err)
	}
	return nil
}

func (g *Gateway) server() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           g,
		ReadHeaderTimeout: HeaderTimeout,
		IdleTimeout:       IdleTimeout,
		MaxHeaderBytes:    MaxHeader,
		Protocols:         protocols,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
}

// Close ends all streams and returns when their goroutines have ended. Requests
// are answered 503 from then on. A second call does nothing more.
func (g *Gateway) Close() {
	g.cancel(errStopping)
	g.sessions.close()
}

// deadlines sets how long the connection may take for the rest of the request,
// and a little more for the answer, which may be that it took too long; zero sets
// none. Handlers behind other servers may not support it.
func deadlines(w http.ResponseWriter, d time.Duration) {
	var read, write time.Time
	if d > 0 {
		read = time.Now().Add(d)
		write = read.Add(WriteTimeout)
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(read)
	_ = rc.SetWriteDeadline(write)
}
