//go:build linux && cgo

package runc_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/runc"
	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/netpolicy/netpolicytest"
	"github.com/moorage-dev/moorage/netpolicy/netpolicytest/realpackets"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// ownNet tells the test's process that it is in a network namespace of its own.
const ownNet = "MOORAGE_TEST_OWN_NET"

// TestRealPacketsAreAllowedAsEvaluateSays opens connections between real containers
// of two leases, the host, a machine of the provider's LAN, the world outside, a
// name server and a metadata service, by TCP and UDP, IPv4 and IPv6, and compares
// what comes through with what the policies say. It runs in a network namespace of
// its own, where it can be all of these.
func TestRealPacketsAreAllowedAsEvaluateSays(t *testing.T) {
	needRoot(t)
	if os.Getenv(ownNet) == "" {
		cmd := exec.CommandContext(t.Context(), "unshare", "--net", "sh", "-c", `ip link set lo up; exec "$@"`, "sh",
			os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
		cmd.Env = append(os.Environ(), ownNet+"=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "--- PASS: "+t.Name())
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "came through") {
				t.Log(strings.TrimSpace(line))
			}
		}
		return
	}
	s := newStreet(t)
	s.check(t, s.packets())

	// A revision that exposes less: connections are judged anew.
	for i := range s.world.Leases {
		l := &s.world.Leases[i]
		l.Group.Services[0].Expose = nil
		var err error
		l.Policy, err = netpolicy.Compile(l.Group, l.Leased, s.world.Surroundings)
		require.NoError(t, err)
		require.NoError(t, s.runtime.SetPolicy(t.Context(), fmt.Sprint("lease", i), l.Policy))
	}
	s.check(t, s.inside())
}

// street is two leases on a host, with neighbours.
type street struct {
	runtime *runc.Runtime
	world   *netpolicytest.World
	outside *neighbourhood
	pids    map[netip.Addr]int // of containers, by address
}

func ports() []netpolicy.Port {
	return []netpolicy.Port{
		{Protocol: manifest.TCP, Number: 5432}, {Protocol: manifest.UDP, Number: 5433}, {Protocol: manifest.TCP, Number: 7000},
		{Protocol: manifest.TCP, Number: 8080}, {Protocol: manifest.TCP, Number: 9000}, {Protocol: manifest.UDP, Number: 9001},
		{Protocol: manifest.UDP, Number: 53}, {Protocol: manifest.TCP, Number: 53}, {Protocol: manifest.TCP, Number: 22},
	}
}

const (
	publicHost6, publicMachine6 = "2001:db8:99::1", "2001:db8:99::2"
	metadata                    = "169.254.169.254"
)

func newStreet(t *testing.T) *street {
	t.Helper()
	s := &street{outside: beside(t), pids: map[netip.Addr]int{}}
	require.NoError(t, s.outside.public.Close())
	require.NoError(t, s.outside.home.Close())
	out, err := exec.Command("sh", "-ec", fmt.Sprintf(`ip addr add %[2]s/64 dev wtest0 nodad; ip -n %[1]s addr add %[3]s/64 dev world0 nodad
		ip -n %[1]s route add default via %[2]s; ip -n %[1]s addr add %[4]s/32 dev world0; ip route add %[4]s/32 dev wtest0`,
		s.outside.ns, publicHost6, publicMachine6, metadata)).CombinedOutput()
	require.NoError(t, err, string(out))
	s.runtime = open(t, func(c *runc.Config) {
		c.Pool6 = netip.MustParsePrefix("fd10:200::/48")
		c.Nameservers = []netip.Addr{netip.MustParseAddr(homeMachine)}
	})
	town, err := netpolicytest.Town()
	require.NoError(t, err)
	s.world = &netpolicytest.World{Surroundings: s.runtime.Surroundings()}
	for _, a := range []string{publicHost, homeHost, publicHost6} {
		s.world.Node = append(s.world.Node, netip.MustParseAddr(a))
	}
	for i, l := range town.Leases {
		s.move(t, i, l)
	}
	s.listen(t)
	return s
}

