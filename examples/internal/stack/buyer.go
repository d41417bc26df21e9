package stack

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/tenant"
	"github.com/moorage-dev/moorage/provider/gateway/client"
	"github.com/moorage-dev/moorage/sdl"
)

// Buyer is a tenant with a certificate and connections to gateways, or the holder
// of a tenant's token.
type Buyer struct {
	*tenant.Tenant
	// Owner is the tenant.
	Owner market.Address
	// Market signs for the tenant, but not for the holder of a token.
	Market market.Client
	cert   tls.Certificate
	token  string

	mu      sync.Mutex // guards clients
	clients map[gatewayKey]*client.Client
}

type gatewayKey struct {
	owner market.Address
	uri   string
}

// BuyerConfig says how a [Buyer] behaves. Zero times are the defaults of
// package tenant.
type BuyerConfig struct {
	Market market.Client
	// Home keeps the certificate.
	Home                               string
	BidTimeout, BidGrace, ReadyTimeout time.Duration
	Choose                             tenant.Policy
	Progress                           func(tenant.Step)
}

// NewBuyer makes a tenant ready to deploy: its certificate is on the market
// when the call returns.
func NewBuyer(ctx context.Context, cfg BuyerConfig) (*Buyer, error) {
	cert, err := Certificate(ctx, cfg.Market, cfg.Home, nil)
	if err != nil {
		return nil, fmt.Errorf("tenant's certificate: %w", err)
	}
	b := &Buyer{Owner: cfg.Market.Address(), Market: cfg.Market, cert: cert, clients: map[gatewayKey]*client.Client{}}
	b.Tenant, err = tenant.New(tenant.Config{
		Market: cfg.Market, Dial: func(p market.Provider) (tenant.Gateway, error) { return b.Dial(p) },
		BidTimeout: cfg.BidTimeout, BidGrace: cfg.BidGrace, ReadyTimeout: cfg.ReadyTimeout,
		Choose: cfg.Choose, Progress: cfg.Progress,
	})
	return b, err
}

// NewHolder makes what the holder of a token of a tenant can use: gateways, and a
// market to read.
func NewHolder(m market.Client, owner market.Address, token string) (*Buyer, error) {
	b := &Buyer{Owner: owner, Market: m, token: token, clients: map[gatewayKey]*client.Client{}}
	var err error
	b.Tenant, err = tenant.New(tenant.Config{
		Market: m, Dial: func(p market.Provider) (tenant.Gateway, error) { return b.Dial(p) },
	})
	return b, err
}

// Gateway returns the gateway of the provider of a lease.
func (b *Buyer) Gateway(ctx context.Context, id market.LeaseID) (*client.Client, error) {
	p, err := b.Market.Provider(ctx, id.Provider)
	if err != nil {
		return nil, err
	}
	return b.Dial(p)
}

// Dial returns the gateway of a provider.
func (b *Buyer) Dial(p market.Provider) (*client.Client, error) {
	key := gatewayKey{p.Owner, p.HostURI}
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.clients[key]; c != nil {
		return c, nil
	}
	cfg := client.Config{Provider: p.Owner, HostURI: p.HostURI, Market: b.Market, Certificate: b.cert}
	if b.token != "" {
		cfg.Token = func(context.Context) (string, error) { return b.token, nil }
	}
	c, err := client.New(cfg)
	if err == nil {
		b.clients[key] = c
	}
	return c, err
}

// ReadFile reads an SDL file; "-" is standard input.
func ReadFile(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(os.Stdin, sdl.MaxBytes+1))
	}
	return os.ReadFile(path)
}

// CompilePlan compiles SDL text into a plan. The warnings are texts for a
// person.
func CompilePlan(name string, src []byte) (p tenant.Plan, warnings []string, err error) {
	out, err := sdl.Compile(src, sdl.Options{File: name})
	if err != nil {
		return tenant.Plan{}, nil, fmt.Errorf("%s does not compile:\n%w", name, err)
	}
	for _, d := range out.Diagnostics {
		warnings = append(warnings, d.Error())
	}
	return tenant.Plan{Groups: out.Groups, Manifest: out.Manifest, Hash: out.Hash, Reclamation: out.Reclamation}, warnings, nil
}
