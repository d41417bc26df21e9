package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster"
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

var errBlip = &driver.TransientError{Err: errors.New("api server is away")}

// bare hides every optional ability of a driver.
type bare struct{ driver.Driver }

func lease(n uint64) market.LeaseID {
	id, err := market.ParseLeaseID(fmt.Sprintf("tenant/%d/1/1/provider", n))
	if err != nil {
		panic(err)
	}
	return id
}

func workload(n, revision uint64) driver.Workload {
	return driver.Workload{
		Lease: lease(n), Revision: revision, Hash: market.Hash{byte(revision)},
		Group: manifest.Group{Name: "g", Services: []manifest.Service{{
			Name: "web", Image: "img", Count: 1,
			Resources: market.Resources{ID: 1, CPU: market.CPU{MilliCores: 100}, Memory: market.Memory{Bytes: 1 << 20}},
			Expose:    []manifest.Expose{{Port: 80, Proto: manifest.TCP, Global: true}},
		}}},
	}
}

func wrapDriver(t *testing.T, d driver.Driver) *cluster.Cluster {
	t.Helper()
	c, err := cluster.New(d, cluster.Config{})
	require.NoError(t, err)
	return c
}

// failing makes the first n calls of an operation fail.
func failing(op memcluster.Op, n int, err error) (fault func(memcluster.Op, market.LeaseID) error, calls *atomic.Int64) {
	calls = new(atomic.Int64)
	return func(o memcluster.Op, _ market.LeaseID) error {
		if o == op && calls.Add(1) <= int64(n) {
			return err
		}
		return nil
	}, calls
}

func TestConfigFaultsAreReportedTogether(t *testing.T) {
	_, err := cluster.New(nil, cluster.Config{})
	require.Error(t, err)
	_, err = cluster.New(memcluster.New(memcluster.Config{}), cluster.Config{Attempts: -1, BaseDelay: -1, PollInterval: -1})
	require.ErrorContains(t, err, "attempts")
	require.ErrorContains(t, err, "delays")
	require.ErrorContains(t, err, "poll")
}

func TestATransientFailureIsTriedAgainWithGrowingDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memcluster.New(memcluster.Config{})
		fault, calls := failing(memcluster.OpApply, 4, errBlip)
		d.World().SetFault(fault)
		start := time.Now()
		require.NoError(t, wrapDriver(t, d).Apply(t.Context(), workload(1, 1)))
		assert.EqualValues(t, 5, calls.Load())
		took := time.Since(start)
		assert.GreaterOrEqual(t, took, 750*time.Millisecond)
		assert.LessOrEqual(t, took, 1500*time.Millisecond)
	})
}

func TestAttemptsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memcluster.New(memcluster.Config{})
		fault, calls := failing(memcluster.OpStatus, 1000, errBlip)
		d.World().SetFault(fault)
		_, err := wrapDriver(t, d).Status(t.Context(), lease(1))
		require.ErrorIs(t, err, errBlip)
		assert.EqualValues(t, cluster.DefaultAttempts, calls.Load())
	})
}

func TestAFinalFailureIsNotTriedAgainAndIsWrappedOnce(t *testing.T) {
	for _, sentinel := range []error{driver.ErrExhausted, driver.ErrConflict, driver.ErrInvalid, driver.ErrClosed} {
		d := memcluster.New(memcluster.Config{})
		fault, calls := failing(memcluster.OpApply, 1, sentinel)
		d.World().SetFault(fault)
		err := wrapDriver(t, d).Apply(t.Context(), workload(1, 1))
		require.ErrorIs(t, err, sentinel)
		assert.EqualValues(t, 1, calls.Load())
		var e *cluster.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, "apply", e.Op)
		assert.Equal(t, lease(1), e.Lease)
		assert.False(t, errors.As(e.Err, &e), "wrapped twice")
	}
}

func TestErrorTextNamesOperationLeaseAndCause(t *testing.T) {
	_, err := wrapDriver(t, memcluster.New(memcluster.Config{})).Status(t.Context(), lease(7))
	assert.EqualError(t, err, "cluster: status tenant/7/1/1/provider: not found")
}

func TestRetryEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memcluster.New(memcluster.Config{})
		fault, _ := failing(memcluster.OpList, 1000, errBlip)
		d.World().SetFault(fault)
		ctx, stop := context.WithTimeout(t.Context(), 150*time.Millisecond)
		defer stop()
		start := time.Now()
		_, err := wrapDriver(t, d).List(ctx)
		require.Error(t, err)
		assert.Equal(t, 150*time.Millisecond, time.Since(start))
	})
}

