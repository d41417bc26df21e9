package fleet_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/memruntime"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// storm does random things to a fleet and remembers what should be.
type storm struct {
	*rig
	rand     *rand.Rand
	desired  map[market.LeaseID]driver.Workload
	revision uint64
}

// TestAfterAnyCrashTheFleetConverges applies, updates and deletes at random,
// while the runtime fails and loses answers, containers crash and the fleet is
// stopped at any moment and started again. Then, left in peace, exactly what is
// desired runs, and nothing else is left.
func TestAfterAnyCrashTheFleetConverges(t *testing.T) {
	const seeds, steps = 40, 60
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(r *rig) {
				t := r.t
				s := &storm{rig: r, rand: rand.New(rand.NewPCG(seed, 1)), desired: make(map[market.LeaseID]driver.Workload)}
				for range steps {
					s.step()
					s.neverTwice()
				}
				s.machine.Heal()
				s.restart()
				time.Sleep(20 * time.Minute) // all back-offs pass
				s.check()
				for id := range s.desired {
					require.NoError(t, s.fleet.Delete(t.Context(), id))
				}
				s.desired = nil
				s.check()
				s.empty()
			})
		})
	}
}

// step does one thing and lets a random time pass.
func (s *storm) step() {
	switch n := s.rand.IntN(20); {
	case n < 7:
		s.applyAny()
	case n < 9:
		s.deleteAny()
	case n < 12:
		s.restart()
	case n < 14:
		s.machine.Inject(s.fault())
	case n < 16:
		for name := range s.containers() {
			s.machine.Crash(name, 1, "")
			break
		}
	case n < 17:
		s.machine.Heal()
	}
	time.Sleep(time.Duration(s.rand.IntN(3000)) * time.Millisecond)
}

func (s *storm) fault() memruntime.Fault {
	ops := []memruntime.Op{
		memruntime.OpPull, memruntime.OpStart, memruntime.OpStop, memruntime.OpRemove, memruntime.OpList,
		memruntime.OpEnsureNetwork, memruntime.OpDeleteNetwork, memruntime.OpSetHosts, memruntime.OpRemoveVolume,
	}
	return memruntime.Fault{
		Op: ops[s.rand.IntN(len(ops))], Err: errors.New("the kernel says no"), After: s.rand.IntN(2) == 0,
		Times: 1 + s.rand.IntN(3), Delay: time.Duration(s.rand.IntN(2)) * time.Second,
	}
}

func (s *storm) applyAny() {
	s.revision++
	n := uint64(s.rand.IntN(3) + 1)
	var services []manifest.Service
	for _, name := range []string{"a", "b"}[:1+s.rand.IntN(2)] {
		v := replicas(web(name, fmt.Sprint("greeting ", s.rand.IntN(3))), uint32(s.rand.IntN(4)))
		if s.rand.IntN(3) == 0 {
			v.Resources.Storage = append(v.Resources.Storage, market.Volume{Name: "data", Bytes: 1 << 20, Attributes: market.Attributes{
				{Key: "class", Value: "beta2"}, {Key: "persistent", Value: "true"},
			}}, market.Volume{Name: "tmp", Bytes: 1 << 20})
			v.Params = &manifest.Params{Storage: []manifest.StorageParams{{Name: "data", Mount: "/data"}, {Name: "tmp", Mount: "/tmp/x"}}}
		}
		if s.rand.IntN(3) == 0 {
			v.Expose = append(v.Expose, manifest.Expose{Port: 9000, Proto: manifest.TCP, Global: true})
		}
		services = append(services, v)
	}
	w := workload(n, s.revision, services...)
	err := s.fleet.Apply(s.t.Context(), w)
	if err == nil {
		s.desired[w.Lease] = w
		return
	}
	assertTransient(s.t, err) // still being deleted
}

func (s *storm) deleteAny() {
	id := lease(uint64(s.rand.IntN(3) + 1))
	delete(s.desired, id)
	go func(f driver.Driver) { _ = f.Delete(s.t.Context(), id) }(s.fleet)
}

