package stack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/moorage-dev/moorage/cluster"
	"github.com/moorage-dev/moorage/cluster/fleet"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/kube"
	"github.com/moorage-dev/moorage/cluster/runtime/local"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/jwt"
	"github.com/moorage-dev/moorage/provider/gateway/mtls"
)

// SellerConfig says how a [Seller] is put together.
type SellerConfig struct {
	// Market signs for the provider.
	Market market.Client
	// Home keeps certificate, records, images, containers.
	Home string
	// Runtime is auto, runc or docker.
	Runtime string
	// Kube is the cluster that containers run on; nil is this machine.
	Kube *kube.Config
	// Gateway is where the gateway listens; HTTP where deployed pages are served.
	Gateway, HTTP string
	// PublicHost is the name under which clients find this host; "" is localhost.
	PublicHost string
	// Domain is under which deployed pages get names; "" is localhost.
	Domain     string
	Attributes market.Attributes
	Pricer     bidengine.Pricer
	Overcommit inventory.Overcommit
	// IPs says which addresses are leased.
	IPs      IPConfig
	Observer provider.Observer
	// TokenAudience refuses tokens that do not name the provider.
	TokenAudience bool
	// Software is what the gateway says of itself.
	Software string
	Logger   *slog.Logger
}

// Seller is a provider with everything it needs on this host.
type Seller struct {
	Provider *provider.Provider

	runtime     local.Runtime
	runtimeName string
	fleet       *fleet.Fleet
	kube        *kubeRun
	http        string
	cluster     *cluster.Cluster
	store       provider.Store
	gateway     *gateway.Gateway
	listener    net.Listener
	cert        tls.Certificate
	hostURI     string
	node        inventory.Node
	announcer   announcer // nil when no addresses are leased
}

// NewSeller opens everything. Containers of an earlier run are found again. The
// caller calls Run, then Close.
func NewSeller(ctx context.Context, cfg SellerConfig) (*Seller, error) {
	if cfg.PublicHost == "" {
		cfg.PublicHost = "localhost"
	}
	s := &Seller{}
	if err := s.open(ctx, cfg); err != nil {
		return nil, errors.Join(err, s.Close(false))
	}
	return s, nil
}

func (s *Seller) open(ctx context.Context, cfg SellerConfig) error {
	if err := os.MkdirAll(cfg.Home, 0o700); err != nil {
		return err
	}
	if err := s.openCluster(ctx, cfg); err != nil {
		return err
	}
	if err := s.openGateway(ctx, cfg); err != nil {
		return err
	}
	return s.openProvider(ctx, cfg)
}

// openCluster opens the cluster that is asked for.
func (s *Seller) openCluster(ctx context.Context, cfg SellerConfig) (err error) {
	if cfg.Kube == nil {
		return s.openFleet(ctx, cfg)
	}
	if s.kube, err = openKube(ctx, *cfg.Kube, cfg.Overcommit, cfg.Logger.With("part", "kube")); err != nil {
		return err
	}
	s.http, s.runtimeName = cfg.HTTP, "Kubernetes"
	s.cluster, err = cluster.New(s.kube.driver, cluster.Config{Logger: cfg.Logger})
	return errors.Join(err, s.look(ctx))
}

// look sees what there is to sell.
func (s *Seller) look(ctx context.Context) error {
	nodes, err := s.cluster.Nodes(ctx)
	for i, n := range nodes {
		if i == 0 {
			s.node = n
		} else {
			s.node.Allocatable = s.node.Allocatable.Plus(n.Allocatable)
		}
	}
	return err
}

// openFleet opens runtime, fleet and the portable cluster over it.
func (s *Seller) openFleet(ctx context.Context, cfg SellerConfig) (err error) {
	if s.runtime, s.runtimeName, err = OpenRuntime(cfg.Runtime, filepath.Join(cfg.Home, "runtime"), cfg.IPs.ipv6(), cfg.Logger.With("part", "runtime")); err != nil {
		return err
	}
	s.fleet, err = fleet.New(fleet.Config{
		Runtime: s.runtime, StateDir: filepath.Join(cfg.Home, "fleet"), IngressAddr: cfg.HTTP,
		PublicHost: cfg.PublicHost, Domain: cfg.Domain, Overcommit: cfg.Overcommit,
		PortHost: portHost(cfg.HTTP), Logger: cfg.Logger.With("part", "fleet"),
	})
	if err != nil {
		return err
	}
	if s.cluster, err = cluster.New(s.fleet, cluster.Config{Logger: cfg.Logger}); err != nil {
		return err
	}
	s.http = s.fleet.IngressAddr().String()
	return s.look(ctx)
}