func TestABadWorkloadNeverReachesTheDriver(t *testing.T) {
	rows := map[string]func(*driver.Workload){
		"no lease":             func(w *driver.Workload) { w.Lease = market.LeaseID{} },
		"revision 0":           func(w *driver.Workload) { w.Revision = 0 },
		"no services":          func(w *driver.Workload) { w.Group.Services = nil },
		"bad name":             func(w *driver.Workload) { w.Group.Services[0].Name = "../x" },
		"upper case name":      func(w *driver.Workload) { w.Group.Services[0].Name = "Web" },
		"no image":             func(w *driver.Workload) { w.Group.Services[0].Image = "" },
		"image with a newline": func(w *driver.Workload) { w.Group.Services[0].Image = "a\nb" },
		"no cpu":               func(w *driver.Workload) { w.Group.Services[0].Resources.CPU.MilliCores = 0 },
		"no memory":            func(w *driver.Workload) { w.Group.Services[0].Resources.Memory.Bytes = 0 },
		"too many replicas":    func(w *driver.Workload) { w.Group.Services[0].Count = 1001 },
		"port 0":               func(w *driver.Workload) { w.Group.Services[0].Expose[0].Port = 0 },
		"port 65536":           func(w *driver.Workload) { w.Group.Services[0].Expose[0].Port = 65536 },
		"bad protocol":         func(w *driver.Workload) { w.Group.Services[0].Expose[0].Proto = "SCTP" },
		"bad host":             func(w *driver.Workload) { w.Group.Services[0].Expose[0].Hosts = []string{"a b"} },
		"zero byte in env":     func(w *driver.Workload) { w.Group.Services[0].Env = []string{"A=\x00"} },
		"env without name":     func(w *driver.Workload) { w.Group.Services[0].Env = []string{"=x"} },
		"twice the same service": func(w *driver.Workload) {
			w.Group.Services = append(w.Group.Services, w.Group.Services[0])
		},
		"mount of no volume": func(w *driver.Workload) {
			w.Group.Services[0].Params = &manifest.Params{Storage: []manifest.StorageParams{{Name: "v", Mount: "/v"}}}
		},
		"mount that climbs": func(w *driver.Workload) {
			w.Group.Services[0].Resources.Storage = []market.Volume{{Name: "v", Bytes: 1}}
			w.Group.Services[0].Params = &manifest.Params{Storage: []manifest.StorageParams{{Name: "v", Mount: "/a/../../etc"}}}
		},
		"mount over the root": func(w *driver.Workload) {
			w.Group.Services[0].Resources.Storage = []market.Volume{{Name: "v", Bytes: 1}}
			w.Group.Services[0].Params = &manifest.Params{Storage: []manifest.StorageParams{{Name: "v", Mount: "/"}}}
		},
	}
	for name, spoil := range rows {
		t.Run(name, func(t *testing.T) {
			d := memcluster.New(memcluster.Config{})
			fault, calls := failing(memcluster.OpApply, 0, nil)
			d.World().SetFault(fault)
			w := workload(1, 1)
			spoil(&w)
			err := wrapDriver(t, d).Apply(t.Context(), w)
			require.ErrorIs(t, err, driver.ErrInvalid)
			assert.Zero(t, calls.Load())
		})
	}
}

func TestErrorsQuoteNoSecrets(t *testing.T) {
	w := workload(1, 1)
	w.Group.Services[0].Env = []string{"TOKEN=hunter2\x00"}
	w.Group.Services[0].Credentials = &manifest.Credentials{Host: "r", Username: "u", Password: "hunter2"}
	err := wrapDriver(t, memcluster.New(memcluster.Config{})).Apply(t.Context(), w)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "hunter2")
}

func TestALowerRevisionIsIgnoredAndTheSameWithOtherContentRefused(t *testing.T) {
	c := wrapDriver(t, memcluster.New(memcluster.Config{}))
	require.NoError(t, c.Apply(t.Context(), workload(1, 5)))
	require.NoError(t, c.Apply(t.Context(), workload(1, 4)))
	s, err := c.Status(t.Context(), lease(1))
	require.NoError(t, err)
	assert.EqualValues(t, 5, s.Revision)

	other := workload(1, 5)
	other.Hash = market.Hash{99}
	require.ErrorIs(t, c.Apply(t.Context(), other), driver.ErrConflict)
	require.NoError(t, c.Delete(t.Context(), lease(1)))
	require.NoError(t, c.Apply(t.Context(), workload(1, 1)), "a deleted lease begins anew")
}

