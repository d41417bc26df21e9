package provider_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// The tests of this file and the next are named after defects of the reference
// provider, see the research on it; each says what ours does instead.

func TestRunOutIsPredictedToldAndWithdrawnBeforeInEveryDenomination(t *testing.T) {
	for _, denom := range []string{"uact", "uakt"} {
		t.Run(denom, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, memcluster.Config{})
				p, _ := w.start(func(c *provider.Config) {
					c.WarnBefore, c.WithdrawBefore = 20*time.Minute, 10*time.Minute
					c.Pricer = bidengine.PricerFunc(func(context.Context, bidengine.Request) (market.Decimal, error) {
						return market.NewDecimal(100), nil
					})
				})
				one := plan(t, "V=1", nil)
				one.Groups[0].Units[0].Price.Denom = denom
				one.Deposit = market.NewCoin(denom, 500_000) // 5,000 blocks at 100
				r, err := w.tenant.Deploy(t.Context(), one)
				require.NoError(t, err)
				account, err := w.market.Client(theTenant).Account(t.Context(), r.Deployment)
				require.NoError(t, err)

				eventually(t, "the status says when", func() bool {
					s, err := p.LeaseStatus(t.Context(), r.Leases[0])
					return err == nil && s.Funds != nil && s.Funds.RunOutHeight == account.DueAt
				})
				time.Sleep(3900 * time.Second) // virtual; blocks take a second
				eventually(t, "it is told", func() bool { return len(w.saw(provider.EventRunsDry)) == 1 })
				told := w.saw(provider.EventRunsDry)[0]
				assert.Equal(t, account.DueAt, told.RunOut.Height)
				assert.WithinDuration(t, time.Now().Add(18*time.Minute), told.RunOut.Time, 5*time.Minute)
				time.Sleep(20 * time.Minute) // virtual
				eventually(t, "closed for want of funds", func() bool { return len(w.saw(provider.EventLeaseClosed)) == 1 })
				assert.Equal(t, market.ReasonInsufficientFunds, w.saw(provider.EventLeaseClosed)[0].Reason)
				assert.NotEmpty(t, w.saw(provider.EventWithdrawn))
				theirs, err := w.market.Client(theTenant).Balances(t.Context(), theProvider)
				require.NoError(t, err)
				assert.Equal(t, market.NewAmount(100_500_000), theirs.Of(denom), "every coin of the deposit was earned")
			})
		})
	}
}

func TestADepositMovesTheRunOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		p, _ := w.start(nil)
		r, err := w.tenant.Deploy(t.Context(), plan(t, "V=1", nil))
		require.NoError(t, err)
		runOut := func() int64 {
			s, err := p.LeaseStatus(t.Context(), r.Leases[0])
			require.NoError(t, err)
			if s.Funds == nil {
				return 0
			}
			return s.Funds.RunOutHeight
		}
		eventually(t, "predicted", func() bool { return runOut() > 0 })
		before := runOut()
		_, err = w.market.Client(theTenant).Submit(t.Context(), market.DepositDeployment{
			ID: r.Deployment, Depositor: theTenant, Amount: market.NewCoin("uact", 1000),
		})
		require.NoError(t, err)
		eventually(t, "moved", func() bool { return runOut() == before+100 })
	})
}

