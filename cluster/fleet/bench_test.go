//go:build linux && cgo

package fleet_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster"
)

// BenchmarkRealContainer measures, with a real container on this machine, the
// time from Apply to the page answering, of an update until the new page
// answers, and of Delete. The image is on the host already.
func BenchmarkRealContainer(b *testing.B) {
	h := newRealHost(b)
	image := shared().image
	c, err := cluster.New(h.fleet, cluster.Config{})
	require.NoError(b, err)
	page := func(n, revision uint64, greeting string) time.Duration {
		start := time.Now()
		s := web("web", greeting)
		s.Image = image
		w := workload(n, revision, s)
		require.NoError(b, c.Apply(b.Context(), w))
		status, err := c.WaitReady(b.Context(), w.Lease, revision)
		require.NoError(b, err)
		for {
			body, err := localGet(b.Context(), status.Services[0].URIs[0]+"/")
			require.NoError(b, err)
			if body == greeting {
				return time.Since(start)
			}
		}
	}
	page(1_000_000, 1, "warm")
	var deploy, update, remove time.Duration
	n := uint64(0)
	for b.Loop() {
		n++
		deploy += page(n, 1, fmt.Sprint("one ", n))
		update += page(n, 2, fmt.Sprint("two ", n))
		start := time.Now()
		require.NoError(b, c.Delete(context.WithoutCancel(b.Context()), lease(n)))
		remove += time.Since(start)
	}
	b.ReportMetric(float64(deploy.Milliseconds())/float64(n), "deploy-ms")
	b.ReportMetric(float64(update.Milliseconds())/float64(n), "update-ms")
	b.ReportMetric(float64(remove.Milliseconds())/float64(n), "delete-ms")
}