// slow notes how many calls for one lease run at once.
type slow struct {
	driver.Driver
	mu         sync.Mutex
	now        map[market.LeaseID]int
	most, wide int
}

func (s *slow) Apply(ctx context.Context, w driver.Workload) error {
	s.mu.Lock()
	s.now[w.Lease]++
	s.most = max(s.most, s.now[w.Lease])
	s.wide = max(s.wide, len(s.now))
	s.mu.Unlock()
	time.Sleep(time.Second)
	s.mu.Lock()
	s.now[w.Lease]--
	s.mu.Unlock()
	return s.Driver.Apply(ctx, w)
}

func TestApplyIsSerializedPerLeaseAndParallelAcrossLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{Driver: memcluster.New(memcluster.Config{}), now: make(map[market.LeaseID]int)}
		c := wrapDriver(t, s)
		var wg sync.WaitGroup
		for i := range uint64(12) {
			wg.Go(func() { assert.NoError(t, c.Apply(t.Context(), workload(i%3+1, i+1))) })
		}
		wg.Wait()
		assert.Equal(t, 1, s.most)
		assert.Equal(t, 3, s.wide)
		for n := range uint64(3) {
			st, err := c.Status(t.Context(), lease(n+1))
			require.NoError(t, err)
			assert.EqualValues(t, 10+n, st.Revision, "the highest revision wins whatever the order")
		}
	})
}

func TestWaitingForALeaseEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{Driver: memcluster.New(memcluster.Config{}), now: make(map[market.LeaseID]int)}
		c := wrapDriver(t, s)
		go func() { _ = c.Apply(t.Context(), workload(1, 1)) }()
		synctest.Wait()
		ctx, stop := context.WithTimeout(t.Context(), time.Millisecond)
		defer stop()
		require.ErrorIs(t, c.Delete(ctx, lease(1)), context.DeadlineExceeded)
		time.Sleep(2 * time.Second)
	})
}

func readyAfter(d time.Duration) memcluster.Config {
	return memcluster.Config{ReadyAfter: func(market.LeaseID, manifest.Service) time.Duration { return d }}
}

func TestWaitReadyWaitsAndNoLonger(t *testing.T) {
	for name, hide := range map[string]bool{"with a driver that watches": false, "with one that does not": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d driver.Driver = memcluster.New(readyAfter(7500 * time.Millisecond))
				if hide {
					d = bare{d}
				}
				c := wrapDriver(t, d)
				require.NoError(t, c.Apply(t.Context(), workload(1, 3)))
				start := time.Now()
				s, err := c.WaitReady(t.Context(), lease(1), 3)
				require.NoError(t, err)
				assert.Equal(t, driver.Ready, s.State)
				assert.GreaterOrEqual(t, time.Since(start), 7500*time.Millisecond)
				assert.LessOrEqual(t, time.Since(start), 8500*time.Millisecond)
			})
		})
	}
}

func TestWaitReadySaysWhatIsMissingWhenTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memcluster.New(readyAfter(-1))
		c := wrapDriver(t, d)
		require.NoError(t, c.Apply(t.Context(), workload(1, 1)))
		d.World().Break(lease(1), "web", "image not available: img: no such tag")
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		_, err := c.WaitReady(ctx, lease(1), 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		var not *cluster.NotReadyError
		require.ErrorAs(t, err, &not)
		assert.Equal(t, driver.Failing, not.Status.State)
		assert.ErrorContains(t, err, "no such tag")
	})
}

func TestWaitReadyOfAnAbsentLeaseIsNotFound(t *testing.T) {
	_, err := wrapDriver(t, memcluster.New(memcluster.Config{})).WaitReady(t.Context(), lease(1), 1)
	require.ErrorIs(t, err, driver.ErrNotFound)
}

func TestWaitReadyIsNotFooledByTheRevisionBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := wrapDriver(t, memcluster.New(memcluster.Config{}))
		require.NoError(t, c.Apply(t.Context(), workload(1, 1)))
		time.AfterFunc(time.Second, func() { assert.NoError(t, c.Apply(context.WithoutCancel(t.Context()), workload(1, 2))) })
		s, err := c.WaitReady(t.Context(), lease(1), 2)
		require.NoError(t, err)
		assert.EqualValues(t, 2, s.Revision)
	})
}

