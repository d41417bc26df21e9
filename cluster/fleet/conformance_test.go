package fleet_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/moorage-dev/moorage/cluster/clustertest"
	"github.com/moorage-dev/moorage/cluster/driver"
)

// TestConformance runs the suite against containers that are Go functions. The
// same suite runs against real ones in TestConformanceOfRealContainers.
func TestConformance(t *testing.T) {
	clustertest.Run(t, clustertest.Harness{
		Run: synctest.Test, Image: image, MissingImage: "no-such:1",
		Abilities: []clustertest.Ability{
			clustertest.Watch, clustertest.Logs, clustertest.Exec, clustertest.Hostnames, clustertest.Reopen,
			clustertest.HTTP, clustertest.Forward, clustertest.Names, clustertest.Isolation, clustertest.Policy,
			clustertest.Images, clustertest.Restarts,
		},
		New: func(t *testing.T) *clustertest.Cluster {
			t.Helper()
			r := newRig(t)
			return &clustertest.Cluster{
				Driver: r.fleet,
				Get:    func(_ context.Context, url string) (string, error) { return r.get(url) },
				Reopen: func(context.Context) (driver.Driver, error) {
					r.restart()
					return r.fleet, nil
				},
			}
		},
	})
}
