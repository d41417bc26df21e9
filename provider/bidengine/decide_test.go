package bidengine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

func decimal(t interface{ Fatalf(string, ...any) }, s string) market.Decimal {
	d, err := market.ParseDecimal(s)
	if err != nil {
		t.Fatalf("decimal %q: %s", s, err)
	}
	return d
}

func rates(t interface{ Fatalf(string, ...any) }) bidengine.Rates {
	return bidengine.Rates{
		CPUPerMilliCore: decimal(t, "0.004"),
		MemoryPerMi:     decimal(t, "0.0016"),
		StoragePerMi: map[string]market.Decimal{
			bidengine.ClassEphemeral: decimal(t, "0.00016"), "beta2": decimal(t, "0.001"),
		},
		GPUPerCard:  map[string]market.Decimal{"nvidia/a100": market.NewDecimal(100), "": market.NewDecimal(10)},
		PerEndpoint: market.NewDecimal(1),
		PerLeasedIP: market.NewDecimal(60),
	}
}

func nodes() []inventory.Node {
	return []inventory.Node{{
		Name: "n1", Architecture: "amd64",
		Allocatable: inventory.Quantities{
			MilliCores: 4000, MemoryBytes: 8 << 30, EphemeralBytes: 100 << 30,
			PersistentBytes: map[string]uint64{"beta2": 50 << 30},
			GPUs:            []inventory.GPU{{ID: "0", Vendor: "nvidia", Model: "a100", MemoryBytes: 80 << 30, Interface: "sxm"}},
		},
	}}
}

func snapshot(t *testing.T) bidengine.Snapshot {
	t.Helper()
	ledger, err := inventory.New(nodes(), inventory.Overcommit{})
	require.NoError(t, err)
	return bidengine.Snapshot{
		Provider:  market.Provider{Owner: "provider", Attributes: market.Attributes{{Key: "region", Value: "here"}}},
		Params:    market.DefaultParams("uact", "uakt"),
		Inventory: ledger.Snapshot(),
		Pricer:    bidengine.Scale{"uact": rates(t)},
		Now:       time.Unix(1_800_000_000, 0),
	}
}

func order(change func(*market.Order)) market.Order {
	o := market.Order{
		ID:    market.OrderID{GroupID: market.GroupID{DeploymentID: market.DeploymentID{Owner: "tenant", DSeq: 7}, GSeq: 1}, OSeq: 1},
		State: market.OrderOpen,
		Spec: market.GroupSpec{Name: "g", Units: []market.ResourceUnit{{
			Resources: market.Resources{
				ID: 1, CPU: market.CPU{MilliCores: 500}, Memory: market.Memory{Bytes: 512 << 20},
				Storage:   []market.Volume{{Name: "default", Bytes: 1 << 30}},
				Endpoints: []market.Endpoint{{Kind: market.EndpointSharedHTTP}},
			},
			Count: 2, Price: market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(1000)},
		}}},
	}
	if change != nil {
		change(&o)
	}
	return o
}

func TestAnOrderThatFitsIsBidOnAtTheScalePrice(t *testing.T) {
	d, reasons := bidengine.Decide(t.Context(), order(nil), snapshot(t))
	require.Empty(t, reasons)
	// 2 × (500 × 0.004 + 512 × 0.0016 + 1024 × 0.00016) + 1 endpoint
	assert.Equal(t, "6.96608", d.Price.AmountPerBlock.String())
	assert.Equal(t, market.NewCoin("uact", 500_000), d.Deposit)
	assert.Len(t, d.Placement.Assignments, 2)
}

