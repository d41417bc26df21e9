package providertest_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/provider/providertest"
)

// mutant is a harness with one fault, and the cases that must notice it.
type mutant struct {
	name, caught string
	harness      providertest.Harness
}

func mutants() []mutant {
	return slices.Concat(pricerMutants(), storeMutants(), clusterMutants(), marketMutants(), addressMutants())
}

func pricers(f bidengine.PricerFunc) providertest.Harness { return providertest.Harness{Pricer: f} }

func pricerMutants() []mutant {
	ten := market.NewDecimal(10)
	var busy atomic.Int32
	return []mutant{
		{"asks nothing", "price of a plain order", pricers(func(context.Context, bidengine.Request) (market.Decimal, error) {
			return market.Decimal{}, nil
		})},
		{"changes the request", "price of a plain order", pricers(func(_ context.Context, r bidengine.Request) (market.Decimal, error) {
			r.Order.Spec.Units[0].Count = 7
			return ten, nil
		})},
		{"fails in a strange denomination", "price in a strange denomination", pricers(func(_ context.Context, r bidengine.Request) (market.Decimal, error) {
			if r.Denom != "uact" {
				return market.Decimal{}, errors.New("boom")
			}
			return ten, nil
		})},
		{"ignores the context", "price and the context", pricers(func(context.Context, bidengine.Request) (market.Decimal, error) {
			<-time.After(10 * time.Minute)
			return ten, nil
		})},
		{"cannot be asked twice at a time", "prices at the same time", pricers(func(context.Context, bidengine.Request) (market.Decimal, error) {
			defer busy.Add(-1)
			if busy.Add(1) > 1 {
				return market.Decimal{}, errors.New("busy")
			}
			<-time.After(time.Millisecond)
			return ten, nil
		})},
		{"asks more than anybody pays", "from order to close", pricers(func(context.Context, bidengine.Request) (market.Decimal, error) {
			return market.NewDecimal(5_000_000), nil
		})},
	}
}

// brokenStore is a store with some methods replaced.
type brokenStore struct {
	provider.Store
	save   func(provider.Store, []provider.Record) error
	remove func(provider.Store, market.LeaseID) error
	load   func(provider.Store) ([]provider.Record, error)
}

func (s brokenStore) Save(rs ...provider.Record) error {
	if s.save != nil {
		return s.save(s.Store, rs)
	}
	return s.Store.Save(rs...)
}

func (s brokenStore) Remove(id market.LeaseID) error {
	if s.remove != nil {
		return s.remove(s.Store, id)
	}
	return s.Store.Remove(id)
}

func (s brokenStore) Load() ([]provider.Record, error) {
	if s.load != nil {
		return s.load(s.Store)
	}
	return s.Store.Load()
}

func stores(b brokenStore) providertest.Harness {
	return providertest.Harness{Store: func(testing.TB) func() (provider.Store, error) {
		mem := provider.NewMemStore()
		return func() (provider.Store, error) { s := b; s.Store = mem; return s, nil }
	}}
}

func storeMutants() []mutant {
	return []mutant{
		{"forgets what is saved", "store", stores(brokenStore{save: func(provider.Store, []provider.Record) error { return nil }})},
		{"saves the first record only", "store", stores(brokenStore{save: func(s provider.Store, rs []provider.Record) error { return s.Save(rs[0]) }})},
		{"keeps what is removed", "store", stores(brokenStore{remove: func(provider.Store, market.LeaseID) error { return nil }})},
		{"loses manifests", "accepted and crashed", stores(brokenStore{load: func(s provider.Store) ([]provider.Record, error) {
			rs, err := s.Load()
			for i := range rs {
				rs[i].Manifest, rs[i].Revision = nil, 0
			}
			return rs, err
		}})},
		{"loses everything at a restart", "running and restarted", stores(brokenStore{load: func(provider.Store) ([]provider.Record, error) { return nil, nil }})},
		{"cannot remove what is gone", "store", stores(brokenStore{remove: func(s provider.Store, id market.LeaseID) error {
			rs, _ := s.Load()
			if !slices.ContainsFunc(rs, func(r provider.Record) bool { return r.Lease == id }) {
				return errors.New("gone already")
			}
			return s.Remove(id)
		}})},
	}
}

