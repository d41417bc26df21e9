package bidengine_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// flat asks the same of everybody.
func flat(d market.Decimal) bidengine.Pricer {
	return bidengine.PricerFunc(func(context.Context, bidengine.Request) (market.Decimal, error) { return d, nil })
}

func TestTenantListsRefuseAndDiscount(t *testing.T) {
	base := flat(decimal(t, "0.000000000000000001"))
	cases := []struct {
		name  string
		lists bidengine.Tenants
		code  bidengine.Code
		price string
	}{
		{"nobody is listed", bidengine.Tenants{}, "", "0.000000000000000001"},
		{"denied", bidengine.Tenants{Deny: map[market.Address]bool{"tenant": true}}, bidengine.TenantDenied, ""},
		{"others are denied", bidengine.Tenants{Deny: map[market.Address]bool{"other": true}}, "", "0.000000000000000001"},
		{"allowed", bidengine.Tenants{Allow: map[market.Address]bool{"tenant": true}}, "", "0.000000000000000001"},
		{"others are allowed", bidengine.Tenants{Allow: map[market.Address]bool{"other": true}}, bidengine.TenantNotAllowed, ""},
		{"nobody is allowed", bidengine.Tenants{Allow: map[market.Address]bool{}}, bidengine.TenantNotAllowed, ""},
		{"denied though allowed", bidengine.Tenants{
			Allow: map[market.Address]bool{"tenant": true}, Deny: map[market.Address]bool{"tenant": true},
		}, bidengine.TenantDenied, ""},
		{"half price, rounded up", bidengine.Tenants{Percent: map[market.Address]uint32{"tenant": 50}}, "", "0.000000000000000001"},
		{"three times the price", bidengine.Tenants{Percent: map[market.Address]uint32{"tenant": 300}}, "", "0.000000000000000003"},
		{"for nothing", bidengine.Tenants{Percent: map[market.Address]uint32{"tenant": 0}}, bidengine.NoPrice, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := snapshot(t)
			c.lists.Pricer = base
			s.Pricer = c.lists
			d, reasons := bidengine.Decide(t.Context(), order(nil), s)
			if c.code != "" {
				require.Len(t, reasons, 1)
				assert.Equal(t, c.code, reasons[0].Code)
				return
			}
			require.Empty(t, reasons)
			assert.Equal(t, c.price, d.Price.AmountPerBlock.String())
		})
	}
}

func TestABandCoversBothEndsAndNothingElse(t *testing.T) {
	low, high := decimal(t, "1.000000000000000001"), decimal(t, "1.000000000000000004")
	band := bidengine.NewBetween(flat(low), flat(high), rand.New(rand.NewPCG(1, 2)))
	seen := map[string]int{}
	for range 400 {
		d, err := band.Price(t.Context(), bidengine.Request{Ceiling: market.NewDecimal(2)})
		require.NoError(t, err)
		seen[d.String()]++
	}
	require.Len(t, seen, 4)
	for price, n := range seen {
		assert.Greater(t, n, 50, price)
	}
}

func TestTheSameSeedGivesTheSamePrices(t *testing.T) {
	draw := func() (out []string) {
		band := bidengine.NewBetween(flat(market.NewDecimal(1)), flat(market.NewDecimal(1_000_000)), rand.New(rand.NewPCG(3, 4)))
		for range 20 {
			d, err := band.Price(t.Context(), bidengine.Request{Ceiling: market.NewDecimal(2_000_000)})
			require.NoError(t, err)
			out = append(out, d.String())
		}
		return out
	}
	assert.Equal(t, draw(), draw())
}

func TestABandStaysBelowWhatTheTenantPays(t *testing.T) {
	band := bidengine.NewBetween(flat(market.NewDecimal(1)), flat(market.NewDecimal(1000)), rand.New(rand.NewPCG(5, 6)))
	for range 100 {
		d, err := band.Price(t.Context(), bidengine.Request{Ceiling: market.NewDecimal(2)})
		require.NoError(t, err)
		require.LessOrEqual(t, d.Cmp(market.NewDecimal(2)), 0)
	}
	_, err := bidengine.NewBetween(flat(market.NewDecimal(2)), flat(market.NewDecimal(1)), rand.New(rand.NewPCG(7, 8))).
		Price(t.Context(), bidengine.Request{Ceiling: market.NewDecimal(9)})
	require.Error(t, err)
}

func TestTheMostExactKeyOfACardSetsItsRate(t *testing.T) {
	card := inventory.GPU{Vendor: "NVIDIA", Model: "A100", MemoryBytes: 80 << 30, Interface: "SXM"}
	all := []string{"", "nvidia", "nvidia/a100", "nvidia/a100/80Gi", "nvidia/a100/80Gi/sxm"}
	for i := range all {
		gpus := map[string]market.Decimal{"nvidia/a100/40Gi": market.NewDecimal(999)}
		for j, key := range all[:i+1] {
			gpus[key] = market.NewDecimal(uint64(j + 1))
		}
		price, err := bidengine.Scale{"uact": {GPUPerCard: gpus}}.Price(t.Context(), bidengine.Request{
			Denom: "uact", Placement: inventory.Placement{Assignments: []inventory.Assignment{{Resources: inventory.Quantities{GPUs: []inventory.GPU{card}}}}},
		})
		require.NoError(t, err)
		assert.Equal(t, market.NewDecimal(uint64(i+1)), price)
	}
}

