package providertest

import (
	"context"
	"fmt"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider"
)

func moneyCases() []Case {
	return []Case{
		{
			Name: "earnings on schedule", Clause: "What is earned is withdrawn while the lease runs.",
			Check: checkSchedule,
		},
		{
			Name: "deposits come back", Clause: "The deposit of a bid that comes to nothing is the provider's again.",
			Check: checkDeposits,
		},
	}
}

func checkSchedule(ctx context.Context, e *Env) error {
	every := func(c *provider.Config) { c.WithdrawEvery = max(e.Patience/60, time.Second) }
	if _, err := e.Start(ctx, 0, false, every); err != nil {
		return err
	}
	r, err := e.Tenant.Deploy(ctx, e.Plan("1"))
	if err != nil {
		return err
	}
	err = e.Await(ctx, "two withdrawals", func() (bool, error) { return len(e.Saw(provider.EventWithdrawn)) >= 2, nil })
	if err != nil {
		return err
	}
	paid, err := e.market.Tenant.Payment(ctx, r.Leases[0])
	if err != nil {
		return err
	}
	if paid.Withdrawn.IsZero() {
		return fmt.Errorf("the provider says that it has withdrawn, the market says %s", paid.Withdrawn)
	}
	return e.gone(ctx, r.Deployment)
}

func checkDeposits(ctx context.Context, e *Env) error {
	if _, err := e.Start(ctx, 0, false, nil); err != nil {
		return err
	}
	balance := func() (market.Amount, error) {
		coins, err := e.market.Provider.Balances(ctx, e.market.Provider.Address())
		return coins.Of(e.denom), err
	}
	err := e.Await(ctx, "it is registered", func() (bool, error) { return len(e.Saw(provider.EventRegistered)) > 0, nil })
	if err != nil {
		return err
	}
	_, orders, err := e.Tenant.Create(ctx, e.Plan("1"))
	if err != nil {
		return err
	}
	if _, err := e.Tenant.AwaitBids(ctx, orders); err != nil {
		return err
	}
	during, err := balance()
	if err != nil {
		return err
	}
	if err := e.gone(ctx, orders[0].ID.DeploymentID); err != nil {
		return err
	}
	after, err := balance()
	if err != nil {
		return err
	}
	bid, err := e.market.Provider.Bid(ctx, market.BidID{OrderID: orders[0].ID, Provider: e.market.Provider.Address()})
	if err != nil {
		return err
	}
	back, err := after.Sub(during)
	if err != nil || back.Cmp(bid.Deposit.Amount) != 0 {
		return fmt.Errorf("the deposit was %s, %s came back: %w", bid.Deposit, back, err)
	}
	return nil
}
