package cluster_test

import (
	"context"
	"fmt"

	"github.com/moorage-dev/moorage/cluster"
	"github.com/moorage-dev/moorage/cluster/memcluster"
)

func Example() {
	ctx := context.Background()
	c, err := cluster.New(memcluster.New(memcluster.Config{}), cluster.Config{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = c.Close() }()

	w := workload(1, 1)
	if err := c.Apply(ctx, w); err != nil {
		panic(err)
	}
	s, err := c.WaitReady(ctx, w.Lease, w.Revision)
	fmt.Println(s.State, s.Services[0].URIs, err)

	if err := c.Delete(ctx, w.Lease); err != nil {
		panic(err)
	}
	_, err = c.Status(ctx, w.Lease)
	fmt.Println(err)
	// Output:
	// ready [http://web-c8b4de32e193.mem.test] <nil>
	// cluster: status tenant/1/1/1/provider: not found
}
