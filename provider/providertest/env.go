package providertest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/tenant"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Env is the world of one case: a market with a tenant and a provider, a
// cluster and a store that outlive the provider on them. At most one provider
// runs at a time.
type Env struct {
	// Tenant buys; its gateway is whatever provider runs at the moment.
	Tenant *tenant.Tenant
	// Patience bounds every wait.
	Patience time.Duration

	market  Market
	cluster Cluster
	store   func() (provider.Store, error)
	pricer  bidengine.Pricer
	denom   string

	addresses Addresses
	leasing   bool // set before providers are started

	mu      sync.Mutex // guards all below
	current *provider.Provider
	stop    func() error
	events  []provider.Event
}

func (h Harness) env(tb testing.TB) *Env {
	tb.Helper()
	e := &Env{Patience: cmp.Or(h.Patience, DefaultPatience), pricer: h.Pricer, denom: cmp.Or(h.Denom, "uact")}
	if h.Market == nil {
		h.Market = MemoryMarket
	}
	if h.Cluster == nil {
		h.Cluster = MemoryCluster
	}
	if h.Store == nil {
		h.Store = MemoryStore
	}
	if h.Addresses == nil {
		h.Addresses = MemoryAddresses
	}
	if e.pricer == nil {
		e.pricer = bidengine.PricerFunc(fixed)
	}
	e.market, e.cluster, e.store = h.Market(tb), h.Cluster(tb), h.Store(tb)
	e.addresses = h.Addresses(tb)
	e.cluster.Image = cmp.Or(e.cluster.Image, "image:1")
	var err error
	e.Tenant, err = tenant.New(tenant.Config{
		Market: e.market.Tenant, BidTimeout: e.Patience / 2, ReadyTimeout: e.Patience,
		Dial: func(market.Provider) (tenant.Gateway, error) { return e, nil },
	})
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// Start runs a provider. It ends with [Env.Stop], as by a crash: at once, in the
// middle of whatever it does. With a crasher it ends where that says. change may
// be nil.
func (e *Env) Start(ctx context.Context, at int, after bool, change func(*provider.Config)) (*Crasher, error) {
	store, err := e.store()
	if err != nil {
		return nil, err
	}
	k, err := e.cluster.Open()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	crash := NewCrasher(at, after, cancel)
	cfg := provider.Config{
		Market: crash.Market(e.market.Provider), Cluster: crash.Cluster(k), Store: crash.Store(store), Pricer: e.pricer,
		HostURI: "https://provider.test:8443", ResyncEvery: e.Patience / 8, InventoryEvery: e.Patience / 8,
		ManifestTimeout: e.Patience / 4, BidTimeout: 2 * e.Patience,
		Observer: provider.ObserverFunc(e.observe),
	}
	announcer, err := e.announcer(crash, &cfg)
	if err != nil {
		cancel()
		return nil, errors.Join(err, closer(k))
	}
	if change != nil {
		change(&cfg)
	}
	p, err := provider.New(cfg)
	if err != nil {
		cancel()
		return nil, errors.Join(err, closer(k), closer(announcer))
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.current = p
	e.stop = func() error {
		cancel()
		err := <-ended
		if crash.Crashed() {
			err = nil // whatever it said when it died
		}
		return errors.Join(err, closer(k), closer(announcer), store.Close())
	}
	return crash, nil
}

// Stop ends the provider that runs, if any.
func (e *Env) Stop() error {
	e.mu.Lock()
	stop := e.stop
	e.stop, e.current = nil, nil
	e.mu.Unlock()
	if stop == nil {
		return nil
	}
	return stop()
}

// Restart ends the provider and runs another, which does not crash.
func (e *Env) Restart(ctx context.Context) error {
	if err := e.Stop(); err != nil {
		return err
	}
	_, err := e.Start(ctx, 0, false, nil)
	return err
}

// Provider returns the provider that runs; [market.ErrUnavailable] if none does.
func (e *Env) Provider() (*provider.Provider, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == nil {
		return nil, fmt.Errorf("providertest: no provider runs: %w", market.ErrUnavailable)
	}
	return e.current, nil
}

func (e *Env) observe(ev provider.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, ev)
}

// Saw returns the events of a kind, of all providers that ran.
func (e *Env) Saw(kind provider.EventKind) []provider.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []provider.Event
	for _, ev := range e.events {
		if ev.Kind == kind {
			out = append(out, ev)
		}
	}
	return out
}

