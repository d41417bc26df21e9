package memmarket_test

import (
	"context"
	"fmt"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
)

// A deployment from order to closed lease, and where the money went.
func Example() {
	uakt := func(n uint64) market.Coin { return market.NewCoin("uakt", n) }
	m, err := memmarket.New(memmarket.Config{BlockPerSubmit: true, Balances: map[market.Address]market.Coins{
		"tenant": {uakt(5_000_000)}, "provider": {uakt(1_000_000)},
	}})
	do := func(msg market.Msg) {
		if err == nil {
			_, err = m.Client(msg.Signer()).Submit(context.Background(), msg)
		}
	}
	price := market.Price{Denom: "uakt", AmountPerBlock: market.NewDecimal(1000)}
	id := market.DeploymentID{Owner: "tenant", DSeq: 1}
	bid := market.BidID{OrderID: market.OrderID{GroupID: market.GroupID{DeploymentID: id, GSeq: 1}, OSeq: 1}, Provider: "provider"}

	do(market.CreateProvider{Provider: market.Provider{Owner: "provider", HostURI: "https://provider.example:8443"}})
	do(market.CreateDeployment{ID: id, Hash: market.Hash{1}, Deposit: uakt(2_000_000), Groups: []market.GroupSpec{{
		Name: "web", Units: []market.ResourceUnit{{Count: 1, Price: price, Resources: market.Resources{
			ID: 1, CPU: market.CPU{MilliCores: 500}, Memory: market.Memory{Bytes: 512 << 20},
		}}},
	}}})
	do(market.CreateBid{ID: bid, Price: price, Deposit: uakt(500_000)})
	do(market.CreateLease{ID: bid})
	do(market.WithdrawLease{ID: bid.Lease()})
	do(market.CloseDeployment{ID: id})

	for _, who := range []market.Address{"tenant", "provider"} {
		coins, _ := m.Client(who).Balances(context.Background(), who)
		fmt.Println(who, "has", coins)
	}
	fmt.Println("pot holds", m.Pot(), "check:", m.Check(), "error:", err)
	// Output:
	// tenant has [4998000uakt]
	// provider has [1002000uakt]
	// pot holds [] check: <nil> error: <nil>
}
