package provider_test

import (
	"context"
	"fmt"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// deployed deploys version 1 and updates it up to version n.
func (w *world) deployed(n int) (market.DeploymentID, market.LeaseID) {
	w.t.Helper()
	r, err := w.tenant.Deploy(w.t.Context(), plan(w.t, "V=1", nil))
	require.NoError(w.t, err)
	for i := 2; i <= n; i++ {
		_, err = w.tenant.Update(w.t.Context(), r.Deployment, plan(w.t, fmt.Sprintf("V=%d", i), nil))
		require.NoError(w.t, err)
	}
	return r.Deployment, r.Leases[0]
}

func (w *world) runs(id market.LeaseID) market.Hash {
	st, err := w.cluster.Driver().Status(w.t.Context(), id)
	require.NoError(w.t, err)
	return st.Hash
}

func TestALeaseWhoseRecordIsLostRunsOnAndTakesUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		_, stop := w.start(nil)
		id, lease := w.deployed(4)
		stop()
		w.store = provider.NewMemStore()
		w.start(nil)
		time.Sleep(10 * provider.DefaultManifestTimeout)
		st, err := w.provider().LeaseStatus(t.Context(), lease)
		require.NoError(t, err)
		assert.Contains(t, st.Reason, "send it again")
		l, err := w.market.Client(theTenant).Lease(t.Context(), lease)
		require.NoError(t, err)
		require.Equal(t, market.LeaseActive, l.State, "what runs is not ended for want of a manifest")

		_, err = w.tenant.Update(t.Context(), id, plan(t, "V=5", nil))
		require.NoError(t, err)
		assert.Equal(t, plan(t, "V=5", nil).Hash, w.runs(lease))
		require.NoError(t, w.tenant.Close(t.Context(), id))
		eventually(t, "everything is gone", w.empty)
	})
}

// kept is a store of which copies can be put back.
type kept struct{ provider.Store }

func (k kept) copy(t *testing.T) provider.Store {
	t.Helper()
	records, err := k.Load()
	require.NoError(t, err)
	out := provider.NewMemStore()
	require.NoError(t, out.Save(records...))
	return out
}

func TestAnOlderCopyOfTheStoreRollsNothingBackAndTakesUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		_, stop := w.start(nil)
		id, lease := w.deployed(1)
		old := kept{w.store}.copy(t)
		for i := 2; i <= 4; i++ {
			_, err := w.tenant.Update(t.Context(), id, plan(t, fmt.Sprintf("V=%d", i), nil))
			require.NoError(t, err)
		}
		stop()
		w.store = old
		w.start(nil)
		time.Sleep(time.Minute)
		require.Equal(t, plan(t, "V=4", nil).Hash, w.runs(lease), "what the market has is not replaced by what it had")
		require.NoError(t, w.tenant.SendManifest(t.Context(), []market.LeaseID{lease}, plan(t, "V=4", nil).Manifest))
		_, err := w.tenant.Update(t.Context(), id, plan(t, "V=2", nil))
		require.NoError(t, err)
		assert.Equal(t, plan(t, "V=2", nil).Hash, w.runs(lease))
	})
}

func TestARecordThatTheMarketAgreesWithReplacesWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		_, stop := w.start(nil)
		id, lease := w.deployed(1)
		old := kept{w.store}.copy(t)
		_, err := w.tenant.Update(t.Context(), id, plan(t, "V=2", nil))
		require.NoError(t, err)
		stop()
		_, err = w.market.Client(theTenant).Submit(t.Context(), market.UpdateDeployment{ID: id, Hash: plan(t, "V=1", nil).Hash})
		require.NoError(t, err)
		w.store = old
		w.start(nil)
		eventually(t, "the record is in force", func() bool { return w.runs(lease) == plan(t, "V=1", nil).Hash })
	})
}

