package tenant_test

import (
	"context"
	"fmt"
	"time"

	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
	"github.com/moorage-dev/moorage/market/tenant"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/sdl"
)

const document = `
version: "2.0"
services:
  web:
    image: nginx
    expose: [{port: 80, to: [{global: true}]}]
profiles:
  compute:
    small: {resources: {cpu: {units: 0.5}, memory: {size: 256Mi}, storage: {size: 1Gi}}}
  placement:
    anywhere: {pricing: {small: {denom: uact, amount: 100}}}
deployment:
  web: {anywhere: {profile: small, count: 1}}
`

// A document is deployed on a market in memory, by a provider whose cluster is
// in memory too; with a chain and real containers the tenant's code is the same.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, err := memmarket.New(memmarket.Config{BlockPerSubmit: true, Balances: map[market.Address]market.Coins{
		"tenant": {market.NewCoin("uact", 1_000_000)}, "provider": {market.NewCoin("uact", 1_000_000)},
	}})
	check(err)
	p, err := provider.New(provider.Config{
		Market: m.Client("provider"), Cluster: memcluster.New(memcluster.Config{}), HostURI: "https://provider.test",
		Pricer: bidengine.PricerFunc(func(context.Context, bidengine.Request) (market.Decimal, error) {
			return market.NewDecimal(7), nil
		}),
	})
	check(err)
	stopped := make(chan error, 1)
	go func() { stopped <- p.Run(ctx) }()

	compiled, err := sdl.Compile([]byte(document), sdl.Options{File: "web.yaml"})
	check(err)
	t, err := tenant.New(tenant.Config{
		Market: m.Client("tenant"),
		Dial:   func(market.Provider) (tenant.Gateway, error) { return door{p}, nil },
		Progress: func(s tenant.Step) {
			if s.Kind == tenant.StepLeased {
				fmt.Println("leased at", s.Bids[0].Price)
			}
		},
	})
	check(err)
	running, err := t.Deploy(ctx, tenant.Plan{Groups: compiled.Groups, Manifest: compiled.Manifest, Hash: compiled.Hash})
	check(err)
	fmt.Println(running.Status[0].Services[0].Name, "is", running.Status[0].Phase)
	check(t.Close(ctx, running.Deployment))
	cancel()
	check(<-stopped)
	// Output:
	// leased at 7uact/block
	// web is active
}

// door stands for the gateway's client: the provider is in the same process, and
// knows its tenant.
type door struct{ *provider.Provider }

// Screen implements [tenant.Gateway].
func (d door) Screen(ctx context.Context, groups []market.GroupSpec) ([]api.Offer, error) {
	return d.Provider.Screen(ctx, "tenant", groups)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