func TestAStrategyRefusesForAReasonOfItsOwn(t *testing.T) {
	s := snapshot(t)
	s.Pricer = bidengine.PricerFunc(func(context.Context, bidengine.Request) (market.Decimal, error) {
		return market.Decimal{}, &bidengine.RefusalError{Reason: bidengine.Reason{Code: "full-moon", Detail: "not tonight"}}
	})
	_, reasons := bidengine.Decide(t.Context(), order(nil), s)
	assert.Equal(t, []bidengine.Reason{{Code: "full-moon", Detail: "not tonight"}}, reasons)
}

func TestListsOfTheOrderHaveTheirReasons(t *testing.T) {
	cases := map[bidengine.Code]func(*market.Order){
		"bid-provider-listed": func(o *market.Order) { o.Spec.Requirements.Providers.Excluded = []market.Address{"provider"} },
		"bid-data-center":     func(o *market.Order) { o.Spec.Requirements.DataCenters.Allowed = []string{"moon"} },
		"bid-storage": func(o *market.Order) {
			o.Spec.Units[0].Storage = []market.Volume{{Name: "d", Bytes: 1, Attributes: market.Attributes{{Key: "class", Value: "beta9"}, {Key: "persistent", Value: "true"}}}}
		},
		"bid-gpu": func(o *market.Order) {
			o.Spec.Units[0].GPU = market.GPU{Units: 1, Attributes: market.Attributes{{Key: "vendor/amd/model/mi300", Value: "true"}}}
		},
		"bid-signed-by-all": func(o *market.Order) { o.Spec.Requirements.SignedBy.AllOf = []market.Address{"auditor"} },
	}
	for want, change := range cases {
		_, reasons := bidengine.Decide(t.Context(), order(change), snapshot(t))
		require.NotEmpty(t, reasons, want)
		assert.Equal(t, want, reasons[0].Code)
	}
}

func TestADepositIsTakenInADenominationThatTheProviderHas(t *testing.T) {
	s := snapshot(t)
	s.Funds = market.Coins{market.NewCoin("uakt", 600_000)}
	d, reasons := bidengine.Decide(t.Context(), order(nil), s)
	require.Empty(t, reasons)
	assert.Equal(t, market.NewCoin("uakt", 500_000), d.Deposit)
	s.Funds = market.Coins{market.NewCoin("uakt", 499_999)}
	_, reasons = bidengine.Decide(t.Context(), order(nil), s)
	require.Len(t, reasons, 1)
	assert.Equal(t, bidengine.DepositShort, reasons[0].Code)
	assert.True(t, reasons[0].Deposit())
}

func TestAnOrderThatCanBeScaledHasAPricePerReplica(t *testing.T) {
	s := snapshot(t)
	scalable := func(o *market.Order) {
		u := o.Spec.Units[0]
		u.MinCount, u.MaxCount = 1, 5
		u.Endpoints = []market.Endpoint{{Kind: market.EndpointLeasedIP, SequenceNumber: 1}}
		v := u
		v.ID, v.Count = 2, 1
		o.Spec.Units = []market.ResourceUnit{u, v}
	}
	s.Addresses = func() []bidengine.Reason { return nil }
	d, reasons := bidengine.Decide(t.Context(), order(scalable), s)
	require.Empty(t, reasons)
	// 500 × 0.004 + 512 × 0.0016 + 1024 × 0.00016, and the address of 60 among the
	// two replicas of the first unit.
	assert.Equal(t, []market.UnitPrice{
		{Unit: 1, AmountPerBlock: decimal(t, "32.98304")}, {Unit: 2, AmountPerBlock: decimal(t, "2.98304")},
	}, d.Units)
	want, err := order(scalable).Spec.PriceOf("uact", d.Units)
	require.NoError(t, err)
	assert.Equal(t, want, d.Price)

	dear := order(scalable)
	dear.Spec.Units[0].Price.AmountPerBlock = market.NewDecimal(32)
	_, reasons = bidengine.Decide(t.Context(), dear, s)
	require.Len(t, reasons, 1)
	assert.Equal(t, bidengine.PriceOverCeiling, reasons[0].Code)
}

func TestWhichReasonsAreWorthAnotherLook(t *testing.T) {
	for code, want := range map[bidengine.Code]bool{
		bidengine.Code(inventory.InsufficientCPU): true, bidengine.Code(inventory.NoGPU): true, bidengine.AddressesExhausted: true,
		bidengine.PriceOverCeiling: false, "bid-attributes": false, bidengine.Code(inventory.Invalid): false,
	} {
		assert.Equal(t, want, bidengine.Reason{Code: code}.Capacity(), code)
	}
}

func TestAPricerThatFailsIsTheOperatorsAffair(t *testing.T) {
	s := snapshot(t)
	s.Pricer = bidengine.PricerFunc(func(context.Context, bidengine.Request) (market.Decimal, error) {
		return market.Decimal{}, errors.New("boom")
	})
	_, reasons := bidengine.Decide(t.Context(), order(nil), s)
	assert.Equal(t, bidengine.Internal, reasons[0].Code)
}