// brokenCluster is a cluster with some methods replaced. It does not watch: the
// provider polls.
type brokenCluster struct {
	provider.Cluster
	apply  func(provider.Cluster, context.Context, driver.Workload) error
	delete func(provider.Cluster, context.Context, market.LeaseID) error
	status func(provider.Cluster, context.Context, market.LeaseID) (driver.Status, error)
	list   func(provider.Cluster, context.Context) ([]market.LeaseID, error)
	nodes  func(provider.Cluster, context.Context) ([]inventory.Node, error)
}

func (k brokenCluster) Apply(ctx context.Context, w driver.Workload) error {
	if k.apply != nil {
		return k.apply(k.Cluster, ctx, w)
	}
	return k.Cluster.Apply(ctx, w)
}

func (k brokenCluster) Delete(ctx context.Context, id market.LeaseID) error {
	if k.delete != nil {
		return k.delete(k.Cluster, ctx, id)
	}
	return k.Cluster.Delete(ctx, id)
}

func (k brokenCluster) Status(ctx context.Context, id market.LeaseID) (driver.Status, error) {
	if k.status != nil {
		return k.status(k.Cluster, ctx, id)
	}
	return k.Cluster.Status(ctx, id)
}

func (k brokenCluster) List(ctx context.Context) ([]market.LeaseID, error) {
	if k.list != nil {
		return k.list(k.Cluster, ctx)
	}
	return k.Cluster.List(ctx)
}

func (k brokenCluster) Nodes(ctx context.Context) ([]inventory.Node, error) {
	if k.nodes != nil {
		return k.nodes(k.Cluster, ctx)
	}
	return k.Cluster.Nodes(ctx)
}

func (k brokenCluster) Watch(ctx context.Context) iter.Seq2[market.LeaseID, error] {
	return k.Cluster.(driver.Watcher).Watch(ctx)
}

func clusters(b brokenCluster) providertest.Harness {
	return providertest.Harness{Cluster: func(tb testing.TB) providertest.Cluster {
		tb.Helper()
		mem := providertest.MemoryCluster(tb)
		return providertest.Cluster{Open: func() (provider.Cluster, error) {
			k := b
			var err error
			k.Cluster, err = mem.Open()
			return k, err
		}}
	}}
}

func clusterMutants() []mutant {
	var applied atomic.Int32
	return []mutant{
		{"takes a workload and forgets it", "from order to close", clusters(brokenCluster{apply: func(provider.Cluster, context.Context, driver.Workload) error { return nil }})},
		{"keeps what is deleted", "from order to close", clusters(brokenCluster{delete: func(provider.Cluster, context.Context, market.LeaseID) error { return nil }})},
		{"takes only first revisions", "from order to close", clusters(brokenCluster{apply: func(k provider.Cluster, ctx context.Context, w driver.Workload) error {
			if w.Revision > 1 {
				return nil
			}
			return k.Apply(ctx, w)
		}})},
		{"deletes everything with one lease", "two leases", clusters(brokenCluster{delete: func(k provider.Cluster, ctx context.Context, _ market.LeaseID) error {
			ids, err := k.List(ctx)
			for _, id := range ids {
				err = errors.Join(err, k.Delete(ctx, id))
			}
			return err
		}, status: func(k provider.Cluster, ctx context.Context, id market.LeaseID) (driver.Status, error) {
			s, err := k.Status(ctx, id)
			if errors.Is(err, driver.ErrNotFound) && applied.Load() > 100 {
				return driver.Status{Lease: id, Revision: 1, State: driver.Ready}, nil
			}
			return s, err
		}, apply: func(k provider.Cluster, ctx context.Context, w driver.Workload) error {
			if applied.Add(1) > 2 {
				return &driver.TransientError{Err: errors.New("never again")}
			}
			return k.Apply(ctx, w)
		}})},
		{"says that it has endless room", "refusals have reasons", clusters(brokenCluster{nodes: func(k provider.Cluster, ctx context.Context) ([]inventory.Node, error) {
			nodes, err := k.Nodes(ctx)
			for i := range nodes {
				nodes[i].Allocatable.MilliCores = 1 << 40
			}
			return nodes, err
		}})},
		{"starts everything again when a provider comes", "running and restarted", clusters(brokenCluster{list: func(k provider.Cluster, ctx context.Context) ([]market.LeaseID, error) {
			ids, err := k.List(ctx)
			for _, id := range ids {
				s, _ := k.Status(ctx, id)
				if s.State == driver.Ready {
					<-time.After(time.Second)
					err = errors.Join(err, k.Delete(ctx, id))
				}
			}
			return ids, err
		}})},
		{"loses a replica", "scaling in place", clusters(brokenCluster{apply: func(k provider.Cluster, ctx context.Context, w driver.Workload) error {
			w = w.Clone()
			for i := range w.Group.Services {
				w.Group.Services[i].Count = 1
			}
			return k.Apply(ctx, w)
		}})},
	}
}

