package clustertest_test

import (
	"context"
	"fmt"

	"github.com/moorage-dev/moorage/cluster/clustertest"
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
)

// forgetful is a driver whose List misses everything.
type forgetful struct{ *memcluster.Driver }

func (forgetful) List(context.Context) ([]market.LeaseID, error) { return nil, nil }

// A case is a function that returns an error, so a suite can be run by anything.
// In a test of a driver it is clustertest.Run(t, harness).
func Example() {
	for _, d := range []driver.Driver{memcluster.New(memcluster.Config{}), forgetful{memcluster.New(memcluster.Config{})}} {
		env := clustertest.Harness{}.Env(&clustertest.Cluster{Driver: d})
		for _, c := range clustertest.Cases() {
			if c.Name == "list" {
				fmt.Println(c.Clause)
				fmt.Println(c.Check(context.Background(), env))
			}
		}
	}
	// Output:
	// List returns every lease with anything on the cluster, sorted by its text.
	// <nil>
	// List returns every lease with anything on the cluster, sorted by its text.
	// list is [], want [tenant/1/1/1/provider tenant/2/1/1/provider tenant/3/1/1/provider]
}
