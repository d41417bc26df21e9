package fleet_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/runtime/memruntime"
)

func TestManyLeasesShareTheLookAtTheRuntime(t *testing.T) {
	const leases = 100
	bubble(t, func(r *rig) {
		t := r.t
		r.stop()
		r.cfg.Node.Allocatable.MilliCores = 1_000_000
		r.cfg.Node.Allocatable.MemoryBytes = 1 << 40
		r.start()
		for n := range uint64(leases) {
			r.apply(workload(n+1, 1, replicas(web("web", fmt.Sprint(n)), 2)))
		}
		for n := range uint64(leases) {
			r.until(lease(n+1), func(s driver.Status) bool { return s.State == driver.Ready })
		}
		assert.Len(t, r.containers(), 2*leases)
		before := r.machine.Calls(memruntime.OpList)
		time.Sleep(time.Hour)
		perMinute := float64(r.machine.Calls(memruntime.OpList)-before) / 60
		assert.Less(t, perMinute, leases*0.5, "listings per minute at rest")
	})
}

func TestAPublicPortIsInTheURIs(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.stop()
		r.cfg.PublicPort, r.cfg.Domain = 80, "apps.example"
		r.start()
		s := r.ready(workload(1, 1, web("web", "hi")))
		assert.Regexp(t, `^http://web-[a-z0-9]{12}\.apps\.example$`, s.Services[0].URIs[0])
		owner, err := r.fleet.HostnameOwner(t.Context(), strings.ToUpper(strings.TrimPrefix(s.Services[0].URIs[0], "http://")))
		require.NoError(t, err)
		assert.Equal(t, lease(1), owner)
	})
}
