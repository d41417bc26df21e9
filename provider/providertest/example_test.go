package providertest_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/providertest"
)

// A provider dies at its second step: what it does then has no effect.
func ExampleCrasher() {
	crash := providertest.NewCrasher(2, false, func() { fmt.Println("it dies") })
	cluster := crash.Cluster(memcluster.New(memcluster.Config{}))
	ctx, id := context.Background(), market.LeaseID{}
	fmt.Println(cluster.Delete(ctx, id))
	fmt.Println(errors.Is(cluster.Delete(ctx, id), providertest.ErrCrashed))
	fmt.Println(crash.Steps(), crash.Last(), crash.Crashed())
	// Output:
	// <nil>
	// it dies
	// true
	// 2 delete true
}
