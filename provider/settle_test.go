package provider_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster"
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// scheduled is a cluster that runs workloads on nodes of its own choice.
type scheduled struct {
	*cluster.Cluster

	choose func(driver.Status) string
}

func (c scheduled) Status(ctx context.Context, id market.LeaseID) (driver.Status, error) {
	st, err := c.Cluster.Status(ctx, id)
	for i := range st.Services {
		for j := range st.Services[i].Replicas {
			st.Services[i].Replicas[j].Node = c.choose(st)
		}
	}
	return st, err
}

func TestRoomThatTheClusterGaveToAnotherIsNotPromised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var nodes []inventory.Node
		for _, name := range []string{"a", "b"} {
			nodes = append(nodes, inventory.Node{Name: name, Architecture: "amd64", Allocatable: inventory.Quantities{
				MilliCores: 1000, MemoryBytes: 1 << 30, EphemeralBytes: 10 << 30,
			}})
		}
		w := newWorld(t, memcluster.Config{Nodes: nodes})
		one, two := plan(t, "V=1", nil), plan(t, "V=2", nil)
		spread := func(c *provider.Config) {
			c.Cluster = scheduled{c.Cluster.(*cluster.Cluster), func(st driver.Status) string {
				if st.Hash == one.Hash {
					return "a"
				}
				return "b"
			}}
		}
		promised := func() (out []string) {
			for _, r := range w.provider().Reservations() {
				for _, a := range r.Placement.Assignments {
					out = append(out, a.Node)
				}
			}
			return out
		}
		_, stop := w.start(spread)
		_, err := w.tenant.Deploy(t.Context(), one)
		require.NoError(t, err)
		second, err := w.tenant.Deploy(t.Context(), two)
		require.NoError(t, err)
		eventually(t, "the ledger follows", func() bool { return assert.ObjectsAreEqual([]string{"a", "b"}, promised()) })
		stop()
		w.start(spread)
		assert.Equal(t, []string{"a", "b"}, promised(), "it is remembered")

		whole := plan(t, "V=3", func(r *market.Resources) { r.CPU.MilliCores = 1000 })
		_, orders, err := w.tenant.Create(t.Context(), whole)
		require.NoError(t, err)
		eventually(t, "no node has a whole core", func() bool {
			told := w.tells(orders[0])
			return len(told) > 0 && told[0] == bidengine.Code(inventory.InsufficientCPU)
		})
		require.NoError(t, w.tenant.Close(t.Context(), second.Deployment))
		bids, err := w.tenant.AwaitBids(t.Context(), orders)
		require.NoError(t, err)
		leases, err := w.tenant.Accept(t.Context(), bids)
		require.NoError(t, err)
		require.NoError(t, w.tenant.SendManifest(t.Context(), leases, whole.Manifest))
		eventually(t, "both are where they are", func() bool { return assert.ObjectsAreEqual([]string{"a", "b"}, promised()) })
	})
}
