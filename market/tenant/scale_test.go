package tenant_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
	"github.com/moorage-dev/moorage/market/tenant"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/sdl"
)

func TestScalingChangesCountAndPriceOrSaysWhyNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		money := market.Coins{market.NewCoin("uact", 1_000_000)}
		m, err := memmarket.New(memmarket.Config{Balances: map[market.Address]market.Coins{"tenant": money, "provider": money}, Start: time.Now()})
		require.NoError(t, err)
		node := inventory.Node{Name: "one", Architecture: "amd64", Allocatable: inventory.Quantities{
			MilliCores: 2000, MemoryBytes: 4 << 30, EphemeralBytes: 64 << 30,
		}}
		one, err := market.ParseDecimal("0.002")
		require.NoError(t, err)
		p, err := provider.New(provider.Config{
			Market: m.Client("provider"), Cluster: memcluster.New(memcluster.Config{Nodes: []inventory.Node{node}}), HostURI: "https://provider.test",
			Pricer: bidengine.Scale{"uact": {CPUPerMilliCore: one, StoragePerMi: map[string]market.Decimal{bidengine.ClassEphemeral: {}}}},
		})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		go func() { ended <- p.Run(ctx) }()
		go func() { ended <- m.Run(ctx, time.Second) }()
		defer func() {
			cancel()
			assert.NoError(t, <-ended)
			assert.NoError(t, <-ended)
		}()

		compiled, err := sdl.Compile([]byte(document), sdl.Options{})
		require.NoError(t, err)
		compiled.Groups[0].Units[0].MinCount, compiled.Groups[0].Units[0].MaxCount = 1, 10
		buyer, err := tenant.New(tenant.Config{Market: m.Client("tenant"), Dial: func(market.Provider) (tenant.Gateway, error) { return door{p}, nil }})
		require.NoError(t, err)
		r, err := buyer.Deploy(ctx, tenant.Plan{Groups: compiled.Groups, Manifest: compiled.Manifest, Hash: compiled.Hash})
		require.NoError(t, err)
		require.Equal(t, uint32(1), r.Status[0].Services[0].Wanted)

		counts := func(n uint32) market.ScaleLease {
			return market.ScaleLease{ID: r.Leases[0], Counts: []market.UnitCount{{Unit: compiled.Groups[0].Units[0].Resources.ID, Count: n}}}
		}
		lease, err := buyer.Scale(ctx, counts(3))
		require.NoError(t, err)
		assert.Equal(t, "3uact/block", lease.Price.String())
		status, err := buyer.AwaitReady(ctx, r.Leases, compiled.Hash)
		require.NoError(t, err)
		assert.Equal(t, uint32(3), status[0].Services[0].Wanted)

		_, err = buyer.Scale(ctx, counts(5))
		var declined *tenant.ScaleDeclinedError
		require.ErrorAs(t, err, &declined)
		require.NotEmpty(t, declined.Reasons)
		assert.ErrorContains(t, err, "insufficient-cpu")

		_, err = buyer.Scale(ctx, counts(11))
		require.ErrorIs(t, err, market.ErrLimit, "outside of what was ordered")
		most := counts(2)
		most.MaxPrice = market.Price{Denom: "uact", AmountPerBlock: one}
		_, err = buyer.Scale(ctx, most)
		require.Error(t, err, "above the tenant's own ceiling")
		require.NoError(t, m.Check())

		balance, err := buyer.Balance(ctx, r.Deployment)
		require.NoError(t, err)
		assert.Equal(t, time.Duration(balance.BlocksLeft)*time.Second, balance.TimeLeft)
	})
}
