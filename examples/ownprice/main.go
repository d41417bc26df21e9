// Ownprice is a provider with a price of its own, on a market and a cluster in
// memory: the smallest program that embeds the provider.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

func main() {
	m, err := memmarket.New(memmarket.Config{Balances: map[market.Address]market.Coins{
		"provider": {market.NewCoin("uact", 1_000_000)}, "tenant": {market.NewCoin("uact", 1_000_000)},
	}})
	exitOn(err)
	p, err := provider.New(provider.Config{
		Market:  m.Client("provider"),
		Cluster: memcluster.New(memcluster.Config{}),
		HostURI: "https://provider.example.com:8443",
		Pricer: bidengine.PricerFunc(func(_ context.Context, r bidengine.Request) (market.Decimal, error) {
			return market.NewDecimal(5).Times(r.Order.Spec.Totals().Replicas) // 5 per replica and block
		}),
		Observer: provider.ObserverFunc(func(e provider.Event) {
			fmt.Println(e.Kind, e.Price.AmountPerBlock)
		}),
	})
	exitOn(err)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	go func() { exitOn(m.Run(ctx, 100*time.Millisecond)) }() // blocks
	go func() { exitOn(order(ctx, m.Client("tenant"))) }()   // somebody who asks
	exitOn(p.Run(ctx))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
