package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// Provider sells the capacity of a cluster. Make it with [New]. Methods other
// than Run may be called at any time from any goroutine.
type Provider struct {
	cfg           Config
	me            market.Address
	queue         queues
	bids, payouts *batcher
	cache         factsCache

	// manifests serializes the acceptance of manifests per deployment.
	manifests keyedMutex[market.DeploymentID]
	// saving serializes the changes of a lease's record.
	saving keyedMutex[market.LeaseID]
	// names serializes the decisions about who has a host name.
	names sync.Mutex
	// drains serializes what is stored and done about draining.
	drains sync.Mutex
	// reading serializes the reading of the nodes, so that what was read last
	// counts. It has one key, "": it is held while the cluster is asked, which a
	// plain mutex is not for; see [keyedMutex].
	reading keyedMutex[string]
	// unreadable names the records that the store keeps aside.
	unreadable []string
	// addresses has the leased addresses; nil when none are leased.
	addresses *addressBook
	// bell tells followers of events that a lease may have changed.
	bell bell

	// restored is closed when every promise made before is in the ledger: from
	// then on new ones may be made.
	restored chan struct{}

	mu       sync.Mutex // guards all below; never held during a call-out
	ledger   *inventory.Ledger
	hasNodes bool
	nodes    []inventory.Node // as read last
	draining draining
	height   int64
	pace     pace
	vitals   vitals
	records  map[market.LeaseID]Record // of leases, and of bids that stand
	orders   map[market.OrderID]*orderEntry
	health   map[market.LeaseID]*leaseHealth
}

// draining says whether new bids are made.
type draining struct {
	on     bool
	notice string
}

// orderEntry is what is remembered of an order while it is open.
type orderEntry struct {
	seenAt time.Time
	// declined holds the reasons of the last decision against it.
	declined []bidengine.Reason
	// bid is our open bid, nil when there is none.
	bid *market.Bid
	// stale says that there will be no further bid: ours was withdrawn because it
	// stood too long, or the market refused it for good.
	stale bool
}

// New checks the configuration and loads the records. It starts nothing. The
// error lists every fault of the configuration.
func New(cfg Config) (*Provider, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	ledger, err := inventory.New(nil, cfg.Overcommit)
	if err != nil {
		return nil, fmt.Errorf("provider: config: %w", err)
	}
	records, unreadable, err := load(cfg)
	if err != nil {
		return nil, err
	}
	drain, err := cfg.loadDrain()
	if err != nil {
		return nil, err
	}
	book, err := openAddresses(cfg)
	if err != nil {
		return nil, err
	}
	p := &Provider{
		addresses: book,
		cfg:       cfg, me: cfg.Market.Address(), queue: newQueues(), ledger: ledger,
		bids: &batcher{market: cfg.Market}, payouts: &batcher{market: cfg.Market}, restored: make(chan struct{}),
		draining: drain, unreadable: unreadable,
		records: make(map[market.LeaseID]Record, len(records)),
		orders:  map[market.OrderID]*orderEntry{},
		health:  map[market.LeaseID]*leaseHealth{},
	}
	for _, r := range records {
		p.records[r.Lease] = r
	}
	if err := ledger.Import(promises(records)); err != nil {
		return nil, fmt.Errorf("provider: records: %w", err)
	}
	return p, nil
}

// load reads the records. Those that cannot be read are told and named: their
// leases are found on the market.
func load(cfg Config) (records []Record, unreadable []string, err error) {
	records, err = cfg.Store.Load()
	if bad, ok := errors.AsType[*UnreadableError](err); ok {
		cfg.Logger.Error("records cannot be read and are kept aside", "keys", bad.Keys)
		return records, bad.Keys, nil
	}
	return records, nil, err
}

// loadDrain tells how the provider starts.
func (c Config) loadDrain() (draining, error) {
	d := draining{on: c.Drain}
	s, ok := c.Store.(DrainStore)
	if !ok {
		return d, nil
	}
	on, notice, err := s.LoadDrain()
	if err != nil {
		return d, fmt.Errorf("provider: store: drain: %w", err)
	}
	return draining{on || c.Drain, notice}, nil
}

