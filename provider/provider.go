package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// Provider sells the capacity of a cluster. Make it with [New]. Methods other
// than Run may be called at any time from any goroutine.
type Provider struct {
	cfg   Config
	me    market.Address
	queue *queue

	// manifests serializes the acceptance of manifests per deployment.
	manifests keyedMutex[market.DeploymentID]
	// saving serializes the changes of a lease's record.
	saving keyedMutex[market.LeaseID]
	// names serializes the decisions about who has a host name.
	names sync.Mutex
	// bell tells followers of events that a lease may have changed.
	bell bell

	mu       sync.Mutex // guards all below; never held during a call-out
	ledger   *inventory.Ledger
	hasNodes bool
	draining bool
	ready    bool
	height   int64
	records  map[market.LeaseID]Record
	orders   map[market.OrderID]*orderEntry
	health   map[market.LeaseID]*leaseHealth
}

// orderEntry is what is remembered of an order while it is open.
type orderEntry struct {
	// declined holds the reasons of the last decision against it.
	declined []bidengine.Reason
	// bidSeenAt is when our open bid was first seen.
	bidSeenAt time.Time
	// stale says that there will be no further bid: ours was withdrawn because it
	// stood too long, or the market refused it for good.
	stale bool
}

// leaseHealth follows the state of a workload.
type leaseHealth struct {
	// failingSince is when it began to fail, zero while it does not.
	failingSince time.Time
	last         driver.Status
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
	records, err := cfg.Store.Load()
	if err != nil {
		return nil, err
	}
	p := &Provider{
		cfg: cfg, me: cfg.Market.Address(), queue: newQueue(), ledger: ledger,
		records: make(map[market.LeaseID]Record, len(records)),
		orders:  map[market.OrderID]*orderEntry{},
		health:  map[market.LeaseID]*leaseHealth{},
	}
	var promised []inventory.Reservation
	for _, r := range records {
		p.records[r.Lease] = r
		if len(r.Placement.Assignments) > 0 {
			promised = append(promised, inventory.Reservation{Key: r.Lease.OrderID.String(), Placement: r.Placement})
		}
	}
	if err := ledger.Import(promised); err != nil {
		return nil, fmt.Errorf("provider: records: %w", err)
	}
	return p, nil
}

// Address is the provider's account.
func (p *Provider) Address() market.Address { return p.me }

// Drain stops new bids, or with false allows them again. Leases are kept.
func (p *Provider) Drain(on bool) {
	p.mu.Lock()
	p.draining = on
	p.mu.Unlock()
	if !on {
		p.retryDeclined()
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
	g.Go(func() error { return p.runClock(ctx) })
	for range p.cfg.Workers {
		g.Go(func() error { return p.runWorker(ctx) })
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

// knownLeases returns the leases that have a record.
func (p *Provider) knownLeases() []market.LeaseID {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]market.LeaseID, 0, len(p.records))
	for id := range p.records {
		out = append(out, id)
	}
	return out
}

func (p *Provider) leasesOf(d market.DeploymentID) []market.LeaseID {
	return slices.DeleteFunc(p.knownLeases(), func(id market.LeaseID) bool { return id.DeploymentID != d })
}