// neverTwice checks that no replica runs the same definition twice.
func (s *storm) neverTwice() {
	seen := make(map[string]string)
	for name, c := range s.containers() {
		l := c.Labels
		key := strings.Join([]string{l["moorage.lease"], l["moorage.service"], l["moorage.replica"], l["moorage.hash"]}, " ")
		assert.Empty(s.t, seen[key], "%s and %s are the same replica", name, seen[key])
		seen[key] = name
	}
}

// check compares what runs with what is desired.
func (s *storm) check() {
	s.t.Helper()
	want := make(map[string]int)
	for id, w := range s.desired {
		st := s.until(id, func(st driver.Status) bool { return st.State == driver.Ready && st.Revision == w.Revision })
		for i, v := range w.Group.Services {
			if v.Count == 0 {
				continue
			}
			want[id.String()+" "+v.Name] = int(v.Count)
			body, err := s.get(st.Services[i].URIs[0] + "/")
			require.NoError(s.t, err)
			assert.Equal(s.t, strings.TrimPrefix(v.Env[0], "GREETING="), body)
		}
	}
	got := make(map[string]int)
	for _, c := range s.containers() {
		got[c.Labels["moorage.lease"]+" "+c.Labels["moorage.service"]]++
	}
	assert.Equal(s.t, want, got)
	ids, err := s.fleet.List(s.t.Context())
	require.NoError(s.t, err)
	assert.Len(s.t, ids, len(s.desired))
}

// empty checks that nothing is left behind.
func (s *storm) empty() {
	s.t.Helper()
	cs, err := s.rt.List(s.t.Context())
	require.NoError(s.t, err)
	assert.Empty(s.t, cs)
	volumes, err := s.rt.Volumes(s.t.Context())
	require.NoError(s.t, err)
	assert.Empty(s.t, volumes)
	assert.Len(s.t, s.net.ports, 1, "only the ingress listens")
	files, err := os.ReadDir(s.dir)
	require.NoError(s.t, err)
	assert.Len(s.t, files, 1, "only the lock is on disk")
}

func TestAContainerThatCrashesIsStartedAgainEverMoreSlowly(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		v := web("web", "hi")
		v.Env = append(v.Env, "EXIT=3")
		r.apply(workload(1, 1, v))
		restarts := func() uint32 { return r.status(1).Services[0].Replicas[0].Restarts }
		time.Sleep(time.Minute)
		first := restarts()
		assert.InDelta(t, 5, first, 1, "after 1, 3, 7, 15, 31 seconds")
		r.restart()
		time.Sleep(time.Minute)
		assert.InDelta(t, 6, restarts(), 1, "the count survives a restart")
		time.Sleep(time.Hour)
		assert.InDelta(t, 20, restarts(), 3, "every five minutes")
		s := r.status(1)
		assert.Equal(t, driver.Failing, s.State)
		assert.Equal(t, "exited with code 3", s.Services[0].Reason)
		r.ready(workload(1, 2, web("web", "mended")))
	})
}

func TestACrashAfterALongRunIsForgiven(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.ready(workload(1, 1, web("web", "hi")))
		for range 5 {
			time.Sleep(time.Hour)
			for name := range r.containers() {
				r.machine.Crash(name, 137, "out of memory")
			}
			synctest.Wait()
			time.Sleep(100 * time.Millisecond)
			s := r.status(1)
			assert.Equal(t, "ended: out of memory", s.Services[0].Reason)
			time.Sleep(3 * time.Second)
			assert.Equal(t, driver.Ready, r.status(1).State)
		}
		assert.EqualValues(t, 5, r.status(1).Services[0].Replicas[0].Restarts)
	})
}

func TestAMissingImageIsExplainedAndTriedAgain(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		v := web("web", "hi")
		v.Image = "registry.example/late:1"
		r.apply(workload(1, 1, v))
		s := r.until(lease(1), func(s driver.Status) bool { return s.State == driver.Failing })
		assert.Contains(t, s.Services[0].Reason, "image not available")
		assert.Contains(t, s.Services[0].Reason, "registry.example/late:1")
		r.machine.AddImage("registry.example/late:1", guestImage())
		r.until(lease(1), func(s driver.Status) bool { return s.State == driver.Ready })
	})
}