// brokenMarket is a provider's client with some methods replaced.
type brokenMarket struct {
	market.Client
	submit func(context.Context, market.Client, []market.Msg) (market.Receipt, error)
	lease  func(market.Client, context.Context, market.LeaseID) (market.Lease, error)
	leases func(market.Client, context.Context, market.LeaseFilter, market.Page) ([]market.Lease, string, error)
	order  func(market.Client, context.Context, market.OrderID) (market.Order, error)
	watch  func(market.Client, context.Context, int64) iter.Seq2[market.Block, error]
}

func (m brokenMarket) Submit(ctx context.Context, msgs ...market.Msg) (market.Receipt, error) {
	if m.submit != nil {
		return m.submit(ctx, m.Client, msgs)
	}
	return m.Client.Submit(ctx, msgs...)
}

func (m brokenMarket) Lease(ctx context.Context, id market.LeaseID) (market.Lease, error) {
	if m.lease != nil {
		return m.lease(m.Client, ctx, id)
	}
	return m.Client.Lease(ctx, id)
}

func (m brokenMarket) Leases(ctx context.Context, f market.LeaseFilter, p market.Page) ([]market.Lease, string, error) {
	if m.leases != nil {
		return m.leases(m.Client, ctx, f, p)
	}
	return m.Client.Leases(ctx, f, p)
}

func (m brokenMarket) Order(ctx context.Context, id market.OrderID) (market.Order, error) {
	if m.order != nil {
		return m.order(m.Client, ctx, id)
	}
	return m.Client.Order(ctx, id)
}

func (m brokenMarket) Watch(ctx context.Context, from int64) iter.Seq2[market.Block, error] {
	if m.watch != nil {
		return m.watch(m.Client, ctx, from)
	}
	return m.Client.Watch(ctx, from)
}

func markets(b brokenMarket) providertest.Harness {
	return providertest.Harness{Market: func(tb testing.TB) providertest.Market {
		tb.Helper()
		mem := providertest.MemoryMarket(tb)
		b.Client = mem.Provider
		mem.Provider = b
		return mem
	}}
}

// pretends carries out nothing of a kind and says that it did.
func pretends[M market.Msg](ctx context.Context, m market.Client, msgs []market.Msg) (market.Receipt, error) {
	if _, ok := msgs[0].(M); ok {
		return market.Receipt{}, nil
	}
	return m.Submit(ctx, msgs...)
}

