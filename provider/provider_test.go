package provider_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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

const (
	theTenant   = market.Address("tenant")
	theProvider = market.Address("provider")
)

// world is a market and a cluster that outlive the providers on them.
type world struct {
	t       *testing.T
	market  *memmarket.Market
	cluster *memcluster.World
	store   provider.Store
	tenant  *tenant.Tenant

	mu       sync.Mutex // guards all below
	current  *provider.Provider
	events   []provider.Event
	progress []tenant.StepKind
}

// newWorld makes a market with blocks every second, inside a bubble.
func newWorld(t *testing.T, cfg memcluster.Config) *world {
	t.Helper()
	money := market.Coins{market.NewCoin("uact", 100_000_000), market.NewCoin("uakt", 100_000_000)}
	m, err := memmarket.New(memmarket.Config{
		Balances: map[market.Address]market.Coins{theTenant: money, theProvider: money, "provider2": money},
		Start:    time.Now(),
	})
	require.NoError(t, err)
	w := &world{t: t, market: m, cluster: memcluster.NewWorld(cfg), store: provider.NewMemStore()}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = m.Run(ctx, time.Second) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	w.tenant, err = tenant.New(tenant.Config{
		Market: m.Client(theTenant), BidTimeout: 20 * time.Second,
		Dial: func(market.Provider) (tenant.Gateway, error) { return w, nil },
		Progress: func(s tenant.Step) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.progress = append(w.progress, s.Kind)
		},
	})
	require.NoError(t, err)
	return w
}

func pricer() bidengine.Pricer {
	return bidengine.PricerFunc(func(context.Context, bidengine.Request) (market.Decimal, error) {
		return market.NewDecimal(10), nil
	})
}

// start runs a provider and returns what ends it, as a crash does: at once and
// without goodbye.
func (w *world) start(change func(*provider.Config)) (p *provider.Provider, stop func()) {
	w.t.Helper()
	c, err := cluster.New(w.cluster.Driver(), cluster.Config{})
	require.NoError(w.t, err)
	cfg := provider.Config{
		Market: w.market.Client(theProvider), Cluster: c, Pricer: pricer(), Store: w.store,
		HostURI: "https://provider.test:8443",
		Observer: provider.ObserverFunc(func(e provider.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
		}),
	}
	if change != nil {
		change(&cfg)
	}
	p, err = provider.New(cfg)
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	w.mu.Lock()
	w.current = p
	w.mu.Unlock()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			assert.NoError(w.t, <-ended)
			assert.NoError(w.t, c.Close())
		})
	}
	w.t.Cleanup(stop)
	return p, stop
}

// The world is the tenant's gateway to the provider that runs at the moment.

func (w *world) PutManifest(ctx context.Context, id market.DeploymentID, m manifest.Manifest) error {
	return w.provider().PutManifest(ctx, id, m)
}

func (w *world) LeaseStatus(ctx context.Context, id market.LeaseID) (api.LeaseStatus, error) {
	return w.provider().LeaseStatus(ctx, id)
}

func (w *world) Screen(ctx context.Context, groups []market.GroupSpec) ([]api.Offer, error) {
	return w.provider().Screen(ctx, theTenant, groups)
}

func (w *world) provider() *provider.Provider {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.current
}

