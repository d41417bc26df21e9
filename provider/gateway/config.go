package gateway

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/mtls"
)

// CertificateVerifier tells whose a client certificate is; [*mtls.Verifier] is
// one. An error that is not a [mtls.RejectError] means that it is not known.
type CertificateVerifier interface {
	Verify(ctx context.Context, c *x509.Certificate, use mtls.Use, now time.Time) (market.Address, error)
}

// TokenVerifier tells whose a bearer token is and what it grants. The error
// wraps [api.ErrUnauthenticated] when it proves nothing.
type TokenVerifier interface {
	VerifyToken(ctx context.Context, token string, now time.Time) (market.Address, api.Grants, error)
}

// Config sets up a [Gateway].
type Config struct {
	// Provider is the account whose leases are served. Required.
	Provider market.Address
	// Backend is what is served. Required.
	Backend Backend
	// Certificates checks client certificates. Required.
	Certificates CertificateVerifier
	// Tokens checks bearer tokens; nil accepts none.
	Tokens TokenVerifier
	// Software is shown by GET /version; "" shows nothing.
	Software string
	// Limits bound what callers can make the gateway do.
	Limits Limits
	// Logger takes what the operator should know; nil discards. Secrets, tokens
	// and request bodies are never logged.
	Logger *slog.Logger
}

// Limits bound what callers can make a gateway do. A zero field means its
// default.
type Limits struct {
	// StreamsPerTenant bounds the streams (logs, events, shells) open for a
	// tenant; default [DefaultStreamsPerTenant].
	StreamsPerTenant int
	// Streams bounds the streams open in all; default [DefaultStreams].
	Streams int
	// StreamAge is how long a stream may last; default [DefaultStreamAge].
	StreamAge time.Duration
	// StreamGrace is how long a stream waits for a client that lost its
	// connection; default [DefaultStreamGrace].
	StreamGrace time.Duration
	// Recheck is how often the credential of an open stream is verified again;
	// default [DefaultRecheck].
	Recheck time.Duration
	// Requests bounds the requests that are worked on at a time, without streams;
	// default [DefaultRequests]. Requests whose body is being read, and those to
	// public routes, are as many again each.
	Requests int
	// RequestsPerTenant is how many of each may be of one tenant (of one network
	// address, for public routes); default a quarter of Requests.
	RequestsPerTenant int
	// TenantRate is how many requests a tenant may make per second, TenantBurst how
	// many at once; defaults [DefaultTenantRate] and [DefaultTenantBurst].
	TenantRate, TenantBurst int
	// AnonymousRate and AnonymousBurst bound public and refused requests per
	// network address (per /64 with IPv6); defaults [DefaultAnonymousRate] and
	// [DefaultAnonymousBurst].
	AnonymousRate, AnonymousBurst int
	// Connections bounds the connections open in all, ConnectionsPerAddress per
	// network address; defaults [DefaultConnections] and
	// [DefaultConnectionsPerAddress]. They hold for [Gateway.Serve].
	Connections, ConnectionsPerAddress int
}

// Defaults of [Limits].
const (
	DefaultStreamsPerTenant      = 64
	DefaultStreams               = 1024
	DefaultStreamAge             = 24 * time.Hour
	DefaultStreamGrace           = 30 * time.Second
	DefaultRecheck               = 30 * time.Second
	DefaultRequests              = 256
	DefaultTenantRate            = 50
	DefaultTenantBurst           = 200
	DefaultAnonymousRate         = 20
	DefaultAnonymousBurst        = 100
	DefaultConnections           = 8192
	DefaultConnectionsPerAddress = 1024
)

// Bounds on single requests. Each keeps one caller from costing much.
const (
	// MaxManifest bounds the body of a manifest in bytes.
	MaxManifest = 4 << 20
	// MaxScreening bounds the body of a bid screening in bytes.
	MaxScreening = 256 << 10
	// MaxMigration bounds the body of a migration in bytes.
	MaxMigration = 128 << 10
	// MaxHeader bounds the request line and headers in bytes; commands travel there.
	MaxHeader = 64 << 10
	// MaxCommand bounds the parts of a command.
	MaxCommand = 256
	// MaxTail bounds how many old log lines may be asked for; ask for all with
	// a negative number.
	MaxTail = 1 << 20
	// RequestTimeout bounds a request that is no stream.
	RequestTimeout = 30 * time.Second
	// HeaderTimeout bounds the TLS handshake and the reading of headers.
	HeaderTimeout = 10 * time.Second
	// IdleTimeout is how long a connection is kept without a request.
	IdleTimeout = 60 * time.Second
	// WriteTimeout is how long a reader may take nothing; then it is cut off.
	WriteTimeout = 20 * time.Second
	// StopTimeout is how long [Gateway.Serve] lets requests finish.
	StopTimeout = 10 * time.Second
)

func (l Limits) withDefaults() Limits {
	or := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	orTime := func(v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
	}
	or(&l.StreamsPerTenant, DefaultStreamsPerTenant)
	or(&l.Streams, DefaultStreams)
	orTime(&l.StreamAge, DefaultStreamAge)
	orTime(&l.StreamGrace, DefaultStreamGrace)
	orTime(&l.Recheck, DefaultRecheck)
	or(&l.Requests, DefaultRequests)
	or(&l.RequestsPerTenant, max(1, l.Requests/4))
	or(&l.TenantRate, DefaultTenantRate)
	or(&l.TenantBurst, DefaultTenantBurst)
	or(&l.AnonymousRate, DefaultAnonymousRate)
	or(&l.AnonymousBurst, DefaultAnonymousBurst)
	or(&l.Connections, DefaultConnections)
	or(&l.ConnectionsPerAddress, DefaultConnectionsPerAddress)
	return l
}

func (l Limits) validate() error {
	least := min(l.StreamsPerTenant, l.Streams, l.Requests, l.RequestsPerTenant, l.TenantRate, l.TenantBurst,
		l.AnonymousRate, l.AnonymousBurst, l.Connections, l.ConnectionsPerAddress)
	if least < 0 || min(l.StreamAge, l.StreamGrace, l.Recheck) < 0 {
		return fmt.Errorf("gateway: limits: %w: none may be negative", market.ErrInvalid)
	}
	return nil
}

func (c Config) validate() error {
	var faults *multierror.Error
	if err := c.Provider.Validate(); err != nil {
		faults = multierror.Append(faults, fmt.Errorf("gateway: provider: %w", err))
	}
	if c.Backend == nil {
		faults = multierror.Append(faults, fmt.Errorf("gateway: backend: %w: required", market.ErrInvalid))
	}
	if c.Certificates == nil {
		faults = multierror.Append(faults, fmt.Errorf("gateway: certificates: %w: required", market.ErrInvalid))
	}
	if err := c.Limits.validate(); err != nil {
		faults = multierror.Append(faults, err)
	}
	return faults.ErrorOrNil()
}