// move starts a lease's containers.
func (s *street) move(t *testing.T, i int, l netpolicytest.Lease) {
	t.Helper()
	name := fmt.Sprint("lease", i)
	var err error
	l.Leased[0].Sources = []netip.Prefix{netip.MustParsePrefix(publicMachine + "/32"), netip.MustParsePrefix(publicMachine6 + "/128")}
	l.Policy, err = netpolicy.Compile(l.Group, l.Leased, s.world.Surroundings)
	require.NoError(t, err)
	n, err := s.runtime.EnsureNetwork(t.Context(), name)
	require.NoError(t, err)
	require.NoError(t, s.runtime.SetPolicy(t.Context(), name, l.Policy))
	l.Replicas, l.Prefixes = l.Replicas[1:4], []netip.Prefix{n.Prefix}
	for j := range l.Replicas {
		r := &l.Replicas[j]
		c := startSpec(t, s.runtime, runtime.Spec{Name: fmt.Sprintf("%s-%d", name, j), Network: name, Service: r.Service, Args: []string{"wait"}})
		require.True(t, c.Address6.IsValid())
		r.Addresses = []netip.Addr{c.Address, c.Address6}
		for _, a := range r.Addresses {
			s.pids[a] = c.PID
		}
	}
	s.world.Leases = append(s.world.Leases, l)
}

// at runs work in the network namespace of a process of the end.
func (s *street) at(e netpolicytest.End, work func() error) error {
	path := "/run/netns/" + s.outside.ns
	switch pid := s.pids[e.Address]; {
	case pid != 0:
		path = fmt.Sprintf("/proc/%d/ns/net", pid)
	case e.Role == netpolicy.Node:
		return work() // here
	}
	done := make(chan error)
	go func() {
		goruntime.LockOSThread() // never unlocked: the thread is thrown away
		f, err := os.Open(path)
		if err == nil {
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
			_ = f.Close()
		}
		if err == nil {
			err = work()
		}
		done <- err
	}()
	return <-done
}

// ends are all who take part.
func (s *street) ends() (inside, node, elsewhere []netpolicytest.End) {
	for i, l := range s.world.Leases {
		for _, r := range l.Replicas {
			for _, a := range r.Addresses {
				inside = append(inside, netpolicytest.End{Role: netpolicy.Replica, Lease: i, Service: r.Service, Address: a})
			}
		}
	}
	for _, a := range s.world.Node {
		node = append(node, netpolicytest.End{Role: netpolicy.Node, Address: a})
	}
	for _, a := range []string{publicMachine, homeMachine, publicMachine6, metadata} {
		elsewhere = append(elsewhere, netpolicytest.End{Address: netip.MustParseAddr(a)})
	}
	return inside, node, elsewhere
}

// listen answers on every port of every end.
func (s *street) listen(t *testing.T) {
	t.Helper()
	inside, node, elsewhere := s.ends()
	stop, err := s.ground().Listen(t.Context(), append(append(inside, node...), elsewhere...), ports())
	require.NoError(t, err)
	t.Cleanup(stop)
}

func (s *street) ground() *realpackets.Ground {
	return &realpackets.Ground{World: s.world, Do: s.at}
}

// inside are packets between the containers of each lease.
func (s *street) inside() []netpolicytest.Packet {
	in, _, _ := s.ends()
	var out []netpolicytest.Packet
	for _, f := range in {
		for _, to := range in {
			if f.Lease == to.Lease && f.Service != to.Service {
				out = append(out, s.each(f, to)...)
			}
		}
	}
	return out
}

func (s *street) packets() []netpolicytest.Packet {
	in, node, elsewhere := s.ends()
	out := s.inside()
	for _, a := range in {
		for _, b := range in {
			if a.Lease != b.Lease && a.Service == "web" {
				out = append(out, s.each(a, b)...)
			}
		}
		for _, b := range append(append([]netpolicytest.End(nil), node...), elsewhere...) {
			out = append(append(out, s.each(a, b)...), s.each(b, a)...)
		}
	}
	return out
}

func (s *street) each(from, to netpolicytest.End) []netpolicytest.Packet {
	var out []netpolicytest.Packet
	for _, p := range ports() {
		// The metadata service has no way to containers: its address is nobody's source.
		if from.Address.Is4() == to.Address.Is4() && from.Address.String() != metadata {
			out = append(out, netpolicytest.Packet{From: from, To: to, Port: p})
		}
	}
	return out
}

// check sends every packet.
func (s *street) check(t *testing.T, packets []netpolicytest.Packet) {
	t.Helper()
	r := s.ground().Check(t.Context(), packets)
	assert.Empty(t, r.Wrong)
	t.Logf("%d packets, %d came through", r.Sent, r.Came)
	assert.Greater(t, r.Came, r.Sent/20)
	assert.Less(t, r.Came, r.Sent*3/4)
}
