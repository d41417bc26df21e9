package memmarket_test

import (
	"context"
	"fmt"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
)

// A deployment from order to closed lease, and where the money went.
func Example() {
	ctx := context.Background()
	m, err := memmarket.New(memmarket.Config{
		BlockPerSubmit: true,
		Balances: map[market.Address]market.Coins{
			"tenant":   {market.NewCoin("uakt", 5_000_000)},
			"provider": {market.NewCoin("uakt", 1_000_000)},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	tenant, provider := m.Client("tenant"), m.Client("provider")
	price := market.Price{Denom: "uakt", AmountPerBlock: market.NewDecimal(1000)}
	id := market.DeploymentID{Owner: "tenant", DSeq: 1}
	bid := market.BidID{OrderID: market.OrderID{GroupID: market.GroupID{DeploymentID: id, GSeq: 1}, OSeq: 1}, Provider: "provider"}
	do := func(c *memmarket.Client, msg market.Msg) {
		if _, err := c.Submit(ctx, msg); err != nil {
			fmt.Println(err)
		}
	}

	do(provider, market.CreateProvider{Provider: market.Provider{Owner: "provider", HostURI: "https://provider.example:8443"}})
	do(tenant, market.CreateDeployment{
		ID: id, Hash: market.Hash{1}, Deposit: market.NewCoin("uakt", 2_000_000),
		Groups: []market.GroupSpec{{Name: "web", Units: []market.ResourceUnit{{
			Resources: market.Resources{ID: 1, CPU: market.CPU{MilliCores: 500}, Memory: market.Memory{Bytes: 512 << 20}},
			Count:     1, Price: price,
		}}}},
	})
	do(provider, market.CreateBid{ID: bid, Price: price, Deposit: market.NewCoin("uakt", 500_000)})
	do(tenant, market.CreateLease{ID: bid})
	if err := m.Advance(9); err != nil {
		fmt.Println(err)
	}
	do(provider, market.WithdrawLease{ID: bid.Lease()})
	do(tenant, market.CloseDeployment{ID: id})

	lease, _ := tenant.Lease(ctx, bid.Lease())
	fmt.Println("lease", lease.ID, lease.State, "by", lease.Reason, "after", lease.ClosedAt-lease.CreatedAt, "blocks")
	for _, c := range []*memmarket.Client{tenant, provider} {
		coins, _ := c.Balances(ctx, c.Address())
		fmt.Println(c.Address(), "has", coins)
	}
	fmt.Println("pot holds", m.Pot(), "check:", m.Check())
	// Output:
	// lease tenant/1/1/1/provider closed by tenant after 11 blocks
	// tenant has [4989000uakt]
	// provider has [1011000uakt]
	// pot holds [] check: <nil>
}