// pollEvery is how often a condition is looked at.
const pollEvery = 50 * time.Millisecond

// Await waits until a condition holds. Errors of the condition count as not yet.
func (e *Env) Await(ctx context.Context, what string, ok func() (bool, error)) error {
	deadline := time.Now().Add(e.Patience)
	for {
		done, err := ok()
		if done && err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("within %s this did not come to be: %s (last error: %w)", e.Patience, what, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollEvery):
		}
	}
}

// The environment is the tenant's gateway to the provider that runs.

// PutManifest implements [tenant.Gateway].
func (e *Env) PutManifest(ctx context.Context, id market.DeploymentID, m manifest.Manifest) error {
	p, err := e.Provider()
	if err != nil {
		return err
	}
	return p.PutManifest(ctx, id, m)
}

// LeaseStatus implements [tenant.Gateway].
func (e *Env) LeaseStatus(ctx context.Context, id market.LeaseID) (api.LeaseStatus, error) {
	p, err := e.Provider()
	if err != nil {
		return api.LeaseStatus{}, err
	}
	return p.LeaseStatus(ctx, id)
}

// Screen implements [tenant.Gateway].
func (e *Env) Screen(ctx context.Context, groups []market.GroupSpec) ([]api.Offer, error) {
	p, err := e.Provider()
	if err != nil {
		return nil, err
	}
	return p.Screen(ctx, e.market.Tenant.Address(), groups)
}

// Plan is a deployment of one small web service. The version tells manifests
// apart.
func (e *Env) Plan(version string) tenant.Plan { return e.plan(version, 0, 0) }

func (e *Env) plan(version string, low, high uint32) tenant.Plan {
	r := market.Resources{
		ID: 1, CPU: market.CPU{MilliCores: 500}, Memory: market.Memory{Bytes: 128 << 20},
		Storage:   []market.Volume{{Name: "default", Bytes: 256 << 20}},
		Endpoints: []market.Endpoint{{Kind: market.EndpointSharedHTTP}},
	}
	p := tenant.Plan{
		Groups: []market.GroupSpec{{Name: "g", Units: []market.ResourceUnit{{
			Resources: r, Count: 1, MinCount: low, MaxCount: high,
			Price: market.Price{Denom: e.denom, AmountPerBlock: market.NewDecimal(1_000_000)},
		}}}},
		Manifest: manifest.Manifest{{Name: "g", Services: []manifest.Service{{
			Name: "web", Image: e.cluster.Image, Env: []string{"VERSION=" + version}, Resources: r, Count: 1,
			Expose: []manifest.Expose{{
				Port: 80, ExternalPort: 80, Proto: manifest.TCP, Global: true,
				HTTPOptions: manifest.HTTPOptions{
					MaxBodySize: 1 << 20, ReadTimeout: 60000, SendTimeout: 60000, NextTries: 3,
					NextCases: []string{"error", "timeout"},
				},
			}},
		}}}},
	}
	var err error
	if p.Hash, err = p.Manifest.Version(); err != nil {
		panic(err) // a manifest made here is sound
	}
	return p
}

// Empty reports whether the cluster runs nothing and nothing is promised.
func (e *Env) Empty(ctx context.Context) (bool, error) {
	k, err := e.cluster.Open()
	if err != nil {
		return false, err
	}
	running, err := k.List(ctx)
	if err = errors.Join(err, closer(k)); err != nil || len(running) > 0 {
		return false, err
	}
	p, err := e.Provider()
	if err != nil {
		return false, err
	}
	held := p.Reservations()
	if len(held) > 0 {
		return false, fmt.Errorf("promised: %v", held)
	}
	st, err := p.Status(ctx)
	return err == nil && st.Leases == 0 && st.Bids == 0 && st.State == api.ProviderReady, err
}
