package fleet_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/fleet"
	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// tcp is a service with a forwarded port.
func tcp(name, greeting string, protos ...manifest.Protocol) manifest.Service {
	s := web(name, greeting)
	s.Expose = nil
	for _, p := range append([]manifest.Protocol{manifest.TCP}, protos...) {
		s.Expose = append(s.Expose, manifest.Expose{Port: 8080, Proto: p, Global: true})
	}
	return s
}

func (r *rig) port(n uint64) driver.ForwardedPort {
	r.t.Helper()
	return r.status(n).Services[0].Ports[0]
}

func portURL(p driver.ForwardedPort) string {
	return fmt.Sprintf("http://%s:%d/", p.Host, p.ExternalPort)
}

func TestAForwardedPortKeepsItsNumberOverUpdatesAndRestarts(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.ready(workload(1, 1, tcp("db", "one")))
		p := r.port(1)
		assert.Equal(t, "localhost", p.Host)
		for i := range uint64(3) {
			r.restart()
			r.ready(workload(1, i+2, tcp("db", fmt.Sprint(i))))
			assert.Equal(t, p, r.port(1))
			body, err := r.get(portURL(p))
			require.NoError(t, err)
			assert.Equal(t, fmt.Sprint(i), body)
		}
	})
}

func TestAPortThatAnotherProgramTookIsReplacedAndTheWorkloadTold(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		s := tcp("db", "hi")
		s.Env = append(s.Env, "LINES=0")
		r.ready(workload(1, 1, s))
		before := r.port(1)
		r.stop()
		taken, err := r.net.listen(t.Context(), "tcp", fmt.Sprintf(":%d", before.ExternalPort))
		require.NoError(t, err)
		r.start()
		defer func() { _ = taken.Close() }()
		st := r.until(lease(1), func(s driver.Status) bool { return s.State == driver.Ready })
		after := st.Services[0].Ports[0]
		assert.NotEqual(t, before.ExternalPort, after.ExternalPort)
		body, err := r.get(portURL(after) + "env?name=MOORAGE_PORT_TCP_8080")
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprint(after.ExternalPort), body, "the environment has the new number")
		r.restart()
		assert.Equal(t, after, r.port(1), "the new number is kept")
	})
}

func TestTCPAndUDPOfOnePortShareANumber(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.ready(workload(1, 1, tcp("dns", "hi", manifest.UDP)))
		ports := r.status(1).Services[0].Ports
		require.Len(t, ports, 2)
		assert.Equal(t, ports[0].ExternalPort, ports[1].ExternalPort)
		assert.NotEqual(t, ports[0].Proto, ports[1].Proto)
	})
}

func TestWhenNoPortIsLeftTheWorkloadIsRefusedAndLeavesNothing(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.stop()
		r.cfg.FirstPort, r.cfg.LastPort = 30000, 30001
		r.start()
		r.ready(workload(1, 1, tcp("a", "hi")))
		two := tcp("a", "hi")
		two.Expose = append(two.Expose, manifest.Expose{Port: 9000, Proto: manifest.TCP, Global: true})
		err := r.fleet.Apply(t.Context(), workload(2, 1, two))
		require.ErrorIs(t, err, driver.ErrExhausted)
		require.ErrorContains(t, err, "no port of this host from 30000 to 30001 is free")
		assert.Len(t, r.net.ports, 2, "the ingress and lease 1's port")
		ids, err := r.fleet.List(t.Context())
		require.NoError(t, err)
		assert.Len(t, ids, 1)
		r.ready(workload(3, 1, tcp("a", "hi")))
	})
}

func TestAnUpdateThatIsRefusedChangesNothing(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.ready(workload(1, 1, tcp("a", "one")))
		p := r.port(1)
		big := tcp("a", "two")
		big.Resources.CPU.MilliCores = 1_000_000
		big.Expose = append(big.Expose, manifest.Expose{Port: 9000, Proto: manifest.TCP, Global: true})
		require.ErrorIs(t, r.fleet.Apply(t.Context(), workload(1, 2, big)), driver.ErrExhausted)
		s := r.status(1)
		assert.EqualValues(t, 1, s.Revision)
		assert.Equal(t, []driver.ForwardedPort{p}, s.Services[0].Ports)
		body, err := r.get(portURL(p))
		require.NoError(t, err)
		assert.Equal(t, "one", body)
		assert.Len(t, r.net.ports, 2)
	})
}