// portHost is where forwarded ports listen: where the pages are served.
func portHost(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return host
}

// openGateway opens the port of the gateway and gets its certificate.
func (s *Seller) openGateway(ctx context.Context, cfg SellerConfig) (err error) {
	var lc net.ListenConfig
	if s.listener, err = lc.Listen(ctx, "tcp", cfg.Gateway); err != nil {
		return fmt.Errorf("gateway: %w: end what listens there, or choose another address", err)
	}
	_, port, err := net.SplitHostPort(s.listener.Addr().String())
	if err != nil {
		return err
	}
	s.hostURI = "https://" + net.JoinHostPort(cfg.PublicHost, port)
	if s.cert, err = Certificate(ctx, cfg.Market, cfg.Home, []string{cfg.PublicHost}); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	return nil
}

// openProvider joins the parts.
func (s *Seller) openProvider(ctx context.Context, cfg SellerConfig) (err error) {
	if s.store, err = provider.OpenStore(cfg.Home); err != nil {
		return err
	}
	var addresses *provider.Addresses
	if s.announcer, addresses, err = openAddresses(ctx, cfg, s.node.Name); err != nil {
		return err
	}
	s.Provider, err = provider.New(provider.Config{
		Addresses: addresses,
		Market:    cfg.Market, Cluster: s.cluster, Pricer: cfg.Pricer, Store: s.store,
		HostURI: s.hostURI, Attributes: cfg.Attributes, Overcommit: cfg.Overcommit,
		Observer: cfg.Observer, Logger: cfg.Logger.With("part", "provider"),
	})
	if err != nil {
		return err
	}
	verifier, err := mtls.NewVerifier(cfg.Market, mtls.Config{})
	if err != nil {
		return err
	}
	tokens, err := jwt.NewVerifier(jwt.Config{Provider: cfg.Market.Address(), RequireAudience: cfg.TokenAudience})
	if err != nil {
		return err
	}
	s.gateway, err = gateway.New(gateway.Config{
		Provider: cfg.Market.Address(), Backend: s.Provider, Certificates: verifier, Tokens: tokens,
		Software: cfg.Software, Logger: cfg.Logger.With("part", "gateway"),
	})
	return err
}

// Run works until the context ends.
func (s *Seller) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if s.kube != nil {
			return s.kube.run(ctx)
		}
		return s.fleet.Run(ctx)
	})
	g.Go(func() error { return s.Provider.Run(ctx) })
	if s.announcer != nil {
		g.Go(func() error { return s.announcer.Run(ctx) })
	}
	g.Go(func() error { return s.gateway.Serve(ctx, s.listener, s.cert) })
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// HostURI is where the gateway is; HTTPAddress where deployed pages are served;
// RuntimeName what runs the containers.
func (s *Seller) HostURI() string { return s.hostURI }

// HTTPAddress is where deployed pages are served.
func (s *Seller) HTTPAddress() string { return s.http }

// RuntimeName says what runs the containers.
func (s *Seller) RuntimeName() string { return s.runtimeName }

// Summary says what is for sale.
func (s *Seller) Summary() string {
	a := s.node.Allocatable
	return fmt.Sprintf("%.1f cores, %.1f GiB memory, %.0f GiB disk",
		float64(a.MilliCores)/1000, float64(a.MemoryBytes)/(1<<30), float64(a.EphemeralBytes)/(1<<30))
}

// purgeTimeout is how long the removal of everything may take.
const purgeTimeout = time.Minute

// Close releases everything. With purge the containers are removed too;
// otherwise they go on.
func (s *Seller) Close(purge bool) error {
	var err error
	if s.listener != nil && s.gateway == nil {
		err = errors.Join(err, s.listener.Close())
	}
	if s.kube != nil && purge {
		err = errors.Join(err, s.kube.purge())
	}
	if s.announcer != nil {
		err = errors.Join(err, s.announcer.Close())
	}
	if s.cluster != nil {
		err = errors.Join(err, s.cluster.Close())
	} else if s.fleet != nil {
		err = errors.Join(err, s.fleet.Close())
	} else if s.kube != nil {
		err = errors.Join(err, s.kube.driver.Close())
	}
	if s.store != nil {
		err = errors.Join(err, s.store.Close())
	}
	if s.runtime == nil {
		return err
	}
	if purge {
		ctx, cancel := context.WithTimeout(context.Background(), purgeTimeout)
		defer cancel()
		err = errors.Join(err, s.runtime.Purge(ctx))
	}
	return errors.Join(err, s.runtime.Close())
}
