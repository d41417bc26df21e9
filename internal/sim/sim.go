package sim

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
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
	"github.com/moorage-dev/moorage/provider/providertest"
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
	// Change may change a provider's configuration, to see that what is broken is
	// noticed. nil changes nothing.
	Change func(*provider.Config)
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
	made   int // blocks

	mu    sync.Mutex // guards all below
	calm  bool
	stats Stats
	// odd counts for how many blocks something has not been as it should.
	odd map[string]int
	// accepted are the deployments whose manifests a provider has accepted.
	accepted map[acceptance]bool
}

// acceptance is a manifest that a provider has taken.
type acceptance struct {
	id market.DeploymentID
	by market.Address
}

// Stats count what happened, so that a simulation in which nothing happened is
// noticed.
type Stats struct {
	Deployed, Updated, Closed, Failed   int
	Scaled, Reclaimed                   int
	Crashes, StepCrashes, Faults        int
	EventsLost, EventsLate, EventsTwice int
	Leases                              int
	// Bound and Parked are the most leased addresses of one family that were at
	// one provider.
	Bound, Parked, Moved, Released int
}

// site is a provider with its cluster; the cluster and the store outlive the
// provider.
type site struct {
	w       *world
	address market.Address
	cluster *memcluster.World
	store   provider.Store
	nodes   []inventory.Node
	lan     *lan // nil when it leases no addresses

	peek atomic.Bool // the simulation itself looks at the cluster: no faults

	mu      sync.Mutex // guards all below
	current *provider.Provider
	stop    func() error
	crash   *providertest.Crasher
	here    []inventory.Node // the nodes that are there at the moment
	downFor int              // blocks until it is started again
}

// Run plays one simulation. Call it inside a testing/synctest bubble: it waits
// for virtual time. The error names what broke, with the block.
func Run(ctx context.Context, cfg Config) (Stats, error) {
	w := &world{cfg: cfg, odd: map[string]int{}, accepted: map[acceptance]bool{}}
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
		wg.Go(func() { w.newBuyer(i).run(ctx) })
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

// calmBlocks is how often is checked once the faults have stopped.
const calmBlocks = 10

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
	w.made++
	if w.isCalm() && w.made%calmBlocks != 0 {
		return nil
	}
	if err := w.market.Check(); err != nil {
		return err
	}
	for _, s := range w.sites {
		if err := s.suffer(ctx); err != nil {
			return err
		}
		if err := s.checkBlock(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.address, err)
		}
	}
	return nil
}

// suffer lets the provider crash or come back, and its cluster change.
func (s *site) suffer(ctx context.Context) error {
	s.mu.Lock()
	crash := s.crash
	s.mu.Unlock()
	switch {
	case s.downFor > 0:
		if s.downFor--; s.downFor == 0 {
			return s.start(ctx)
		}
	case crash.Crashed():
		s.w.count(func(st *Stats) { st.StepCrashes++ })
		s.downFor = 1 + s.w.draw(20, s.address, "down")
		return s.halt()
	case s.w.strikes(20, s.address, "crash"): // a fifth as often as the small faults
		s.w.count(func(st *Stats) { st.Crashes++ })
		s.downFor = 1 + s.w.draw(20, s.address, "down")
		return s.halt()
	}
	s.rearrange()
	return s.operate(ctx)
}

// operate does what operators do now and then.
func (s *site) operate(ctx context.Context) error {
	p, err := s.provider()
	if err != nil {
		return nil //nolint:nilerr // it is down
	}
	if s.w.strikes(10, s.address, "drain") {
		p.Drain(s.w.draw(4, s.address, "draining") == 0, "maintenance")
	}
	if !s.w.strikes(5, s.address, "reclaim") {
		return nil
	}
	leases, err := s.active(ctx)
	if err != nil || len(leases) == 0 {
		return err
	}
	id := leases[s.w.draw(len(leases), s.address, "which")]
	s.w.count(func(st *Stats) { st.Reclaimed++ })
	go func() { _, _ = p.Reclaim(ctx, id) }() // it may take blocks; that it fails is one more fault
	return nil
}

// draw returns a number below n. It depends on the seed, the names and the
// virtual time alone, not on which goroutine asks first.
func (w *world) draw(n int, names ...any) int {
	h := fnv.New64a()
	fmt.Fprint(h, w.cfg.Seed, time.Now().UnixNano())
	for _, name := range names {
		fmt.Fprintf(h, "/%v", name)
	}
	return rand.New(rand.NewPCG(h.Sum64(), w.cfg.Seed)).IntN(n)
}

// strikes decides whether a fault happens, with percent of the configured
// frequency.
func (w *world) strikes(percent int, names ...any) bool {
	hit := !w.isCalm() && w.draw(10_000, names...) < w.cfg.FaultPercent*percent
	if hit {
		w.count(func(s *Stats) { s.Faults++ })
	}
	return hit
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
		s.setNodes(s.nodes)
		s.downFor = 0
		if err := errors.Join(s.halt(), s.start(ctx)); err != nil { // one last restart, from whatever is on disk
			return err
		}
	}
	return nil
}

