package fleet_test

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
)

func netipAddrPort(a netip.Addr, port int) netip.AddrPort { return netip.AddrPortFrom(a, uint16(port)) }

// bubble runs a test with a rig in virtual time.
func bubble(t *testing.T, f func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(newRig(t)) })
}

func TestAWebPageAnswersUnderItsGeneratedName(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		s := r.ready(workload(1, 1, web("web", "hello")))
		require.Len(t, s.Services[0].URIs, 1)
		assert.Regexp(t, `^http://web-[a-z0-9]{12}\.localhost:\d+$`, s.Services[0].URIs[0])
		body, err := r.get(s.Services[0].URIs[0] + "/")
		require.NoError(t, err)
		assert.Equal(t, "hello", body)
	})
}

func TestDeleteRemovesEverything(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		s := r.ready(workload(1, 1, web("web", "hello")))
		require.NoError(t, r.fleet.Delete(t.Context(), lease(1)))
		assert.Empty(t, r.containers())
		_, err := r.fleet.Status(t.Context(), lease(1))
		require.ErrorIs(t, err, driver.ErrNotFound)
		_, err = r.get(s.Services[0].URIs[0] + "/")
		require.ErrorContains(t, err, "404")
		ids, err := r.fleet.List(t.Context())
		require.NoError(t, err)
		assert.Empty(t, ids)
		r.restart()
		ids, err = r.fleet.List(t.Context())
		require.NoError(t, err)
		assert.Empty(t, ids)
	})
}

func TestAnUpdateKeepsThePageAnswering(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		s := r.ready(workload(1, 1, replicas(web("web", "one"), 2)))
		uri := s.Services[0].URIs[0] + "/"
		ctx, stop := context.WithCancel(t.Context())
		answers, done := make(map[string]int), make(chan struct{})
		go func() {
			defer close(done)
			for ctx.Err() == nil {
				body, err := r.get(uri)
				if ctx.Err() == nil && assert.NoError(t, err) {
					answers[body]++
				}
				time.Sleep(20 * time.Millisecond)
			}
		}()
		r.ready(workload(1, 2, replicas(web("web", "two"), 2)))
		r.settle()
		stop()
		<-done
		assert.Positive(t, answers["one"])
		assert.Positive(t, answers["two"])
		body, err := r.get(uri)
		require.NoError(t, err)
		assert.Equal(t, "two", body)
		assert.Len(t, r.containers(), 2, "the old replicas are gone")
	})
}

func TestAnUpdateLeavesUnchangedServicesAlone(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.ready(workload(1, 1, web("a", "one"), web("b", "one")))
		before := r.containers()
		r.ready(workload(1, 2, web("a", "two"), web("b", "one")))
		r.settle()
		kept := 0
		for name, c := range r.containers() {
			if old, ok := before[name]; ok {
				kept++
				assert.Equal(t, old.StartedAt, c.StartedAt)
				assert.Equal(t, "b", c.Labels["moorage.service"])
			}
		}
		assert.Equal(t, 1, kept)
	})
}

func TestARestartFindsTheContainersAndStartsNoneTwice(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		s := r.ready(workload(1, 1, replicas(web("web", "hello"), 3)))
		before := r.containers()
		for range 3 {
			r.restart()
			r.until(lease(1), func(s driver.Status) bool { return s.State == driver.Ready })
			r.settle()
			assert.Equal(t, before, r.containers())
		}
		body, err := r.get(r.status(1).Services[0].URIs[0] + "/")
		require.NoError(t, err)
		assert.Equal(t, "hello", body)
		assert.EqualValues(t, 3, s.Services[0].Ready)
	})
}

func (r *rig) status(n uint64) driver.Status {
	r.t.Helper()
	s, err := r.fleet.Status(r.t.Context(), lease(n))
	require.NoError(r.t, err)
	return s
}