func TestEveryRefusalHasItsCode(t *testing.T) {
	cases := []struct {
		name  string
		order func(*market.Order)
		snap  func(*bidengine.Snapshot)
		want  bidengine.Code
	}{
		{"matched", func(o *market.Order) { o.State = market.OrderMatched }, nil, bidengine.OrderNotOpen},
		{"own", func(o *market.Order) { o.ID.Owner = "provider" }, nil, bidengine.OwnOrder},
		{"draining", nil, func(s *bidengine.Snapshot) { s.Draining = true }, bidengine.Draining},
		{"full", func(o *market.Order) { o.Bids = 20 }, nil, bidengine.OrderFull},
		{"attribute", func(o *market.Order) {
			o.Spec.Requirements.Attributes = market.Attributes{{Key: "region", Value: "there"}}
		}, nil, "bid-attributes"},
		{"auditor", func(o *market.Order) {
			o.Spec.Requirements.SignedBy.AnyOf = []market.Address{"auditor"}
		}, nil, "bid-signed-by-any"},
		{"denom", func(o *market.Order) { o.Spec.Units[0].Price.Denom = "uother" }, nil, bidengine.DenomNotAccepted},
		{"no rates", func(o *market.Order) { o.Spec.Units[0].Price.Denom = "uakt" }, nil, bidengine.NoPrice},
		{"ceiling", func(o *market.Order) { o.Spec.Units[0].Price.AmountPerBlock = market.NewDecimal(1) }, nil, bidengine.PriceOverCeiling},
		{"cpu", func(o *market.Order) { o.Spec.Units[0].CPU.MilliCores = 100_000 }, nil, bidengine.Code(inventory.InsufficientCPU)},
		{"ip", func(o *market.Order) {
			o.Spec.Units[0].Endpoints = []market.Endpoint{{Kind: market.EndpointLeasedIP, SequenceNumber: 1}}
		}, nil, bidengine.AddressesExhausted},
		{"zero price", nil, func(s *bidengine.Snapshot) {
			s.Pricer = bidengine.Scale{"uact": {StoragePerMi: map[string]market.Decimal{bidengine.ClassEphemeral: {}}}}
		}, bidengine.NoPrice},
		{"pricer fails", nil, func(s *bidengine.Snapshot) {
			s.Pricer = bidengine.PricerFunc(func(context.Context, bidengine.Request) (market.Decimal, error) {
				return market.Decimal{}, errors.New("boom")
			})
		}, bidengine.Internal},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := snapshot(t)
			if c.snap != nil {
				c.snap(&s)
			}
			d, reasons := bidengine.Decide(t.Context(), order(c.order), s)
			require.NotEmpty(t, reasons)
			assert.Equal(t, c.want, reasons[0].Code)
			assert.NotEmpty(t, reasons[0].Detail)
			assert.Equal(t, bidengine.Decision{}, d)
		})
	}
}

func TestALeasedAddressIsChargedOnceHoweverManyPortsUseIt(t *testing.T) {
	s := snapshot(t)
	s.Addresses = func() []bidengine.Reason { return nil }
	two := []market.Endpoint{{Kind: market.EndpointLeasedIP, SequenceNumber: 3}, {Kind: market.EndpointLeasedIP, SequenceNumber: 3}}
	one, reasons := bidengine.Decide(t.Context(), order(func(o *market.Order) { o.Spec.Units[0].Endpoints = two[:1] }), s)
	require.Empty(t, reasons)
	both, reasons := bidengine.Decide(t.Context(), order(func(o *market.Order) { o.Spec.Units[0].Endpoints = two }), s)
	require.Empty(t, reasons)
	assert.Equal(t, one.Price, both.Price)
}

func TestTheCardThatIsPlacedSetsThePrice(t *testing.T) {
	s := snapshot(t)
	s.Provider.Attributes = append(s.Provider.Attributes, market.Attribute{Key: "capabilities/gpu/vendor/nvidia/model/a100", Value: "true"})
	d, reasons := bidengine.Decide(t.Context(), order(func(o *market.Order) {
		o.Spec.Units[0].Count = 1
		o.Spec.Units[0].GPU = market.GPU{Units: 1, Attributes: market.Attributes{{Key: "vendor/nvidia/model/*", Value: "true"}}}
	}), s)
	require.Empty(t, reasons)
	assert.Equal(t, "103.98304", d.Price.AmountPerBlock.String())
}

func TestPriceGrowsWithWhatIsAskedFor(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		scale := bidengine.Scale{"uact": rates(rt)}
		price := func(milli, mem, disk uint64, count uint32) market.Decimal {
			o := order(func(o *market.Order) {
				u := &o.Spec.Units[0]
				u.CPU.MilliCores, u.Memory.Bytes, u.Storage[0].Bytes, u.Count = milli, mem, disk, count
			})
			d, err := scale.Price(t.Context(), bidengine.Request{Order: o, Denom: "uact"})
			require.NoError(rt, err)
			return d
		}
		milli := rapid.Uint64Range(1, 384_000).Draw(rt, "milli")
		mem := rapid.Uint64Range(1, 2<<40).Draw(rt, "mem")
		disk := rapid.Uint64Range(1, 32<<40).Draw(rt, "disk")
		count := rapid.Uint32Range(1, 50).Draw(rt, "count")
		base := price(milli, mem, disk, count)
		for _, more := range []market.Decimal{
			price(milli+1, mem, disk, count), price(milli, mem+1, disk, count),
			price(milli, mem, disk+1, count), price(milli, mem, disk, count+1),
		} {
			assert.Positive(rt, more.Cmp(base))
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			all := make([]inventory.Node, n)
			for i := range all {
				all[i] = nodes()[0]
				all[i].Name = fmt.Sprintf("n%05d", i)
			}
			ledger, err := inventory.New(all, inventory.Overcommit{})
			require.NoError(b, err)
			s := bidengine.Snapshot{
				Provider:  market.Provider{Owner: "provider"},
				Params:    market.DefaultParams("uact"),
				Inventory: ledger.Snapshot(),
				Pricer:    bidengine.Scale{"uact": rates(b)},
			}
			o := order(nil)
			b.ReportAllocs()
			for b.Loop() {
				if _, reasons := bidengine.Decide(b.Context(), o, s); len(reasons) > 0 {
					b.Fatal(reasons)
				}
			}
		})
	}
}