func (w *world) saw(kind provider.EventKind) []provider.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []provider.Event
	for _, e := range w.events {
		if e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

// plan is a web server of one replica; env tells versions apart.
func plan(t *testing.T, env string, change func(*market.Resources)) tenant.Plan {
	t.Helper()
	r := market.Resources{
		ID: 1, CPU: market.CPU{MilliCores: 500}, Memory: market.Memory{Bytes: 128 << 20},
		Storage:   []market.Volume{{Name: "default", Bytes: 512 << 20}},
		Endpoints: []market.Endpoint{{Kind: market.EndpointSharedHTTP}},
	}
	if change != nil {
		change(&r)
	}
	p := tenant.Plan{
		Groups: []market.GroupSpec{{Name: "g", Units: []market.ResourceUnit{{
			Resources: r, Count: 1, Price: market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(1000)},
		}}}},
		Manifest: manifest.Manifest{{Name: "g", Services: []manifest.Service{{
			Name: "web", Image: "web:1", Env: []string{env}, Resources: r, Count: 1,
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
	p.Hash, err = p.Manifest.Version()
	require.NoError(t, err)
	return p
}

// eventually waits in virtual time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 4000 {
		if ok() {
			return
		}
		time.Sleep(250 * time.Millisecond) // virtual: inside a bubble
	}
	t.Fatalf("never happened: %s", what)
}

// empty reports that nothing runs and nothing is promised.
func (w *world) empty() bool {
	ids, err := w.cluster.Driver().List(w.t.Context())
	require.NoError(w.t, err)
	st, err := w.provider().Status(w.t.Context())
	require.NoError(w.t, err)
	return len(ids) == 0 && st.Leases == 0 && st.Inventory != nil &&
		st.Inventory.Available.MilliCores == st.Inventory.Allocatable.MilliCores
}

func TestALeaseLivesFromOrderToClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		w.start(nil)
		one := plan(t, "V=1", nil)
		r, err := w.tenant.Deploy(t.Context(), one)
		require.NoError(t, err)
		require.Equal(t, api.PhaseActive, r.Status[0].Phase)
		require.NotEmpty(t, r.Status[0].Services[0].URIs)

		r, err = w.tenant.Update(t.Context(), r.Deployment, plan(t, "V=2", nil))
		require.NoError(t, err)
		require.EqualValues(t, 2, r.Status[0].Revision)

		balance, err := w.tenant.Balance(t.Context(), r.Deployment)
		require.NoError(t, err)
		require.Positive(t, balance.BlocksLeft)

		require.NoError(t, w.tenant.Close(t.Context(), r.Deployment))
		eventually(t, "everything is gone", w.empty)
		require.NoError(t, w.market.Check())

		lease, err := w.market.Client(theTenant).Lease(t.Context(), r.Leases[0])
		require.NoError(t, err)
		blocks := uint64(lease.ClosedAt - lease.CreatedAt)
		c := w.market.Client(theTenant)
		mine, err := c.Balances(t.Context(), theTenant)
		require.NoError(t, err)
		theirs, err := c.Balances(t.Context(), theProvider)
		require.NoError(t, err)
		assert.Equal(t, market.NewAmount(100_000_000-10*blocks), mine.Of("uact"))
		assert.Equal(t, market.NewAmount(100_000_000+10*blocks), theirs.Of("uact"))
		for _, kind := range []provider.EventKind{
			provider.EventRegistered, provider.EventOrderSeen, provider.EventBid, provider.EventLeaseWon,
			provider.EventManifestAccepted, provider.EventStatus, provider.EventLeaseClosed,
		} {
			assert.NotEmpty(t, w.saw(kind), kind.String())
		}
	})
}

func TestAProviderThatWasDownServesTheLeaseItWon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		_, stop := w.start(nil)
		p := plan(t, "V=1", nil)
		id, orders, err := w.tenant.Create(t.Context(), p)
		require.NoError(t, err)
		bids, err := w.tenant.AwaitBids(t.Context(), orders)
		require.NoError(t, err)
		stop()
		leases, err := w.tenant.Accept(t.Context(), bids)
		require.NoError(t, err)
		w.start(nil)
		require.NoError(t, w.tenant.SendManifest(t.Context(), leases, p.Manifest))
		_, err = w.tenant.AwaitReady(t.Context(), leases, p.Hash)
		require.NoError(t, err)
		require.NoError(t, w.tenant.Close(t.Context(), id))
		eventually(t, "everything is gone", w.empty)
	})
}

func TestALeaseClosedWhileTheProviderWasDownIsTornDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		_, stop := w.start(nil)
		r, err := w.tenant.Deploy(t.Context(), plan(t, "V=1", nil))
		require.NoError(t, err)
		stop()
		require.NoError(t, w.tenant.Close(t.Context(), r.Deployment))
		w.start(nil)
		eventually(t, "everything is gone", w.empty)
	})
}

