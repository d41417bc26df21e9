package inventory_test

import (
	"fmt"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
)

func Example() {
	const gib = 1 << 30
	ledger, err := inventory.New([]inventory.Node{
		{Name: "a", Architecture: "amd64", Allocatable: inventory.Quantities{MilliCores: 4000, MemoryBytes: 8 * gib}},
		{Name: "b", Architecture: "amd64", Allocatable: inventory.Quantities{MilliCores: 2000, MemoryBytes: 8 * gib}},
	}, inventory.Overcommit{})
	if err != nil {
		panic(err)
	}
	var u market.ResourceUnit
	u.ID, u.Count = 1, 2
	u.CPU.MilliCores, u.Memory.Bytes = 2000, gib
	spec := market.GroupSpec{Name: "web", Units: []market.ResourceUnit{u}}

	placement, _ := ledger.Reserve("tenant/7/1/1/provider", spec)
	for _, a := range placement.Assignments {
		fmt.Println("replica", a.Replica, "on", a.Node)
	}
	_, reasons := ledger.Reserve("tenant/8/1/1/provider", spec)
	fmt.Println(reasons)
	// Output:
	// replica 0 on b
	// replica 1 on a
	// [insufficient-cpu: unit 1: 2 × 2000 thousandths of a core wanted, room for 1]
}
