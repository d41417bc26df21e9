package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-multierror"
	"golang.org/x/sync/errgroup"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// Cluster is what a provider needs of the machines it sells. A
// [github.com/moorage-dev/moorage/cluster.Cluster] is one. If it is also a
// [driver.Watcher], [driver.LogStreamer] or [driver.Execer], those are used.
type Cluster interface {
	Apply(ctx context.Context, w driver.Workload) error
	Delete(ctx context.Context, id market.LeaseID) error
	Status(ctx context.Context, id market.LeaseID) (driver.Status, error)
	List(ctx context.Context) ([]market.LeaseID, error)
	Nodes(ctx context.Context) ([]inventory.Node, error)
}

// Defaults of [Config].
const (
	DefaultManifestTimeout  = 5 * time.Minute
	DefaultBidTimeout       = 5 * time.Minute
	DefaultUnhealthyTimeout = 15 * time.Minute
	DefaultWithdrawEvery    = time.Hour
	DefaultInventoryEvery   = 30 * time.Second
	DefaultResyncEvery      = 5 * time.Minute
	DefaultWorkers          = 8
)

// Config says what a provider joins and how it behaves. Market, Cluster and
// Pricer are required.
type Config struct {
	// Market signs for the provider's account.
	Market market.Client
	// Cluster runs the workloads.
	Cluster Cluster
	// Pricer sets the prices.
	Pricer bidengine.Pricer
	// Store keeps what must outlive the process; nil means [NewMemStore]. The
	// caller closes it after Run.
	Store Store

	// HostURI is where the gateway is reached: https, a host, an optional port.
	HostURI string
	// Attributes, Email and Website are published with it.
	Attributes     market.Attributes
	Email, Website string
	// Overcommit says how much more than it has may be promised.
	Overcommit inventory.Overcommit

	// ManifestTimeout is how long a tenant has to send the manifest of a lease.
	ManifestTimeout time.Duration
	// BidTimeout is how long a bid stands before it is withdrawn.
	BidTimeout time.Duration
	// UnhealthyTimeout is how long a workload may fail, without a moment of
	// health, before its lease is closed. A cluster that cannot be seen does not
	// count as failing.
	UnhealthyTimeout time.Duration
	// WithdrawEvery is how often earnings are withdrawn.
	WithdrawEvery time.Duration
	// InventoryEvery is how often the nodes are read.
	InventoryEvery time.Duration
	// ResyncEvery is how often everything is looked at without news.
	ResyncEvery time.Duration
	// Workers is how many orders and leases are worked on at a time.
	Workers int

	// Observer may be nil.
	Observer Observer
	// Logger nil discards.
	Logger *slog.Logger
}

// withDefaults fills in what is zero and reports every fault.
func (c Config) withDefaults() (Config, error) {
	var faults *multierror.Error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			faults = multierror.Append(faults, fmt.Errorf(format, args...))
		}
	}
	need(c.Market != nil, "Market is missing")
	need(c.Cluster != nil, "Cluster is missing")
	need(c.Pricer != nil, "Pricer is missing")
	u, err := url.Parse(c.HostURI)
	need(err == nil && u.Scheme == "https" && u.Host != "" && u.Path == "",
		"HostURI %q: want https, a host and no path", c.HostURI)
	for _, d := range []struct {
		name  string
		value *time.Duration
		usual time.Duration
	}{
		{"ManifestTimeout", &c.ManifestTimeout, DefaultManifestTimeout},
		{"BidTimeout", &c.BidTimeout, DefaultBidTimeout},
		{"UnhealthyTimeout", &c.UnhealthyTimeout, DefaultUnhealthyTimeout},
		{"WithdrawEvery", &c.WithdrawEvery, DefaultWithdrawEvery},
		{"InventoryEvery", &c.InventoryEvery, DefaultInventoryEvery},
		{"ResyncEvery", &c.ResyncEvery, DefaultResyncEvery},
	} {
		need(*d.value >= 0, "%s %s: must not be negative", d.name, *d.value)
		if *d.value == 0 {
			*d.value = d.usual
		}
	}
	need(c.Workers >= 0, "Workers %d: must not be negative", c.Workers)
	if c.Workers == 0 {
		c.Workers = DefaultWorkers
	}
	if c.Store == nil {
		c.Store = NewMemStore()
	}
	if c.Observer == nil {
		c.Observer = ObserverFunc(func(Event) {})
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if faults != nil {
		return c, fmt.Errorf("provider: config: %w", faults)
	}
	return c, nil
}

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