func TestAnAcceptedManifestIsDeployedAfterACrashBeforeTheClusterTookIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		_, stop := w.start(nil)
		p := plan(t, "V=1", nil)
		_, orders, err := w.tenant.Create(t.Context(), p)
		require.NoError(t, err)
		bids, err := w.tenant.AwaitBids(t.Context(), orders)
		require.NoError(t, err)
		leases, err := w.tenant.Accept(t.Context(), bids)
		require.NoError(t, err)
		w.cluster.SetFault(func(op memcluster.Op, _ market.LeaseID) error {
			if op == memcluster.OpApply {
				return &driver.TransientError{Err: assert.AnError}
			}
			return nil
		})
		require.NoError(t, w.tenant.SendManifest(t.Context(), leases, p.Manifest), "accepted and stored")
		stop()
		w.cluster.SetFault(nil)
		w.start(nil)
		_, err = w.tenant.AwaitReady(t.Context(), leases, p.Hash)
		require.NoError(t, err)
		assert.NotEmpty(t, w.saw(provider.EventRecovered))
	})
}

func TestRunningWorkloadsAreFoundAgainAndNotStartedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		_, stop := w.start(nil)
		r, err := w.tenant.Deploy(t.Context(), plan(t, "V=1", nil))
		require.NoError(t, err)
		before, err := w.cluster.Driver().Status(t.Context(), r.Leases[0])
		require.NoError(t, err)
		stop()
		var applied atomic.Bool
		w.cluster.SetFault(func(op memcluster.Op, _ market.LeaseID) error {
			if op == memcluster.OpApply {
				applied.Store(true)
			}
			return nil
		})
		w.start(nil)
		eventually(t, "the lease is known again", func() bool { return len(w.saw(provider.EventRecovered)) == 1 })
		synctest.Wait()
		after, err := w.cluster.Driver().Status(t.Context(), r.Leases[0])
		require.NoError(t, err)
		assert.Equal(t, before, after)
		assert.False(t, applied.Load(), "an unchanged workload is not applied again")
	})
}

func TestALeaseWithoutManifestIsClosedAtItsDeadlineAlsoAcrossARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		_, stop := w.start(nil)
		_, orders, err := w.tenant.Create(t.Context(), plan(t, "V=1", nil))
		require.NoError(t, err)
		bids, err := w.tenant.AwaitBids(t.Context(), orders)
		require.NoError(t, err)
		leases, err := w.tenant.Accept(t.Context(), bids)
		require.NoError(t, err)
		eventually(t, "lease seen", func() bool { return len(w.saw(provider.EventLeaseWon)) == 1 })
		stop()
		w.start(nil)
		eventually(t, "lease closed", func() bool { return len(w.saw(provider.EventLeaseClosed)) == 1 })
		lease, err := w.market.Client(theTenant).Lease(t.Context(), leases[0])
		require.NoError(t, err)
		assert.Equal(t, market.ReasonManifestTimeout, lease.Reason)
		eventually(t, "everything is gone", w.empty)
	})
}

func TestAWorkloadThatFailsTooLongLosesItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		w.start(nil)
		r, err := w.tenant.Deploy(t.Context(), plan(t, "V=1", nil))
		require.NoError(t, err)
		require.True(t, w.cluster.Break(r.Leases[0], "web", "it crashes"))
		eventually(t, "lease closed", func() bool { return len(w.saw(provider.EventLeaseClosed)) == 1 })
		assert.Equal(t, market.ReasonUnstable, w.saw(provider.EventLeaseClosed)[0].Reason)
	})
}

func TestAClusterThatCannotBeSeenIsNotTakenForBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		p, _ := w.start(nil)
		r, err := w.tenant.Deploy(t.Context(), plan(t, "V=1", nil))
		require.NoError(t, err)
		w.cluster.SetFault(func(memcluster.Op, market.LeaseID) error {
			return &driver.TransientError{Err: assert.AnError}
		})
		time.Sleep(3 * provider.DefaultUnhealthyTimeout) // virtual
		status, err := p.LeaseStatus(t.Context(), r.Leases[0])
		require.NoError(t, err)
		assert.Equal(t, api.PhaseUnknown, status.Phase)
		w.cluster.SetFault(nil)
		lease, err := w.market.Client(theTenant).Lease(t.Context(), r.Leases[0])
		require.NoError(t, err)
		assert.Equal(t, market.LeaseActive, lease.State)
	})
}