func marketMutants() []mutant {
	gone := func(market.Client, context.Context, market.LeaseID) (market.Lease, error) {
		return market.Lease{}, market.ErrNotFound
	}
	return []mutant{
		{"pretends to take bids", "from order to close", markets(brokenMarket{submit: pretends[market.CreateBid]})},
		{"pretends to pay", "earnings on schedule", markets(brokenMarket{submit: pretends[market.WithdrawLease]})},
		{"pretends to scale", "scaling in place", markets(brokenMarket{submit: pretends[market.ConfirmScale]})},
		{"pretends to close", "no manifest", markets(brokenMarket{submit: pretends[market.CloseBid]})},
		{"forgets to decline", "scaling without room", markets(brokenMarket{submit: pretends[market.DeclineScale]})},
		{"loses leases", "running and restarted", markets(brokenMarket{lease: gone})},
		{"lists no leases", "wrong manifest", markets(brokenMarket{leases: func(market.Client, context.Context, market.LeaseFilter, market.Page) ([]market.Lease, string, error) {
			return nil, "", nil
		}})},
		{"shows old orders", "scaling and crashing", markets(brokenMarket{order: func(m market.Client, ctx context.Context, id market.OrderID) (market.Order, error) {
			o, err := m.Order(ctx, id)
			for i := range o.Spec.Units {
				o.Spec.Units[i].Count = 1
			}
			return o, err
		}})},
		{"keeps the deposits of bids", "deposits come back", keepsDeposits()},
		{"leases never end", "closed while down", markets(brokenMarket{lease: func(m market.Client, ctx context.Context, id market.LeaseID) (market.Lease, error) {
			l, err := m.Lease(ctx, id)
			l.State = market.LeaseActive
			return l, err
		}})},
	}
}

// keepsDeposits takes as much from the provider with each bid as the deposit is,
// and does not give it back.
func keepsDeposits() providertest.Harness {
	return markets(brokenMarket{submit: func(ctx context.Context, m market.Client, msgs []market.Msg) (market.Receipt, error) {
		r, err := m.Submit(ctx, msgs...)
		if bid, ok := msgs[0].(market.CreateBid); ok && err == nil {
			other := market.CreateDeployment{
				ID: market.DeploymentID{Owner: m.Address(), DSeq: bid.ID.DSeq}, Hash: market.Hash{1},
				Deposit: market.NewCoin("uact", 500_000),
				Groups: []market.GroupSpec{{Name: "sink", Units: []market.ResourceUnit{{
					Resources: market.Resources{
						ID: 1, CPU: market.CPU{MilliCores: 100}, Memory: market.Memory{Bytes: 1 << 20},
						Storage: []market.Volume{{Name: "default", Bytes: 1 << 20}},
					},
					Count: 1, Price: market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(1)},
				}}}},
			}
			go func() { _, _ = m.Submit(context.WithoutCancel(ctx), other) }()
		}
		return r, err
	}})
}

func TestEveryMutantIsCaughtByTheExpectedCase(t *testing.T) {
	cases := providertest.Cases()
	for _, m := range mutants() {
		t.Run(m.name, func(t *testing.T) {
			i := slices.IndexFunc(cases, func(c providertest.Case) bool { return c.Name == m.caught })
			require.GreaterOrEqual(t, i, 0, "no case %q", m.caught)
			synctest.Test(t, func(t *testing.T) {
				assert.Error(t, m.harness.Check(t, cases[i]), "the case %q did not notice", m.caught)
				<-time.After(11 * time.Minute) // virtual: what still hangs ends
			})
		})
	}
}

// untested are cases that no fault of one part alone breaks: they are about the
// provider itself.
func untested() []string {
	return []string{"draining", "won while down", "open bid and restarted", "crash at any step", "crash at any step with an address"}
}

func TestEveryCaseOfAPartCatchesAMutant(t *testing.T) {
	for _, c := range providertest.Cases() {
		caught := slices.ContainsFunc(mutants(), func(m mutant) bool { return m.caught == c.Name })
		assert.NotEqual(t, caught, slices.Contains(untested(), c.Name), "case %q", c.Name)
	}
}