// runMarket registers the provider, reads the state, and follows the news.
func (p *Provider) runMarket(ctx context.Context) error {
	var head market.Head
	err := p.persist(ctx, "start", func() (err error) {
		if head, err = p.cfg.Market.Head(ctx); err != nil {
			return err
		}
		if err := p.register(ctx); err != nil {
			return err
		}
		if err := p.refreshNodes(ctx); err != nil {
			return err
		}
		return p.resync(ctx)
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.ready, p.height = true, head.Height
	p.mu.Unlock()
	for block, err := range p.cfg.Market.Watch(ctx, head.Height+1) {
		if err != nil {
			return fmt.Errorf("provider: watch: %w", err)
		}
		p.mu.Lock()
		p.height = block.Height
		p.mu.Unlock()
		for _, e := range block.Events {
			p.news(e)
		}
	}
	return ctx.Err()
}

// news turns an event of the market into something to look at.
func (p *Provider) news(e market.Event) {
	switch e.Kind {
	case market.EventOrderCreated, market.EventOrderClosed, market.EventBidCreated, market.EventBidClosed:
		p.queue.add(orderTask(e.ID.OrderID))
	case market.EventLeaseCreated, market.EventLeaseClosed:
		p.queue.add(orderTask(e.ID.OrderID))
		if e.ID.Provider == p.me {
			p.queue.add(leaseTask(e.ID))
		}
	case market.EventDeploymentClosed, market.EventAccountDeposited, market.EventAccountOverdrawn,
		market.EventDeploymentUpdated:
		for _, id := range p.leasesOf(e.ID.DeploymentID) {
			p.queue.add(leaseTask(id))
		}
	case market.EventDeploymentCreated, market.EventGroupStarted, market.EventGroupPaused, market.EventGroupClosed,
		market.EventPaymentWithdrawn, market.EventProviderChanged, market.EventCertificateChanged, market.EventAuditChanged:
		// They change no order or lease of ours by themselves.
	}
}

// persist calls f until it succeeds or fails for good. An error that no rule
// stands behind, such as an answer that was lost, is worth another look.
func (p *Provider) persist(ctx context.Context, what string, f func() error) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := f()
		if err == nil || ctx.Err() != nil || final(err) {
			return err
		}
		p.cfg.Logger.Warn("not ready, trying again", "step", what, "wait", wait, "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// passing reports whether an error may go away by itself.
func passing(err error) bool {
	var transient *driver.TransientError
	return errors.Is(err, market.ErrUnavailable) || errors.As(err, &transient)
}

// final reports whether doing the same again cannot help.
func final(err error) bool {
	var rule *market.RuleError
	return errors.As(err, &rule) || errors.Is(err, market.ErrInvalid) ||
		errors.Is(err, market.ErrUnauthorized) || errors.Is(err, market.ErrInsufficientFunds)
}

// register puts the provider's facts on the market if they are not there.
func (p *Provider) register(ctx context.Context) error {
	want := market.Provider{
		Owner: p.me, HostURI: p.cfg.HostURI, Attributes: p.cfg.Attributes.Sorted(),
		Email: p.cfg.Email, Website: p.cfg.Website,
	}
	have, err := p.cfg.Market.Provider(ctx, p.me)
	var msg market.Msg = market.UpdateProvider{Provider: want}
	switch {
	case errors.Is(err, market.ErrNotFound):
		msg = market.CreateProvider{Provider: want}
	case err != nil:
		return err
	case have.HostURI == want.HostURI && slices.Equal(have.Attributes, want.Attributes) &&
		have.Email == want.Email && have.Website == want.Website:
		msg = nil
	}
	if msg != nil {
		if _, err := p.cfg.Market.Submit(ctx, msg); err != nil {
			return fmt.Errorf("provider: register: %w", err)
		}
	}
	p.observe(Event{Kind: EventRegistered})
	return nil
}

// resync puts everything on the market, in the store and on the cluster that
// could concern us into the queue.
func (p *Provider) resync(ctx context.Context) error {
	m := p.cfg.Market
	leases := func(page market.Page) ([]market.Lease, string, error) {
		return m.Leases(ctx, market.LeaseFilter{Provider: p.me, State: market.LeaseActive}, page)
	}
	for l, err := range market.All(leases) {
		if err != nil {
			return err
		}
		p.queue.add(leaseTask(l.ID))
	}
	running, err := p.cfg.Cluster.List(ctx)
	if err != nil {
		return err
	}
	for _, id := range append(running, p.knownLeases()...) {
		p.queue.add(leaseTask(id))
	}
	bids := func(page market.Page) ([]market.Bid, string, error) {
		return m.Bids(ctx, market.BidFilter{Provider: p.me, State: market.BidOpen}, page)
	}
	for b, err := range market.All(bids) {
		if err != nil {
			return err
		}
		p.queue.add(orderTask(b.ID.OrderID))
	}
	orders := func(page market.Page) ([]market.Order, string, error) {
		return m.Orders(ctx, market.OrderFilter{State: market.OrderOpen}, page)
	}
	for o, err := range market.All(orders) {
		if err != nil {
			return err
		}
		p.queue.add(orderTask(o.ID))
	}
	return nil
}

// runCluster follows the cluster's news.
func (p *Provider) runCluster(ctx context.Context) error {
	w, ok := p.cfg.Cluster.(driver.Watcher)
	if !ok {
		return nil
	}
	for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, lastRetry) {
		for id, err := range w.Watch(ctx) {
			if err != nil {
				if errors.Is(err, errors.ErrUnsupported) {
					return nil
				}
				p.cfg.Logger.Warn("lost sight of the cluster", "err", err)
				break
			}
			wait = firstRetry
			p.queue.add(leaseTask(id))
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return ctx.Err()
}

// runClock does what is due by time alone.
func (p *Provider) runClock(ctx context.Context) error {
	nodes, all, money := time.NewTicker(p.cfg.InventoryEvery), time.NewTicker(p.cfg.ResyncEvery), time.NewTicker(p.cfg.WithdrawEvery)
	defer nodes.Stop()
	defer all.Stop()
	defer money.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-nodes.C:
			err = p.refreshNodes(ctx)
		case <-all.C:
			err = p.resync(ctx)
		case <-money.C:
			err = p.Withdraw(ctx)
		}
		if err != nil && ctx.Err() == nil {
			p.cfg.Logger.Warn("periodic work failed, it will be tried again", "err", err)
		}
	}
}

// runWorker works on one thing after another.
func (p *Provider) runWorker(ctx context.Context) error {
	for {
		t, ok := p.queue.next(ctx)
		if !ok {
			return ctx.Err()
		}
		var err error
		if t.lease {
			err = p.reconcileLease(ctx, t.id)
		} else {
			err = p.reconcileOrder(ctx, t.id.OrderID)
		}
		if t.lease {
			p.bell.ring(t.id)
		}
		if n := p.queue.done(t, err); n > 0 && ctx.Err() == nil {
			p.cfg.Logger.Warn("will try again", "lease", t.id, "failures", n, "err", err)
		}
	}
}

// refreshNodes reads the cluster's nodes into the ledger.
func (p *Provider) refreshNodes(ctx context.Context) error {
	nodes, err := p.cfg.Cluster.Nodes(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	err = p.ledger.SetNodes(nodes)
	p.hasNodes = err == nil
	p.mu.Unlock()
	if err == nil {
		p.retryDeclined()
	}
	return err
}

// retryDeclined looks again at orders that were not bid on.
func (p *Provider) retryDeclined() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, e := range p.orders {
		if len(e.declined) > 0 {
			p.queue.add(orderTask(id))
		}
	}
}

func (p *Provider) observe(e Event) {
	e.Time = time.Now()
	p.cfg.Observer.Observe(e)
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

// keyedMutex is a mutex per key; a key takes room only while it is locked.
type keyedMutex[K comparable] struct {
	mu    sync.Mutex // guards locks
	locks map[K]*keyedLock
}

type keyedLock struct {
	sync.Mutex
	users int
}

// lock locks the key and returns what unlocks it.
func (m *keyedMutex[K]) lock(key K) (unlock func()) {
	m.mu.Lock()
	if m.locks == nil {
		m.locks = map[K]*keyedLock{}
	}
	l := m.locks[key]
	if l == nil {
		l = &keyedLock{}
		m.locks[key] = l
	}
	l.users++
	m.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		m.mu.Lock()
		defer m.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(m.locks, key)
		}
	}
}