func TestChangesTellsEveryDriftAndTheEnd(t *testing.T) {
	for name, hide := range map[string]bool{"with a driver that watches": false, "with one that does not": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := memcluster.New(readyAfter(3 * time.Second))
				var d driver.Driver = mem
				if hide {
					d = bare{d}
				}
				c := wrapDriver(t, d)
				require.NoError(t, c.Apply(t.Context(), workload(1, 1)))
				time.AfterFunc(10*time.Second, func() { mem.World().Break(lease(1), "web", "crashed") })
				time.AfterFunc(20*time.Second, func() { mem.World().Break(lease(1), "web", "") })
				time.AfterFunc(30*time.Second, func() { mem.World().Lose(lease(1)) })
				var got []driver.State
				for ch, err := range c.Changes(t.Context()) {
					require.NoError(t, err)
					got = append(got, ch.Now.State)
					if ch.Gone() {
						break
					}
				}
				assert.Equal(t, []driver.State{driver.Pending, driver.Ready, driver.Failing, driver.Ready, 0}, got)
			})
		})
	}
}

func TestAClusterThatCannotBeSeenIsNoChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memcluster.New(memcluster.Config{})
		c := wrapDriver(t, d)
		require.NoError(t, c.Apply(t.Context(), workload(1, 1)))
		time.AfterFunc(5*time.Second, func() {
			d.World().SetFault(func(op memcluster.Op, _ market.LeaseID) error {
				if op == memcluster.OpStatus || op == memcluster.OpWatch {
					return errBlip
				}
				return nil
			})
			d.World().Break(lease(1), "web", "hidden")
		})
		time.AfterFunc(time.Hour, func() {
			d.World().SetFault(nil)
			d.World().Break(lease(1), "web", "seen")
		})
		ctx, stop := context.WithTimeout(t.Context(), 2*time.Hour)
		defer stop()
		var got []string
		for ch, err := range c.Changes(ctx) {
			require.NoError(t, err)
			require.False(t, ch.Gone())
			got = append(got, ch.Now.Services[0].Reason)
		}
		assert.Equal(t, []string{"", "seen"}, got)
	})
}

func TestRecoverComparesTheClusterWithWhatShouldBe(t *testing.T) {
	c := wrapDriver(t, memcluster.New(memcluster.Config{}))
	for _, n := range []uint64{1, 2, 3} {
		require.NoError(t, c.Apply(t.Context(), workload(n, 1)))
	}
	r, err := c.Recover(t.Context(), []market.LeaseID{lease(9), lease(3), lease(1), lease(8)})
	require.NoError(t, err)
	assert.Equal(t, cluster.Recovery{
		Found:   []market.LeaseID{lease(1), lease(3)},
		Missing: []market.LeaseID{lease(8), lease(9)},
		Orphans: []market.LeaseID{lease(2)},
	}, r)
}

func TestAnAbilityThatTheDriverLacksIsUnsupported(t *testing.T) {
	c := wrapDriver(t, bare{memcluster.New(memcluster.Config{})})
	_, err := c.Exec(t.Context(), lease(1), driver.Exec{Command: []string{"x"}})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = c.HostnameOwner(t.Context(), "x")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	for _, err := range c.Logs(t.Context(), lease(1), driver.LogOptions{}) {
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}
}

func TestAbilitiesPassThrough(t *testing.T) {
	cfg := memcluster.Config{Programs: map[string]memcluster.Program{"img": {
		Start: func(memcluster.Process) []driver.LogLine { return []driver.LogLine{{Text: "hello"}} },
		Exec:  func(context.Context, memcluster.Process, driver.Exec) int { return 7 },
	}}}
	c := wrapDriver(t, memcluster.New(cfg))
	require.NoError(t, c.Apply(t.Context(), workload(1, 1)))
	code, err := c.Exec(t.Context(), lease(1), driver.Exec{Service: "web", Command: []string{"x"}})
	require.NoError(t, err)
	assert.Equal(t, 7, code)
	_, err = c.Exec(t.Context(), lease(1), driver.Exec{Service: "web"})
	require.ErrorIs(t, err, driver.ErrInvalid)
	var lines []string
	for l, err := range c.Logs(t.Context(), lease(1), driver.LogOptions{Tail: -1}) {
		require.NoError(t, err)
		lines = append(lines, l.Text)
	}
	assert.Equal(t, []string{"hello"}, lines)
	nodes, err := c.Nodes(t.Context())
	require.NoError(t, err)
	assert.Len(t, nodes, 1)
	s, err := c.Status(t.Context(), lease(1))
	require.NoError(t, err)
	host := s.Services[0].URIs[0][len("http://"):]
	owner, err := c.HostnameOwner(t.Context(), host)
	require.NoError(t, err)
	assert.Equal(t, lease(1), owner)
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	_, err = c.List(t.Context())
	require.ErrorIs(t, err, driver.ErrClosed)
}