func TestUnhealthyPendingAndUnknownHaveDeadlinesOfTheirOwnAlsoAcrossRestarts(t *testing.T) {
	for name, c := range map[string]struct {
		hurt func(w *world, id market.LeaseID)
		cfg  func(*provider.Config)
	}{
		"failing": {
			func(w *world, id market.LeaseID) { w.cluster.Break(id, "web", "it crashes") },
			func(c *provider.Config) { c.UnhealthyTimeout = 20 * time.Minute },
		},
		"unknown": {
			func(w *world, _ market.LeaseID) {
				w.cluster.SetFault(func(op memcluster.Op, _ market.LeaseID) error {
					if op == memcluster.OpStatus {
						return &driver.TransientError{Err: errors.New("not seen")}
					}
					return nil
				})
			},
			func(c *provider.Config) { c.UnknownTimeout = 20 * time.Minute },
		},
		"pending": {
			func(w *world, id market.LeaseID) {
				w.cluster.SetFault(func(op memcluster.Op, _ market.LeaseID) error {
					if op == memcluster.OpApply {
						return driver.ErrExhausted
					}
					return nil
				})
				w.cluster.Lose(id)
			},
			func(c *provider.Config) { c.PendingTimeout = 20 * time.Minute },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, memcluster.Config{})
				cfg := func(p *provider.Config) {
					c.cfg(p)
					p.ResyncEvery = time.Minute // by then the trouble is seen
				}
				_, stop := w.start(cfg)
				r, err := w.tenant.Deploy(t.Context(), plan(t, "V=1", nil))
				require.NoError(t, err)
				c.hurt(w, r.Leases[0])
				state := func() market.LeaseState {
					l, err := w.market.Client(theTenant).Lease(t.Context(), r.Leases[0])
					require.NoError(t, err)
					return l.State
				}
				time.Sleep(15 * time.Minute) // virtual
				require.Equal(t, market.LeaseActive, state())
				stop()
				w.start(cfg)
				time.Sleep(4 * time.Minute) // virtual
				require.Equal(t, market.LeaseActive, state(), "not before its time")
				time.Sleep(3 * time.Minute) // virtual
				require.NotEqual(t, market.LeaseActive, state(), "a restart does not begin the deadline anew")
			})
		})
	}
}

func TestAWithdrawalNeverEndsALeaseThatIsWonAtTheSameMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		w.start(func(c *provider.Config) { c.BidTimeout = 30 * time.Second })
		p := plan(t, "V=1", nil)
		_, orders, err := w.tenant.Create(t.Context(), p)
		require.NoError(t, err)
		bids, err := w.tenant.AwaitBids(t.Context(), orders)
		require.NoError(t, err)
		bid, err := w.market.Client(theTenant).Bid(t.Context(), bids[0].ID)
		require.NoError(t, err)
		// The withdrawal comes after the lease in one block: the market must refuse it.
		_, err = w.market.Client(theTenant).Submit(t.Context(), market.CreateLease{ID: bid.ID})
		require.NoError(t, err)
		_, err = w.market.Client(theProvider).Submit(t.Context(), market.CloseBid{ID: bid.ID, Reason: market.ReasonNone})
		require.Error(t, err)
		require.NoError(t, w.tenant.SendManifest(t.Context(), []market.LeaseID{bid.ID.Lease()}, p.Manifest))
		_, err = w.tenant.AwaitReady(t.Context(), []market.LeaseID{bid.ID.Lease()}, p.Hash)
		require.NoError(t, err)
	})
}

func TestAnUnreachableMarketOrClusterMakesTheProviderUnready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		p, _ := w.start(nil)
		eventually(t, "ready", func() bool { s, _ := p.Status(t.Context()); return s.State == api.ProviderReady })
		w.cluster.SetFault(func(memcluster.Op, market.LeaseID) error { return &driver.TransientError{Err: errors.New("away")} })
		time.Sleep(5 * time.Minute) // virtual
		s, err := p.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, api.ProviderUnready, s.State)
		assert.Equal(t, "the cluster cannot be seen", s.Message)
		w.cluster.SetFault(nil)
		eventually(t, "ready again", func() bool { s, _ := p.Status(t.Context()); return s.State == api.ProviderReady })
	})
}

func TestNoticeIsGivenKeptAndShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		p, _ := w.start(nil)
		one := plan(t, "V=1", nil)
		one.Groups[0].ReclaimBlocks = 600
		r, err := w.tenant.Deploy(t.Context(), one)
		require.NoError(t, err)
		at, err := p.Reclaim(t.Context(), r.Leases[0])
		require.NoError(t, err)
		require.Positive(t, at)
		eventually(t, "the tenant is told", func() bool {
			s, err := p.LeaseStatus(t.Context(), r.Leases[0])
			return err == nil && s.Notice != nil && s.Notice.EndsAtHeight == at && s.Phase == api.PhaseActive
		})
		time.Sleep(9 * time.Minute) // virtual
		s, err := p.LeaseStatus(t.Context(), r.Leases[0])
		require.NoError(t, err)
		assert.Equal(t, api.PhaseActive, s.Phase, "it runs until the notice is over")
		eventually(t, "it ends", func() bool { return len(w.saw(provider.EventLeaseClosed)) == 1 })
		assert.Equal(t, market.ReasonDecommission, w.saw(provider.EventLeaseClosed)[0].Reason)
		eventually(t, "everything is gone", w.empty)
	})
}