func TestPrivateImagesArePulledWithTheManifestsCredentials(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		im := guestImage()
		im.Username, im.Password = "user", "secret"
		r.machine.AddImage("private:1", im)
		v := web("web", "hi")
		v.Image = "private:1"
		r.apply(workload(1, 1, v))
		s := r.until(lease(1), func(s driver.Status) bool { return s.State == driver.Failing })
		assert.Contains(t, s.Services[0].Reason, "image not available")
		v.Credentials = &manifest.Credentials{Host: "private", Username: "user", Password: "secret"}
		r.ready(workload(1, 2, v))
		r.restart()
		name := ""
		for name = range r.containers() {
		}
		require.NoError(t, r.rt.Remove(t.Context(), name))
		time.Sleep(time.Minute)
		assert.Equal(t, driver.Ready, r.status(1).State, "credentials survive a restart")
	})
}

func TestAStuckPullDelaysNeitherUpdateNorDelete(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.machine.Inject(memruntime.Fault{Op: memruntime.OpPull, Name: "slow:1", Delay: time.Hour})
		v := web("web", "hi")
		v.Image = "slow:1"
		r.apply(workload(1, 1, v))
		r.apply(workload(2, 1, v))
		time.Sleep(time.Second)
		assert.Equal(t, "pulling image slow:1", r.status(1).Services[0].Reason)
		start := time.Now()
		r.ready(workload(1, 2, web("web", "fast")))
		require.NoError(t, r.fleet.Delete(t.Context(), lease(2)))
		assert.Less(t, time.Since(start), 5*time.Second)
	})
}

func TestARuntimeThatCannotBeSeenIsTransient(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.ready(workload(1, 1, web("web", "hi")))
		r.machine.Inject(memruntime.Fault{Op: memruntime.OpList, Err: errors.New("socket is gone")})
		time.Sleep(2 * time.Minute)
		_, err := r.fleet.Status(t.Context(), lease(1))
		assertTransient(t, err)
		require.ErrorContains(t, err, "socket is gone")
		r.machine.Heal()
		time.Sleep(10 * time.Second)
		assert.Equal(t, driver.Ready, r.status(1).State)
	})
}

func TestContainersWithoutAWorkloadAreListedAndCanBeDeleted(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.ready(workload(1, 1, web("web", "hi")))
		r.stop()
		entries, err := os.ReadDir(r.dir)
		require.NoError(t, err)
		for _, e := range entries {
			require.NoError(t, os.Remove(r.dir+"/"+e.Name()))
		}
		r.start()
		time.Sleep(time.Minute)
		assert.Len(t, r.containers(), 1, "nobody's containers are left alone")
		ids, err := r.fleet.List(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []market.LeaseID{lease(1)}, ids)
		require.NoError(t, r.fleet.Delete(t.Context(), lease(1)))
		assert.Empty(t, r.containers())
		ids, err = r.fleet.List(t.Context())
		require.NoError(t, err)
		assert.Empty(t, ids)
	})
}

func TestAWriterOfAPersistentVolumeIsStoppedBeforeTheNextStarts(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		v := func(greeting string) manifest.Service {
			v := web("db", greeting)
			v.Resources.Storage = []market.Volume{{Name: "data", Bytes: 1 << 20, Attributes: market.Attributes{
				{Key: "class", Value: "beta2"}, {Key: "persistent", Value: "true"},
			}}}
			v.Params = &manifest.Params{Storage: []manifest.StorageParams{{Name: "data", Mount: "/data"}}}
			return v
		}
		r.ready(workload(1, 1, v("one")))
		r.apply(workload(1, 2, v("two")))
		for range 200 {
			running := 0
			for _, c := range r.containers() {
				if c.State == runtime.Running {
					running++
				}
			}
			require.LessOrEqual(t, running, 1)
			time.Sleep(20 * time.Millisecond)
		}
		r.until(lease(1), func(s driver.Status) bool { return s.State == driver.Ready })
		volumes, err := r.rt.Volumes(t.Context())
		require.NoError(t, err)
		assert.Len(t, volumes, 1, "both used the same volume")
	})
}