func TestAPortThatIsNoLongerExposedCloses(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.ready(workload(1, 1, tcp("a", "one")))
		p := r.port(1)
		r.ready(workload(1, 2, web("a", "one")))
		_, err := r.get(portURL(p))
		require.Error(t, err)
		assert.Empty(t, r.status(1).Services[0].Ports)
	})
}

func TestHostNamesUnderTheProvidersDomainCannotBeTaken(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		for _, name := range []string{"localhost", "web-abc.localhost", "WEB.LOCALHOST"} {
			s := web("web", "hi")
			s.Expose[0].Hosts = []string{name}
			err := r.fleet.Apply(t.Context(), workload(1, 1, s))
			require.ErrorIs(t, err, driver.ErrConflict, name)
		}
	})
}

func TestTwoServicesOfAWorkloadCannotHaveOneHostName(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		a, b := web("a", "hi"), web("b", "hi")
		a.Expose[0].Hosts, b.Expose[0].Hosts = []string{"shop.example"}, []string{"Shop.example"}
		err := r.fleet.Apply(t.Context(), workload(1, 1, a, b))
		require.ErrorIs(t, err, driver.ErrInvalid)
		require.ErrorContains(t, err, "services a and b both ask for host name shop.example")
	})
}

func TestSecretsOnDiskAreReadableByTheirOwnerAlone(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		s := web("web", "hi")
		s.Credentials = &manifest.Credentials{Host: "r", Username: "u", Password: "hunter2"}
		r.apply(workload(1, 1, s))
		found := false
		require.NoError(t, filepath.Walk(r.dir, func(path string, info os.FileInfo, err error) error {
			require.NoError(t, err)
			if !info.IsDir() {
				assert.Zero(t, info.Mode().Perm()&0o077, path)
				b, err := os.ReadFile(path)
				require.NoError(t, err)
				found = found || strings.Contains(string(b), "hunter2")
			}
			return nil
		}))
		assert.True(t, found, "the password is kept for the next pull")
	})
}

func TestADamagedFileStopsNothingElse(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.ready(workload(1, 1, web("web", "hi")))
		r.stop()
		require.NoError(t, os.WriteFile(filepath.Join(r.dir, "bad.json"), []byte("{"), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(r.dir, "half.json.tmp"), []byte("{"), 0o600))
		r.start()
		r.until(lease(1), func(s driver.Status) bool { return s.State == driver.Ready })
		assert.FileExists(t, filepath.Join(r.dir, "bad.json.damaged"))
		assert.NoFileExists(t, filepath.Join(r.dir, "half.json.tmp"))
	})
}

func TestASecondFleetOnTheSameDirectoryIsRefused(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		cfg := r.cfg
		cfg.IngressAddr = "127.0.0.1:8001"
		_, err := fleet.New(cfg)
		require.ErrorContains(t, err, "in use by another process")
		cfg.StateDir, cfg.IngressAddr = t.TempDir(), r.cfg.IngressAddr
		_, err = fleet.New(cfg)
		require.ErrorContains(t, err, "choose another ingress address")
	})
}

func TestConfigFaultsAreReportedTogether(t *testing.T) {
	_, err := fleet.New(fleet.Config{Domain: "no domain", FirstPort: 9, LastPort: 3, ReservePercent: 100, StopTime: -time.Second})
	for _, text := range []string{"runtime", "state directory", "no domain", "ports 9 to 3", "reserve", "negative"} {
		require.ErrorContains(t, err, text)
	}
}

func TestTheHostDescribesItself(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.stop()
		r.cfg.Node.Name, r.cfg.ReservePercent = "", 50
		r.start()
		nodes, err := r.fleet.Nodes(t.Context())
		require.NoError(t, err)
		require.Len(t, nodes, 1)
		q := nodes[0].Allocatable
		assert.NotEmpty(t, nodes[0].Name)
		assert.Positive(t, q.MilliCores)
		assert.Greater(t, q.MemoryBytes, uint64(64<<20))
		assert.Positive(t, q.EphemeralBytes)
		assert.Len(t, q.PersistentBytes, 4)
		r.ready(workload(1, 1, web("web", "hi")))
	})
}

