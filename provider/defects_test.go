package provider_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
	"github.com/moorage-dev/moorage/provider"
)

// In the reference the monitor of a lease ends for ever when its one attempt to
// close a broken lease fails.
func TestALeaseThatCannotBeClosedAtOnceIsClosedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		var refused atomic.Int32
		stubborn := w.market.FaultyClient(theProvider, memmarket.Faults{Submit: func(msgs []market.Msg) memmarket.Fate {
			if _, ok := msgs[0].(market.CloseBid); ok && refused.Add(1) <= 5 {
				return memmarket.Fate{Err: market.ErrUnavailable}
			}
			return memmarket.Fate{}
		}})
		w.start(func(c *provider.Config) { c.Market = stubborn })
		r, err := w.tenant.Deploy(t.Context(), plan(t, "V=1", nil))
		require.NoError(t, err)
		require.True(t, w.cluster.Break(r.Leases[0], "web", "it crashes"))
		eventually(t, "lease closed", func() bool { return len(w.saw(provider.EventLeaseClosed)) == 1 })
		assert.Greater(t, refused.Load(), int32(5))
	})
}

// full is a store on a disk without room.
type full struct {
	provider.Store
	on *atomic.Bool
}

func (s full) Save(rs ...provider.Record) error {
	if s.on.Load() {
		return errors.New("no space left on device")
	}
	return s.Store.Save(rs...)
}

func TestWhatCannotBeWrittenDownIsNotPromised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		var on atomic.Bool
		on.Store(true)
		w.start(func(c *provider.Config) { c.Store = full{c.Store, &on} })
		_, orders, err := w.tenant.Create(t.Context(), plan(t, "V=1", nil))
		require.NoError(t, err)
		time.Sleep(10 * time.Second) // virtual
		bids, _, err := w.market.Client(theTenant).Bids(t.Context(), market.BidFilter{}, market.Page{})
		require.NoError(t, err)
		require.Empty(t, bids)
		on.Store(false)
		_, err = w.tenant.AwaitBids(t.Context(), orders)
		require.NoError(t, err)
	})
}

// In the reference a deploy that fails while another update waits makes the
// provider forget the lease and give its room away.
func TestAnUpdateThatTheClusterRefusesLeavesTheLeaseAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		p, _ := w.start(nil)
		one, two := plan(t, "V=1", nil), plan(t, "V=2", nil)
		r, err := w.tenant.Deploy(t.Context(), one)
		require.NoError(t, err)
		w.cluster.SetFault(func(op memcluster.Op, _ market.LeaseID) error {
			if op == memcluster.OpApply {
				return driver.ErrConflict
			}
			return nil
		})
		_, err = w.market.Client(theTenant).Submit(t.Context(), market.UpdateDeployment{ID: r.Deployment, Hash: two.Hash})
		require.NoError(t, err)
		require.ErrorIs(t, p.PutManifest(t.Context(), r.Deployment, two.Manifest), driver.ErrConflict)
		w.cluster.SetFault(nil)
		require.NoError(t, p.PutManifest(t.Context(), r.Deployment, two.Manifest), "and again, when it can")
		eventually(t, "the update runs", func() bool {
			s, err := p.LeaseStatus(t.Context(), r.Leases[0])
			return err == nil && s.Hash == two.Hash.String()
		})
		assert.Len(t, p.Reservations(), 1)
	})
}

// In the reference a hiccup while the orders are paged makes a tight loop.
func TestAMarketThatIsAwayAtTheStartIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		var away atomic.Bool
		var asked atomic.Int32
		away.Store(true)
		m := w.market.FaultyClient(theProvider, memmarket.Faults{Read: func() error {
			if asked.Add(1); away.Load() {
				return market.ErrUnavailable
			}
			return nil
		}})
		w.start(func(c *provider.Config) { c.Market = m })
		time.Sleep(10 * time.Minute) // virtual
		assert.Less(t, asked.Load(), int32(100))
		away.Store(false)
		eventually(t, "it comes", func() bool { return len(w.saw(provider.EventRegistered)) > 0 })
		_, err := w.tenant.Deploy(t.Context(), plan(t, "V=1", nil))
		require.NoError(t, err)
	})
}

// A host may have discarded the blocks that a provider has not seen.
func TestBlocksThatAreGoneAreMadeUpForByReadingTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		var broken atomic.Bool
		m := w.market.FaultyClient(theProvider, memmarket.Faults{Watch: func(market.Block) error {
			if broken.Load() {
				return market.ErrNotFound
			}
			return nil
		}})
		w.start(func(c *provider.Config) { c.Market = m })
		eventually(t, "it runs", func() bool { return len(w.saw(provider.EventRegistered)) > 0 })
		broken.Store(true)
		time.Sleep(time.Minute) // virtual
		_, orders, err := w.tenant.Create(t.Context(), plan(t, "V=1", nil))
		require.NoError(t, err)
		broken.Store(false)
		eventually(t, "the order has a bid", func() bool {
			_, err := w.market.Client(theTenant).Bid(t.Context(), market.BidID{OrderID: orders[0].ID, Provider: theProvider})
			return err == nil
		})
	})
}
