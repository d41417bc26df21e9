package provider_test

import (
	"context"
	"fmt"
	"time"

	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// A provider on a market in memory says what it does until it has bid.
func ExampleProvider_Run() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, err := memmarket.New(memmarket.Config{BlockPerSubmit: true, Balances: map[market.Address]market.Coins{
		"tenant": {market.NewCoin("uact", 1_000_000)}, "provider": {market.NewCoin("uact", 1_000_000)},
	}})
	if err != nil {
		panic(err)
	}
	p, err := provider.New(provider.Config{
		Market: m.Client("provider"), Cluster: memcluster.New(memcluster.Config{}), HostURI: "https://provider.test",
		Pricer: bidengine.PricerFunc(func(_ context.Context, r bidengine.Request) (market.Decimal, error) {
			return market.NewDecimal(3).Times(r.Order.Spec.Totals().Replicas)
		}),
		Observer: provider.ObserverFunc(func(e provider.Event) {
			fmt.Println(e.Kind)
			if e.Kind == provider.EventBid {
				fmt.Println(e.Price)
				cancel()
			}
		}),
	})
	if err != nil {
		panic(err)
	}
	_, err = m.Client("tenant").Submit(ctx, market.CreateDeployment{
		ID: market.DeploymentID{Owner: "tenant", DSeq: 1}, Hash: market.Hash{1}, Deposit: market.NewCoin("uact", 500_000),
		Groups: []market.GroupSpec{{Name: "web", Units: []market.ResourceUnit{{
			Resources: market.Resources{
				ID: 1, CPU: market.CPU{MilliCores: 500}, Memory: market.Memory{Bytes: 256 << 20},
				Storage: []market.Volume{{Name: "default", Bytes: 1 << 30}},
			},
			Count: 2, Price: market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(100)},
		}}}},
	})
	if err != nil {
		panic(err)
	}
	if err := p.Run(ctx); err != nil {
		panic(err)
	}
	// Output:
	// registered
	// order-seen
	// bid
	// 6uact/block
}
