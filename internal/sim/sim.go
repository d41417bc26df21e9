package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/cluster"
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
	"github.com/moorage-dev/moorage/market/tenant"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Config says how large a simulation is.
type Config struct {
	// Seed makes the market, its tenants and the faults.
	Seed uint64
	// Blocks is how many blocks run under faults; one takes a virtual second.
	Blocks int
	// Tenants and Providers are how many of each there are.
	Tenants, Providers int
	// FaultPercent is how often each kind of fault strikes, 0 to 100.
	FaultPercent int
}

// Settle is how many blocks pass without faults before the end is judged: more
// than the longest deadline of the providers.
const Settle = 900

// blockTime is the virtual time of a block.
const blockTime = time.Second

// funds are what every account begins with.
const funds = 1_000_000_000

// world is one simulation.
type world struct {
	cfg    Config
	market *memmarket.Market
	sites  []*site

	mu    sync.Mutex // guards rng and calm
	rng   *rand.Rand
	calm  bool
	stats Stats
}

// Stats count what happened, so that a simulation in which nothing happened is
// noticed.
type Stats struct {
	Deployed, Updated, Closed, Failed int
	Crashes, Faults, Leases           int
}

// site is a provider with its cluster; the cluster and the store outlive the
// provider.
type site struct {
	w       *world
	address market.Address
	cluster *memcluster.World
	store   provider.Store
	nodes   []inventory.Node

	mu      sync.Mutex // guards current and stop
	current *provider.Provider
	stop    func() error
}

// Run plays one simulation. Call it inside a testing/synctest bubble: it waits
// for virtual time. The error names what broke, with the block.
func Run(ctx context.Context, cfg Config) (Stats, error) {
	w := &world{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 1))}
	balances := map[market.Address]market.Coins{}
	rich := market.Coins{market.NewCoin("uact", funds)}
	for i := range cfg.Tenants {
		balances[tenantName(i)] = rich
	}
	for i := range cfg.Providers {
		balances[providerName(i)] = rich
	}
	var err error
	if w.market, err = memmarket.New(memmarket.Config{Balances: balances, Start: time.Now(), BlockTime: blockTime}); err != nil {
		return w.stats, err
	}
	return w.stats, w.play(ctx)
}

func tenantName(i int) market.Address   { return market.Address(fmt.Sprintf("tenant%d", i)) }
func providerName(i int) market.Address { return market.Address(fmt.Sprintf("provider%d", i)) }

// play runs blocks under faults, then without, then judges.
func (w *world) play(ctx context.Context) (err error) {
	for i := range w.cfg.Providers {
		w.sites = append(w.sites, w.newSite(i))
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer func() {
		cancel()
		wg.Wait()
		for _, s := range w.sites {
			err = errors.Join(err, s.halt())
		}
	}()
	for _, s := range w.sites {
		if err := s.start(ctx); err != nil {
			return err
		}
	}
	for i := range w.cfg.Tenants {
		wg.Go(func() { w.tenant(ctx, tenantName(i)) })
	}
	for block := range w.cfg.Blocks + Settle {
		if block == w.cfg.Blocks {
			if err := w.quiet(ctx); err != nil {
				return err
			}
		}
		if err := w.block(ctx); err != nil {
			return fmt.Errorf("block %d: %w", block, err)
		}
	}
	return w.converges(ctx)
}

// lastBlocks is how long the end may take to be as it must: a provider may be
// in the middle of looking at an order just when it is judged.
const lastBlocks = 30

// converges judges until the judgement is good.
func (w *world) converges(ctx context.Context) (err error) {
	for range lastBlocks {
		if err = w.judge(ctx); err == nil {
			return nil
		}
		if made := w.block(ctx); made != nil {
			return made
		}
	}
	return err
}

// block lets a block's time pass, makes it, strikes with faults, and checks.
func (w *world) block(ctx context.Context) error {
	time.Sleep(blockTime)
	if err := w.market.Advance(1); err != nil {
		return err
	}
	if err := w.market.Check(); err != nil {
		return err
	}
	for _, s := range w.sites {
		if w.strikes(20) { // a fifth as often as the small faults
			w.count(func(st *Stats) { st.Crashes++ })
			if err := s.crash(ctx); err != nil {
				return err
			}
		}
		s.rearrange()
		if err := s.checkPromises(ctx); err != nil {
			return err
		}
	}
	return nil
}

// strikes decides whether a fault happens, with percent of the configured
// frequency.
func (w *world) strikes(percent int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	hit := !w.calm && w.rng.IntN(10_000) < w.cfg.FaultPercent*percent
	if hit {
		w.stats.Faults++
	}
	return hit
}

func (w *world) pick(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n)
}

func (w *world) count(f func(*Stats)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.stats)
}

func (w *world) isCalm() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calm
}

// quiet ends the faults: the clusters have their nodes and the providers run.
func (w *world) quiet(ctx context.Context) error {
	w.mu.Lock()
	w.calm = true
	w.mu.Unlock()
	for _, s := range w.sites {
		s.cluster.SetNodes(s.nodes)
		if err := s.crash(ctx); err != nil { // one last restart, from whatever is on disk
			return err
		}
	}
	return nil
}