func TestABidWithdrawnForWantOfRoomIsRenewedAtItsPrice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := inventory.Node{Name: "n", Architecture: "amd64", Allocatable: inventory.Quantities{
			MilliCores: 1000, MemoryBytes: 1 << 30, EphemeralBytes: 10 << 30,
		}}
		w := newWorld(t, memcluster.Config{Nodes: []inventory.Node{node}})
		var asked atomic.Int64
		w.start(func(c *provider.Config) {
			c.BidTimeout = time.Hour
			c.Pricer = bidengine.PricerFunc(func(context.Context, bidengine.Request) (market.Decimal, error) {
				return market.NewDecimal(uint64(10 + asked.Add(1))), nil
			})
		})
		_, orders, err := w.tenant.Create(t.Context(), plan(t, "V=1", nil))
		require.NoError(t, err)
		_, err = w.tenant.AwaitBids(t.Context(), orders)
		require.NoError(t, err)
		bid := func() market.Bid {
			b, err := w.market.Client(theTenant).Bid(t.Context(), market.BidID{OrderID: orders[0].ID, Provider: theProvider})
			require.NoError(t, err)
			return b
		}
		w.cluster.SetNodes(nil)
		eventually(t, "the bid is withdrawn", func() bool { return bid().State == market.BidWithdrawn })
		w.cluster.SetNodes([]inventory.Node{node})
		eventually(t, "the bid is renewed", func() bool { return bid().State == market.BidOpen })
		assert.Equal(t, market.NewDecimal(11), bid().Price.AmountPerBlock)
	})
}

func TestScreeningRefusesWhatTheMarketWould(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		p, _ := w.start(nil)
		good := plan(t, "V=1", nil).Groups[0]
		eventually(t, "it would bid", func() bool {
			offers, err := p.Screen(t.Context(), theTenant, []market.GroupSpec{good})
			return err == nil && offers[0].Bid
		})
		huge := good.Clone()
		huge.Units[0].Count = 10_000
		nameless := good.Clone()
		nameless.Name = ""
		offers, err := p.Screen(t.Context(), theTenant, []market.GroupSpec{huge, nameless, good})
		require.NoError(t, err)
		assert.Equal(t, "unit-replicas", offers[0].Reasons[0].Rule)
		assert.Equal(t, "group-name", offers[1].Reasons[0].Rule)
		assert.True(t, offers[2].Bid)

		params, err := w.market.Client(theTenant).Params(t.Context())
		require.NoError(t, err)
		_, err = p.Screen(t.Context(), theTenant, make([]market.GroupSpec, params.Limits.MaxGroups+1))
		require.ErrorIs(t, err, market.ErrInvalid)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = p.Screen(ctx, theTenant, []market.GroupSpec{good})
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestDrainingOutlivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		p, stop := w.start(nil)
		p.Drain(true, "new disks")
		stop()
		p, _ = w.start(nil)
		status := func() api.ProviderStatus {
			s, err := p.Status(t.Context())
			require.NoError(t, err)
			return s
		}
		eventually(t, "it drains", func() bool { return status().State == api.ProviderDraining })
		assert.Equal(t, "new disks", status().Message)
		p.Drain(false, "")
		assert.Equal(t, api.ProviderReady, status().State)
	})
}

func TestAProviderThatNeverRunsForAnHourStillWithdraws(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		_, stop := w.start(nil)
		w.deployed(1)
		for range 6 {
			time.Sleep(provider.DefaultWithdrawEvery / 3)
			stop()
			_, stop = w.start(nil)
		}
		time.Sleep(2 * time.Minute)
		n := len(w.saw(provider.EventWithdrawn))
		assert.Positive(t, n)
		assert.LessOrEqual(t, n, 3, "not at every start")
	})
}

// told is a cluster that says when its nodes have changed.
type told struct {
	*cluster.Cluster

	news chan struct{}
}

func (c told) WatchNodes(ctx context.Context) iter.Seq2[[]inventory.Node, error] {
	return func(yield func([]inventory.Node, error) bool) {
		for {
			select {
			case <-ctx.Done():
				return
			case <-c.news:
			}
			nodes, err := c.Nodes(ctx)
			if !yield(nodes, err) {
				return
			}
		}
	}
}

func TestNewsOfNodesAreNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		c := told{news: make(chan struct{})}
		p, _ := w.start(func(cfg *provider.Config) {
			c.Cluster = cfg.Cluster.(*cluster.Cluster)
			cfg.Cluster, cfg.InventoryEvery = c, 24*time.Hour
		})
		nodes := func() int {
			s, err := p.Status(t.Context())
			require.NoError(t, err)
			if s.Inventory == nil {
				return -1
			}
			return s.Inventory.Nodes
		}
		eventually(t, "the inventory is read", func() bool { return nodes() > 0 })
		w.cluster.SetNodes(nil)
		c.news <- struct{}{}
		synctest.Wait()
		assert.Zero(t, nodes())
	})
}
