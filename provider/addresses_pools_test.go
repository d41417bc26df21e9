package provider_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

func TestPoolsThatOthersChangeAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN("203.0.113.1")
		var now atomic.Pointer[[]iplease.Pool] // nil fails
		set := func(ranges ...string) {
			pools := newLAN(ranges...).pools
			now.Store(&pools)
		}
		set("203.0.113.1")
		var asked atomic.Int64
		followed := func() { // what was set before is in force after the next answer
			t.Helper()
			before := asked.Load()
			eventually(t, "the pools are asked for again", func() bool { return asked.Load() > before+1 })
		}
		w.start(func(c *provider.Config) {
			l.lease(c)
			c.Addresses.Refresh = func(context.Context) ([]iplease.Pool, error) {
				asked.Add(1)
				if pools := now.Load(); pools != nil {
					return *pools, nil
				}
				return nil, assert.AnError
			}
		})
		_, first := w.deployIP(ipPlan(t, "V=1", "one"))
		_, orders, err := w.tenant.Create(t.Context(), ipPlan(t, "V=2", "two"))
		require.NoError(t, err)
		eventually(t, "there is no address for a second", func() bool {
			told := w.tells(orders[0])
			return len(told) > 0 && told[0] == bidengine.AddressesExhausted
		})

		now.Store(nil)
		followed()
		assert.NotEmpty(t, w.tells(orders[0]))
		assert.Equal(t, first, l.leads("203.0.113.1", iplease.TCP, 80), "an error changes nothing")

		set("203.0.113.1", "203.0.113.2")
		eventually(t, "the order is bid on after all", func() bool { return len(w.tells(orders[0])) == 0 })

		set("203.0.113.9") // the network takes both back
		followed()
		assert.Equal(t, first, l.leads("203.0.113.1", iplease.TCP, 80), "no claim moves")
		assert.Equal(t, api.IPBound, w.status(first).IPs[0].State)
		_, third := w.deployIP(ipPlan(t, "V=3", "three"))
		eventually(t, "what is new is leased", func() bool { return l.leads("203.0.113.9", iplease.TCP, 80) == third })

		set("203.0.113.9", "203.0.113.9") // cannot be
		followed()
		assert.Equal(t, third, l.leads("203.0.113.9", iplease.TCP, 80))
		set("203.0.113.9", "203.0.113.10")
		followed()
		_, fourth := w.deployIP(ipPlan(t, "V=4", "four"))
		eventually(t, "and followed again", func() bool { return l.leads("203.0.113.10", iplease.TCP, 80) == fourth })
	})
}