func TestABidsPromiseSurvivesARestartBeforeAnyOtherIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{Nodes: []inventory.Node{{
			Name: "small", Architecture: "amd64",
			Allocatable: inventory.Quantities{MilliCores: 700, MemoryBytes: 1 << 30, EphemeralBytes: 10 << 30},
		}}})
		_, stop := w.start(nil)
		p := plan(t, "V=1", nil)
		_, orders, err := w.tenant.Create(t.Context(), p)
		require.NoError(t, err)
		bids, err := w.tenant.AwaitBids(t.Context(), orders)
		require.NoError(t, err)
		stop()
		for range 5 { // orders that would take the room
			_, _, err := w.tenant.Create(t.Context(), plan(t, "V=2", nil))
			require.NoError(t, err)
		}
		leases, err := w.tenant.Accept(t.Context(), bids)
		require.NoError(t, err)
		w.start(nil)
		require.NoError(t, w.tenant.SendManifest(t.Context(), leases, p.Manifest))
		_, err = w.tenant.AwaitReady(t.Context(), leases, p.Hash)
		require.NoError(t, err)
		assert.Len(t, w.saw(provider.EventBid), 1, "no second bid on the same room")
	})
}

func TestAnOrderBeforeTheLastPageIsNotForgottenAcrossRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		var first []market.Order
		for i := range 130 { // more than a page of some hosts
			_, orders, err := w.tenant.Create(t.Context(), plan(t, "V=1", func(r *market.Resources) { r.CPU.MilliCores = 100 }))
			require.NoError(t, err)
			if i == 0 {
				first = orders
			}
		}
		_, stop := w.start(func(c *provider.Config) { c.Drain = true })
		time.Sleep(10 * time.Second) // virtual
		stop()
		w.start(nil)
		_, err := w.tenant.AwaitBids(t.Context(), first)
		require.NoError(t, err)
	})
}

func TestOneOrderThatIsGoneDoesNotSpoilTheBidsSentWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		var ids []market.DeploymentID
		var orders []market.Order
		for range 60 {
			id, os, err := w.tenant.Create(t.Context(), plan(t, "V=1", func(r *market.Resources) { r.CPU.MilliCores = 100 }))
			require.NoError(t, err)
			ids, orders = append(ids, id), append(orders, os...)
		}
		closing := w.market.FaultyClient(theProvider, memmarket.Faults{Submit: func(msgs []market.Msg) memmarket.Fate {
			if _, bid := msgs[0].(market.CreateBid); bid {
				return memmarket.Fate{Delay: 3} // long enough for an order to close
			}
			return memmarket.Fate{}
		}})
		w.start(func(c *provider.Config) { c.Market = closing })
		time.Sleep(2500 * time.Millisecond) // virtual: the bids are on their way
		require.NoError(t, w.tenant.Close(t.Context(), ids[30]))
		eventually(t, "all others have a bid", func() bool {
			bids, _, err := w.market.Client(theTenant).Bids(t.Context(), market.BidFilter{State: market.BidOpen}, market.Page{Limit: 1000})
			return err == nil && len(bids) == len(orders)-1
		})
	})
}

func TestAStrategyThatHangsHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		w.start(func(c *provider.Config) { c.Pricer = slow{} })
		_, _, err := w.tenant.Create(t.Context(), plan(t, "V=1", func(r *market.Resources) { r.CPU.MilliCores = 777 }))
		require.NoError(t, err)
		_, err = w.tenant.Deploy(t.Context(), plan(t, "V=2", nil))
		require.NoError(t, err)
	})
}

// slow hangs on one order.
type slow struct{}

func (slow) Price(ctx context.Context, r bidengine.Request) (market.Decimal, error) {
	if r.Order.Spec.Units[0].CPU.MilliCores == 777 {
		<-ctx.Done()
		return market.Decimal{}, ctx.Err()
	}
	return market.NewDecimal(10), nil
}