// promises are the reservations of records. Where a crash left two with one
// card, leases come before bids; whoever goes without gets a new place when the
// cluster is seen.
func promises(records []Record) []inventory.Reservation {
	records = slices.Clone(records)
	slices.SortFunc(records, func(a, b Record) int {
		if a.Won() != b.Won() {
			return map[bool]int{true: -1, false: 1}[a.Won()]
		}
		return strings.Compare(a.Lease.String(), b.Lease.String())
	})
	type card struct{ node, id string }
	taken := map[card]bool{}
	var out []inventory.Reservation
	for _, r := range records {
		var cards []card
		for _, a := range r.Placement.Assignments {
			for _, g := range a.Resources.GPUs {
				cards = append(cards, card{a.Node, g.ID})
			}
		}
		if len(r.Placement.Assignments) == 0 || slices.ContainsFunc(cards, func(c card) bool { return taken[c] }) {
			continue
		}
		for _, c := range cards {
			taken[c] = true
		}
		out = append(out, inventory.Reservation{Key: r.Lease.OrderID.String(), Placement: r.Placement})
	}
	return out
}

// Address is the provider's account.
func (p *Provider) Address() market.Address { return p.me }

// Drain stops new bids, or with false allows them again; bids that stand and
// leases are kept. The notice says to tenants and operators why, for example
// "maintenance until 18:00 UTC"; it may be "". With a [DrainStore] it holds across
// restarts.
func (p *Provider) Drain(on bool, notice string) {
	p.drains.Lock()
	defer p.drains.Unlock()
	if s, ok := p.cfg.Store.(DrainStore); ok {
		if err := s.SaveDrain(on, notice); err != nil {
			p.cfg.Logger.Error("draining will not outlive a restart", "on", on, "err", err)
		}
	}
	p.mu.Lock()
	p.draining = draining{on, notice}
	p.mu.Unlock()
	p.cfg.Logger.Info("draining", "on", on, "notice", notice)
	if !on {
		p.retryDeclined(func(r bidengine.Reason) bool { return r.Code == bidengine.Draining })
	}
}

// Run works until the context ends, then returns nil; it returns an error when
// going on is impossible. It may be called once. Workloads, bids and leases
// stay as they are when it ends.
func (p *Provider) Run(ctx context.Context) error {
	defer p.queue.close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.runMarket(ctx) })
	g.Go(func() error { return p.runCluster(ctx) })
	g.Go(func() error { return p.runNodes(ctx) })
	g.Go(func() error { return p.runClock(ctx) })
	g.Go(func() error { return p.runMoney(ctx) })
	g.Go(func() error { return p.runAddresses(ctx) })
	g.Go(func() error { return p.runAnnouncer(ctx) })
	for range p.cfg.Workers {
		g.Go(func() error { return p.runWorker(ctx, p.queue.leases) })
	}
	for range p.cfg.BidWorkers {
		g.Go(func() error { return p.runWorker(ctx, p.queue.orders) })
	}
	err := g.Wait()
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

func (p *Provider) observe(e Event) {
	e.Time = time.Now()
	p.cfg.Observer.Observe(e)
}

// record returns what is remembered of a lease, and whether anything is.
func (p *Provider) record(id market.LeaseID) (Record, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.records[id]
	return r, ok
}

// knownLeases returns the leases that are ours, as far as the records say.
func (p *Provider) knownLeases() []market.LeaseID {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]market.LeaseID, 0, len(p.records))
	for id, r := range p.records {
		if r.Won() {
			out = append(out, id)
		}
	}
	return out
}

func (p *Provider) leasesOf(d market.DeploymentID) []market.LeaseID {
	return slices.DeleteFunc(p.knownLeases(), func(id market.LeaseID) bool { return id.DeploymentID != d })
}
