package provider_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
	"github.com/moorage-dev/moorage/provider"
)

// A lease that is about to be closed for want of its manifest must not take one
// any more: the tenant would be told that it was accepted.
func TestAManifestAfterItsDeadlineIsRefusedAlsoWhileTheLeaseIsNotYetClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		w.start(func(c *provider.Config) {
			c.Market = w.market.FaultyClient(theProvider, memmarket.Faults{Submit: func(msgs []market.Msg) memmarket.Fate {
				if _, closes := msgs[0].(market.CloseBid); closes {
					return memmarket.Fate{Err: fmt.Errorf("%w: on purpose", market.ErrUnavailable)}
				}
				return memmarket.Fate{}
			}})
		})
		p := plan(t, "V=1", nil)
		_, orders, err := w.tenant.Create(t.Context(), p)
		require.NoError(t, err)
		bids, err := w.tenant.AwaitBids(t.Context(), orders)
		require.NoError(t, err)
		leases, err := w.tenant.Accept(t.Context(), bids)
		require.NoError(t, err)
		eventually(t, "lease seen", func() bool { return len(w.saw(provider.EventLeaseWon)) == 1 })
		time.Sleep(provider.DefaultManifestTimeout) // virtual
		lease, err := w.market.Client(theTenant).Lease(t.Context(), leases[0])
		require.NoError(t, err)
		require.Equal(t, market.LeaseActive, lease.State)
		err = w.tenant.SendManifest(t.Context(), leases, p.Manifest)
		require.ErrorIs(t, err, market.ErrState)
		require.ErrorContains(t, err, "manifest-too-late")
	})
}

func TestARegistrationWhoseAnswerIsLostIsLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		lost := 0
		w.start(func(c *provider.Config) {
			c.Market = w.market.FaultyClient(theProvider, memmarket.Faults{Receipt: func(market.Receipt) error {
				if lost++; lost == 1 {
					return errors.New("connection reset")
				}
				return nil
			}})
		})
		eventually(t, "registered", func() bool { return len(w.saw(provider.EventRegistered)) == 1 })
		require.Equal(t, 1, lost, "it is not sent twice")
	})
}