func TestAnOrderNobodyCanServeIsDeclinedWithItsReasonAndPaidBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		w.start(nil)
		_, err := w.tenant.Deploy(t.Context(), plan(t, "V=1", func(r *market.Resources) { r.CPU.MilliCores = 384_000 }))
		var none *tenant.NoBidsError
		require.ErrorAs(t, err, &none)
		require.Len(t, none.Refusals, 1)
		assert.Equal(t, string(inventory.InsufficientCPU), none.Refusals[0].Reasons[0].Rule)
		assert.NotEmpty(t, w.saw(provider.EventDeclined))
		mine, err := w.market.Client(theTenant).Balances(t.Context(), theTenant)
		require.NoError(t, err)
		assert.Equal(t, market.NewAmount(100_000_000), mine.Of("uact"), "all is paid back")
	})
}

func TestCapacityThatComesFreeIsOfferedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{Nodes: []inventory.Node{{
			Name: "small", Architecture: "amd64",
			Allocatable: inventory.Quantities{MilliCores: 700, MemoryBytes: 1 << 30, EphemeralBytes: 10 << 30},
		}}})
		w.start(nil)
		first, err := w.tenant.Deploy(t.Context(), plan(t, "V=1", nil))
		require.NoError(t, err)
		_, orders, err := w.tenant.Create(t.Context(), plan(t, "V=2", nil))
		require.NoError(t, err)
		eventually(t, "declined", func() bool { return len(w.saw(provider.EventDeclined)) == 1 })
		require.NoError(t, w.tenant.Close(t.Context(), first.Deployment))
		_, err = w.tenant.AwaitBids(t.Context(), orders)
		require.NoError(t, err)
	})
}

func TestABidThatStandsTooLongIsWithdrawnAndItsDepositComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		w.start(nil)
		_, orders, err := w.tenant.Create(t.Context(), plan(t, "V=1", nil))
		require.NoError(t, err)
		_, err = w.tenant.AwaitBids(t.Context(), orders)
		require.NoError(t, err)
		eventually(t, "withdrawn", func() bool { return len(w.saw(provider.EventBidEnded)) == 1 })
		theirs, err := w.market.Client(theTenant).Balances(t.Context(), theProvider)
		require.NoError(t, err)
		assert.Equal(t, market.NewAmount(100_000_000), theirs.Of("uact"))
		eventually(t, "nothing is promised", w.empty)
		time.Sleep(time.Hour) // virtual: it does not bid on the same order again
		assert.Len(t, w.saw(provider.EventBid), 1)
	})
}

func TestAManifestThatIsNotTheDeploymentsIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		p, _ := w.start(nil)
		one, two := plan(t, "V=1", nil), plan(t, "V=2", nil)
		id, orders, err := w.tenant.Create(t.Context(), one)
		require.NoError(t, err)
		require.ErrorIs(t, p.PutManifest(t.Context(), id, one.Manifest), market.ErrNotFound, "no lease yet")
		bids, err := w.tenant.AwaitBids(t.Context(), orders)
		require.NoError(t, err)
		_, err = w.tenant.Accept(t.Context(), bids)
		require.NoError(t, err)
		require.ErrorIs(t, p.PutManifest(t.Context(), id, two.Manifest), market.ErrMismatch)
		require.NoError(t, p.PutManifest(t.Context(), id, one.Manifest))
		require.NoError(t, p.PutManifest(t.Context(), id, one.Manifest), "the same again is no error")
	})
}

func TestDrainingKeepsLeasesAndBidsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		p, _ := w.start(nil)
		r, err := w.tenant.Deploy(t.Context(), plan(t, "V=1", nil))
		require.NoError(t, err)
		p.Drain(true, "")
		_, err = w.tenant.Deploy(t.Context(), plan(t, "V=2", nil))
		var none *tenant.NoBidsError
		require.ErrorAs(t, err, &none)
		status, err := p.LeaseStatus(t.Context(), r.Leases[0])
		require.NoError(t, err)
		assert.Equal(t, api.PhaseActive, status.Phase)
	})
}

func TestEarningsAreWithdrawnOnSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		w.start(func(c *provider.Config) { c.WithdrawEvery = time.Minute })
		_, err := w.tenant.Deploy(t.Context(), plan(t, "V=1", nil))
		require.NoError(t, err)
		eventually(t, "withdrawn", func() bool { return len(w.saw(provider.EventWithdrawn)) > 1 })
		theirs, err := w.market.Client(theTenant).Balances(t.Context(), theProvider)
		require.NoError(t, err)
		assert.Positive(t, theirs.Of("uact").Cmp(market.NewAmount(100_000_000-500_000)), "more than what is left after the deposit")
	})
}

func TestEventsTellALeasesLifeToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		p, _ := w.start(nil)
		plan := plan(t, "V=1", nil)
		id, orders, err := w.tenant.Create(t.Context(), plan)
		require.NoError(t, err)
		bids, err := w.tenant.AwaitBids(t.Context(), orders)
		require.NoError(t, err)
		leases, err := w.tenant.Accept(t.Context(), bids)
		require.NoError(t, err)
		var mu sync.Mutex
		var kinds []string
		var wg sync.WaitGroup
		wg.Go(func() {
			for e, err := range p.Events(t.Context(), leases[0]) {
				if !assert.NoError(t, err) {
					return
				}
				mu.Lock()
				kinds = append(kinds, e.Kind+": "+e.State)
				mu.Unlock()
			}
		})
		synctest.Wait()
		require.NoError(t, w.tenant.SendManifest(t.Context(), leases, plan.Manifest))
		_, err = w.tenant.AwaitReady(t.Context(), leases, plan.Hash)
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, w.tenant.Close(t.Context(), id))
		wg.Wait()
		assert.Equal(t, "phase-changed: awaiting-manifest", kinds[0])
		assert.Contains(t, kinds, "phase-changed: active")
		assert.Contains(t, kinds, "service-changed: ready")
		assert.Equal(t, "closing: closing", kinds[len(kinds)-1])
	})
}

func TestTwoProvidersOfOneProcessCompete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		w.start(nil)
		other := memcluster.NewWorld(memcluster.Config{})
		c, err := cluster.New(other.Driver(), cluster.Config{})
		require.NoError(t, err)
		var mu sync.Mutex
		lost := 0
		dear, err := provider.New(provider.Config{
			Market: w.market.Client("provider2"), Cluster: c, HostURI: "https://dear.test",
			Pricer: bidengine.PricerFunc(func(context.Context, bidengine.Request) (market.Decimal, error) {
				return market.NewDecimal(11), nil
			}),
			Observer: provider.ObserverFunc(func(e provider.Event) {
				mu.Lock()
				defer mu.Unlock()
				if e.Kind == provider.EventBidEnded {
					lost++
				}
			}),
		})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { assert.NoError(t, dear.Run(ctx)) })
		defer func() { cancel(); wg.Wait(); assert.NoError(t, c.Close()) }()

		_, orders, err := w.tenant.Create(t.Context(), plan(t, "V=1", nil))
		require.NoError(t, err)
		eventually(t, "both have bid", func() bool {
			bids, _, err := w.market.Client(theTenant).Bids(t.Context(), market.BidFilter{State: market.BidOpen}, market.Page{})
			return err == nil && len(bids) == 2
		})
		bids, err := w.tenant.AwaitBids(t.Context(), orders)
		require.NoError(t, err)
		require.Equal(t, theProvider, bids[0].ID.Provider, "the cheaper one")
		_, err = w.tenant.Accept(t.Context(), bids)
		require.NoError(t, err)
		eventually(t, "the dearer one has lost", func() bool { mu.Lock(); defer mu.Unlock(); return lost == 1 })
		st, err := dear.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, st.Inventory.Allocatable.MilliCores, st.Inventory.Available.MilliCores, "its reservation is gone")
	})
}

func TestEveryFaultOfAConfigurationIsNamed(t *testing.T) {
	_, err := provider.New(provider.Config{HostURI: "http://x/path", Workers: -1})
	for _, want := range []string{"Market", "Cluster", "Pricer", "HostURI", "Workers"} {
		assert.ErrorContains(t, err, want)
	}
}
