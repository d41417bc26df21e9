package bidengine_test

import (
	"context"
	"fmt"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// A provider that knows its costs asks half of what the tenant would pay.
func ExampleDecide() {
	half := bidengine.PricerFunc(func(_ context.Context, r bidengine.Request) (market.Decimal, error) {
		whole, _ := r.Ceiling.Split()
		n, _ := whole.Uint64()
		return market.NewDecimal(n / 2), nil
	})
	ledger, err := inventory.New([]inventory.Node{{
		Name: "rack-1", Architecture: "amd64",
		Allocatable: inventory.Quantities{MilliCores: 8000, MemoryBytes: 16 << 30, EphemeralBytes: 100 << 30},
	}}, inventory.Overcommit{})
	if err != nil {
		fmt.Println(err)
		return
	}
	order := market.Order{State: market.OrderOpen, Spec: market.GroupSpec{Units: []market.ResourceUnit{{
		Resources: market.Resources{ID: 1, CPU: market.CPU{MilliCores: 500}, Memory: market.Memory{Bytes: 1 << 30}},
		Count:     1, Price: market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(1000)},
	}}}}
	snapshot := bidengine.Snapshot{
		Provider:  market.Provider{Owner: "provider"},
		Params:    market.DefaultParams("uact"),
		Inventory: ledger.Snapshot(),
		Pricer:    half,
	}
	decision, _ := bidengine.Decide(context.Background(), order, snapshot)
	fmt.Println(decision.Price)

	order.Spec.Units[0].CPU.MilliCores = 64_000
	_, reasons := bidengine.Decide(context.Background(), order, snapshot)
	fmt.Println(reasons[0])
	// Output:
	// 500uact/block
	// insufficient-cpu: unit 1: 1 × 64000 thousandths of a core wanted, room for 0
}