// faults bend what an account's client of the market does.
func (w *world) faults(who market.Address) memmarket.Faults {
	down := func(what string) error { return fmt.Errorf("sim: %s: %w", what, market.ErrUnavailable) }
	return memmarket.Faults{
		Submit: func(msgs []market.Msg) memmarket.Fate {
			what := fmt.Sprintf("%T %v", msgs[0], msgs[0])
			switch {
			case w.strikes(100, who, "submit", what):
				return memmarket.Fate{Err: down("submit")}
			case w.strikes(100, who, "delay", what):
				return memmarket.Fate{Delay: 1 + w.draw(5, who, what)}
			}
			return memmarket.Fate{}
		},
		Receipt: func(r market.Receipt) error {
			if w.strikes(50, who, "receipt", r.TxID) {
				return errors.New("sim: the answer was lost")
			}
			return nil
		},
		Read: func() error {
			if w.strikes(50, who, "read") {
				return down("read")
			}
			return nil
		},
		Watch: func(b market.Block) error {
			if w.strikes(5, who, "watch", b.Height) {
				return down("watch")
			}
			return nil
		},
	}
}

// newSite makes a provider's cluster.
func (w *world) newSite(i int) *site {
	s := &site{w: w, address: providerName(i), store: provider.NewMemStore()}
	rng := w.source("site", i)
	for n := range 1 + rng.IntN(3) {
		s.nodes = append(s.nodes, inventory.Node{
			Name: fmt.Sprintf("n%d", n), Architecture: "amd64",
			Allocatable: inventory.Quantities{
				MilliCores: 1000 * uint64(1+rng.IntN(4)), MemoryBytes: uint64(1+rng.IntN(4)) << 30, EphemeralBytes: 100 << 30,
			},
		})
	}
	s.cluster = memcluster.NewWorld(memcluster.Config{
		Nodes: s.nodes,
		ReadyAfter: func(id market.LeaseID, svc manifest.Service) time.Duration {
			return time.Duration(w.draw(5000, id, svc.Name)) * time.Millisecond
		},
	})
	s.lan = s.newLAN(i)
	s.here = s.nodes
	s.cluster.SetFault(func(op memcluster.Op, id market.LeaseID) error {
		if !s.peek.Load() && w.strikes(50, s.address, op, id) {
			return &driver.TransientError{Err: errors.New("sim: the cluster cannot be seen")}
		}
		return nil
	})
	return s
}

// start runs a new provider on what is there.
func (s *site) start(ctx context.Context) error {
	c, err := cluster.New(s.cluster.Driver(), cluster.Config{Rand: s.w.source(s.address, time.Now().UnixNano())})
	if err != nil {
		return err
	}
	runCtx, cancel := context.WithCancel(ctx)
	crash := providertest.NewCrasher(s.crashAt(), s.w.draw(2, s.address, "after") == 0, cancel)
	cfg := provider.Config{
		Market:  crash.Market(loseEvents{s.w.market.FaultyClient(s.address, s.w.faults(s.address)), s.w}),
		Cluster: crash.Cluster(c), Store: crash.Store(s.store), Addresses: s.lan.lease(crash),
		HostURI: "https://" + string(s.address) + ".test",
		Pricer: bidengine.PricerFunc(func(_ context.Context, r bidengine.Request) (market.Decimal, error) {
			rng := s.w.source(s.address, r.Order.ID)
			return market.ParseDecimal(fmt.Sprintf("%d.%d", 1+rng.IntN(20), rng.IntN(1000)))
		}),
		ManifestTimeout: time.Minute, BidTimeout: time.Minute, UnhealthyTimeout: 5 * time.Minute, PendingTimeout: 8 * time.Minute,
		WithdrawEvery: 2 * time.Minute, WithdrawBefore: time.Minute, ResyncEvery: time.Minute, BidWorkers: 16,
	}
	if s.w.cfg.Change != nil {
		s.w.cfg.Change(&cfg)
	}
	p, err := provider.New(cfg)
	if err != nil {
		cancel()
		return errors.Join(err, c.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Run(runCtx) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current, s.crash = p, crash
	s.stop = func() error {
		cancel()
		err := <-ended
		if crash.Crashed() {
			err = nil // whatever it said when it died
		}
		return errors.Join(err, c.Close())
	}
	return nil
}

// crashAt is the step at which the provider dies, 0 for never.
func (s *site) crashAt() int {
	if s.w.isCalm() || s.w.cfg.FaultPercent == 0 {
		return 0
	}
	return 1 + s.w.draw(500/s.w.cfg.FaultPercent, s.address, "at")
}

// halt ends the provider wherever it is in its work.
func (s *site) halt() error {
	s.mu.Lock()
	stop, crash := s.stop, s.crash
	s.stop, s.current = nil, nil
	s.mu.Unlock()
	if stop == nil {
		return nil
	}
	defer crash.Bury()
	return stop()
}

// rearrange takes nodes away, or brings them back.
func (s *site) rearrange() {
	if len(s.nodes) < 2 || !s.w.strikes(10, s.address, "nodes") {
		return
	}
	s.setNodes(s.nodes[:1+s.w.draw(len(s.nodes), s.address, "left")])
}

func (s *site) setNodes(nodes []inventory.Node) {
	s.here = nodes
	s.cluster.SetNodes(nodes)
}

// source is randomness that depends on the seed and the names alone.
func (w *world) source(names ...any) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, names...)
	return rand.New(rand.NewPCG(h.Sum64(), w.cfg.Seed))
}

// provider returns the provider that runs at the moment.
func (s *site) provider() (*provider.Provider, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil || s.crash.Crashed() {
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
	if d.site.w.strikes(50, d.owner, d.site.address, "door") {
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
	err = p.PutManifest(ctx, id, m)
	if now, gone := d.site.provider(); gone != nil || now != p {
		// The process that took it is dead: its answer reaches nobody.
		return fmt.Errorf("sim: connection lost: %w", market.ErrUnavailable)
	}
	if err == nil {
		d.site.w.mu.Lock()
		defer d.site.w.mu.Unlock()
		d.site.w.accepted[acceptance{id, d.site.address}] = true
	}
	return err
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