// faults bend what a client of the market does.
func (w *world) faults() memmarket.Faults {
	down := func(what string) error { return fmt.Errorf("sim: %s: %w", what, market.ErrUnavailable) }
	return memmarket.Faults{
		Submit: func([]market.Msg) memmarket.Fate {
			switch {
			case w.strikes(100):
				return memmarket.Fate{Err: down("submit")}
			case w.strikes(100):
				return memmarket.Fate{Delay: 1 + w.pick(5)}
			}
			return memmarket.Fate{}
		},
		Receipt: func(market.Receipt) error {
			if w.strikes(50) {
				return errors.New("sim: the answer was lost")
			}
			return nil
		},
		Read: func() error {
			if w.strikes(50) {
				return down("read")
			}
			return nil
		},
	}
}

// newSite makes a provider's cluster.
func (w *world) newSite(i int) *site {
	s := &site{w: w, address: providerName(i), store: provider.NewMemStore()}
	for n := range 1 + w.pick(3) {
		s.nodes = append(s.nodes, inventory.Node{
			Name: fmt.Sprintf("n%d", n), Architecture: "amd64",
			Allocatable: inventory.Quantities{
				MilliCores: 1000 * uint64(1+w.pick(4)), MemoryBytes: uint64(1+w.pick(4)) << 30, EphemeralBytes: 100 << 30,
			},
		})
	}
	s.cluster = memcluster.NewWorld(memcluster.Config{
		Nodes: s.nodes,
		ReadyAfter: func(market.LeaseID, manifest.Service) time.Duration {
			return time.Duration(w.pick(5000)) * time.Millisecond
		},
	})
	s.cluster.SetFault(func(memcluster.Op, market.LeaseID) error {
		if w.strikes(50) {
			return &driver.TransientError{Err: errors.New("sim: the cluster cannot be seen")}
		}
		return nil
	})
	return s
}

// start runs a new provider on what is there.
func (s *site) start(ctx context.Context) error {
	c, err := cluster.New(s.cluster.Driver(), cluster.Config{})
	if err != nil {
		return err
	}
	p, err := provider.New(provider.Config{
		Market: s.w.market.FaultyClient(s.address, s.w.faults()), Cluster: c, Store: s.store,
		HostURI: "https://" + string(s.address) + ".test",
		Pricer: bidengine.PricerFunc(func(context.Context, bidengine.Request) (market.Decimal, error) {
			return market.ParseDecimal(fmt.Sprintf("%d.%d", 1+s.w.pick(20), s.w.pick(1000)))
		}),
		ManifestTimeout: time.Minute, BidTimeout: time.Minute, UnhealthyTimeout: 5 * time.Minute,
		WithdrawEvery: 2 * time.Minute, ResyncEvery: time.Minute,
	})
	if err != nil {
		return errors.Join(err, c.Close())
	}
	runCtx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.Run(runCtx) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = p
	s.stop = func() error {
		cancel()
		return errors.Join(<-ended, c.Close())
	}
	return nil
}

// halt ends the provider wherever it is in its work.
func (s *site) halt() error {
	s.mu.Lock()
	stop := s.stop
	s.stop, s.current = nil, nil
	s.mu.Unlock()
	if stop == nil {
		return nil
	}
	return stop()
}

// crash ends the provider and starts another in its place.
func (s *site) crash(ctx context.Context) error {
	return errors.Join(s.halt(), s.start(ctx))
}

// rearrange takes a node away, or brings it back.
func (s *site) rearrange() {
	if len(s.nodes) < 2 || !s.w.strikes(10) {
		return
	}
	s.cluster.SetNodes(s.nodes[:1+s.w.pick(len(s.nodes))])
}

// provider returns the provider that runs at the moment.
func (s *site) provider() (*provider.Provider, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil, fmt.Errorf("sim: %s is down: %w", s.address, market.ErrUnavailable)
	}
	return s.current, nil
}

// dial is how tenants reach gateways: through the network, which fails too.
func (w *world) dial(owner market.Address) func(market.Provider) (tenant.Gateway, error) {
	return func(p market.Provider) (tenant.Gateway, error) {
		i := slices.IndexFunc(w.sites, func(s *site) bool { return s.address == p.Owner })
		if i < 0 {
			return nil, market.ErrNotFound
		}
		return door{w.sites[i], owner}, nil
	}
}

// door is a provider's gateway as one tenant sees it.
type door struct {
	site  *site
	owner market.Address
}

func (d door) open() (*provider.Provider, error) {
	if d.site.w.strikes(50) {
		return nil, fmt.Errorf("sim: network: %w", market.ErrUnavailable)
	}
	return d.site.provider()
}

// PutManifest implements [tenant.Gateway].
func (d door) PutManifest(ctx context.Context, id market.DeploymentID, m manifest.Manifest) error {
	p, err := d.open()
	if err != nil {
		return err
	}
	return p.PutManifest(ctx, id, m)
}

// LeaseStatus implements [tenant.Gateway].
func (d door) LeaseStatus(ctx context.Context, id market.LeaseID) (api.LeaseStatus, error) {
	p, err := d.open()
	if err != nil {
		return api.LeaseStatus{}, err
	}
	return p.LeaseStatus(ctx, id)
}

// Screen implements [tenant.Gateway].
func (d door) Screen(ctx context.Context, groups []market.GroupSpec) ([]api.Offer, error) {
	p, err := d.open()
	if err != nil {
		return nil, err
	}
	return p.Screen(ctx, d.owner, groups)
}