func TestAWorkloadKnowsItsLease(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		s := web("web", "hi")
		s.Env = append(s.Env, "AKASH_OWNER=mine", "BARE")
		st := r.ready(workload(7, 1, s))
		uri := st.Services[0].URIs[0]
		for name, want := range map[string]string{
			"AKASH_OWNER": "mine", "AKASH_DEPLOYMENT_SEQUENCE": "7", "AKASH_GROUP_SEQUENCE": "1", "AKASH_ORDER_SEQUENCE": "1",
			"AKASH_PROVIDER": "provider", "AKASH_CLUSTER_PUBLIC_HOSTNAME": "localhost", "MOORAGE_SERVICE": "web",
			"MOORAGE_REPLICA": "0", "MOORAGE_LEASE": lease(7).String(), "BARE": "",
			"MOORAGE_HOSTNAME": strings.Split(strings.TrimPrefix(uri, "http://"), ":")[0],
		} {
			body, err := r.get(uri + "/env?name=" + name)
			require.NoError(t, err)
			assert.Equal(t, want, body, name)
		}
		body, err := r.get(uri + "/hostname")
		require.NoError(t, err)
		assert.Equal(t, "web-0", body)
	})
}

func TestNamesOfContainersAreInjectiveAndFit(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		long := strings.Repeat("a", 62)
		r.ready(workload(1, 1, web("a", "x"), web("a-1", "x"), web(long+"b", "x"), web(long+"c", "x")))
		names := r.containers()
		assert.Len(t, names, 4)
		for name := range names {
			require.NoError(t, runtime.CheckName(name))
		}
		var hosts []string
		for _, s := range r.status(1).Services {
			host, _, err := net.SplitHostPort(strings.TrimPrefix(s.URIs[0], "http://"))
			require.NoError(t, err)
			assert.True(t, driver.ValidHostname(host), host)
			hosts = append(hosts, host)
		}
		slices.Sort(hosts)
		assert.Len(t, slices.Compact(hosts), 4)
	})
}

func TestReplicasShareTheClients(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		st := r.ready(workload(1, 1, replicas(web("web", "hi"), 3)))
		seen := make(map[string]int)
		for range 30 {
			body, err := r.get(st.Services[0].URIs[0] + "/hostname")
			require.NoError(t, err)
			seen[body]++
			synctest.Wait() // until the replica is free again
		}
		assert.Equal(t, map[string]int{"web-0": 10, "web-1": 10, "web-2": 10}, seen)
	})
}

func TestARequestThatHasBegunIsFinishedDuringAnUpdate(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		st := r.ready(workload(1, 1, web("web", "old")))
		answer := make(chan string, 1)
		go func() {
			body, err := r.get(st.Services[0].URIs[0] + "/slow?ms=5000")
			assert.NoError(t, err)
			answer <- body
		}()
		time.Sleep(100 * time.Millisecond)
		r.ready(workload(1, 2, web("web", "new")))
		body, err := r.get(st.Services[0].URIs[0] + "/")
		require.NoError(t, err)
		assert.Equal(t, "new", body)
		assert.Equal(t, "old", <-answer)
	})
}

func TestAnUpdateThatCannotStartLeavesTheOldRunning(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		st := r.ready(workload(1, 1, replicas(web("web", "old"), 2)))
		bad := replicas(web("web", "new"), 2)
		bad.Image = "missing:1"
		r.apply(workload(1, 2, bad))
		time.Sleep(10 * time.Minute)
		s := r.status(1)
		assert.Equal(t, driver.Failing, s.State)
		assert.Contains(t, s.Services[0].Reason, "image not available")
		for range 4 {
			body, err := r.get(st.Services[0].URIs[0] + "/")
			require.NoError(t, err)
			assert.Equal(t, "old", body)
		}
		assert.Len(t, r.containers(), 2)
	})
}

func TestTheLogOfAContainerThatCrashedIsKept(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		v := web("web", "hi")
		r.ready(workload(1, 1, v))
		for name := range r.containers() {
			r.machine.Crash(name, 1, "")
		}
		time.Sleep(10 * time.Second)
		r.until(lease(1), func(s driver.Status) bool { return s.State == driver.Ready })
		count := func(tail int) (n int) {
			for l, err := range r.fleet.Logs(t.Context(), lease(1), driver.LogOptions{Tail: tail}) {
				require.NoError(t, err)
				if strings.HasPrefix(l.Text, "guest: hello") {
					n++
				}
			}
			return n
		}
		assert.Equal(t, 2, count(-1))
		assert.Equal(t, 1, count(2))
		assert.Equal(t, 2, count(4))
	})
}
