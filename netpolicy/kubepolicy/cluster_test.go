//go:build linux

package kubepolicy_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	goruntime "runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/moorage-dev/moorage/internal/kubetest"
	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/netpolicy/kubepolicy"
	"github.com/moorage-dev/moorage/netpolicy/netpolicytest"
	"github.com/moorage-dev/moorage/netpolicy/netpolicytest/realpackets"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// TestRealPacketsOfAClusterAreAllowedAsEvaluateSays puts two leases on a real
// cluster, applies their objects, and opens connections between their pods, a router
// in a namespace of its own, the node, the world outside and the provider's LAN, by
// TCP and UDP, IPv4 and IPv6. Then one lease exposes less.
func TestRealPacketsOfAClusterAreAllowedAsEvaluateSays(t *testing.T) {
	v := newVillage(t)
	v.check(t, v.packets())

	l := &v.world.Leases[0]
	l.Group.Services = l.Group.Services[1:] // and its service "db" is none any more
	v.compile(t, 0)
	v.apply(t, 0)
	v.check(t, v.packets())
}

// village is two leases on a cluster of one node.
type village struct {
	cluster *kubetest.Cluster
	world   *netpolicytest.World
	spaces  map[netip.Addr]string // network namespaces of pods
	stop    func()
}

const (
	worldAddress, worldAddress6 = "198.51.100.9", "2001:db8:99::9"
	metadata                    = "169.254.169.254"
)

func (v *village) ports() []netpolicy.Port {
	tcp, udp := manifest.TCP, manifest.UDP
	return []netpolicy.Port{
		{Protocol: tcp, Number: 5432}, {Protocol: udp, Number: 5433}, {Protocol: tcp, Number: 7000}, {Protocol: tcp, Number: 8080},
		{Protocol: tcp, Number: 9000}, {Protocol: udp, Number: 9001}, {Protocol: tcp, Number: 22}, {Protocol: udp, Number: 53},
	}
}

func newVillage(t *testing.T) *village {
	t.Helper()
	v := &village{spaces: map[netip.Addr]string{}}
	v.cluster = kubetest.Start(t, kubetest.Options{NoDNS: true, Policies: true})
	lan, err := v.cluster.Lan()
	require.NoError(t, err)
	for _, a := range []string{worldAddress + "/32", worldAddress6 + "/128", metadata + "/32"} {
		require.NoError(t, lan.Add("lan0", netip.MustParsePrefix(a)))
	}
	four, six := kubetest.NodeAddress(1)
	v.world = &netpolicytest.World{
		Surroundings: netpolicy.Surroundings{
			Own: []netip.Prefix{
				netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:10:244::/48"), netip.MustParsePrefix("10.96.0.0/16"),
				netip.PrefixFrom(four, 32), netip.PrefixFrom(six, 128),
			},
			Resolvers: []netip.Addr{netip.MustParseAddr("192.168.77.1")},
		},
		Node: []netip.Addr{four, six},
	}
	town, err := netpolicytest.Town()
	require.NoError(t, err)
	client := v.cluster.Client()
	for i, l := range town.Leases {
		l.Leased[0].Sources = []netip.Prefix{netip.MustParsePrefix(worldAddress + "/32"), netip.MustParsePrefix(worldAddress6 + "/128")}
		v.world.Leases = append(v.world.Leases, l)
		v.compile(t, i)
		l = v.world.Leases[i]
		v.space(t, namespace(i))
		v.apply(t, i)
		v.world.Leases[i].Replicas = l.Replicas[1:4]
		for j := range v.world.Leases[i].Replicas {
			r := &v.world.Leases[i].Replicas[j]
			r.Addresses = v.pod(t, namespace(i), fmt.Sprintf("%s-%d", r.Service, j), map[string]string{kubepolicy.ServiceLabel: r.Service})
		}
	}
	v.space(t, gateway)
	v.world.Router = v.pod(t, gateway, "router", map[string]string{"app": "router"})
	policies, err := client.NetworkingV1().NetworkPolicies("").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, policies.Items)
	inside, others := v.ends()
	v.stop, err = v.ground().Listen(t.Context(), append(inside, others...), v.ports())
	require.NoError(t, err)
	t.Cleanup(v.stop)
	return v
}

func (v *village) compile(t *testing.T, i int) {
	t.Helper()
	l := &v.world.Leases[i]
	var err error
	l.Policy, err = netpolicy.Compile(l.Group, l.Leased, v.world.Surroundings)
	require.NoError(t, err)
}

func (v *village) space(t *testing.T, name string) {
	t.Helper()
	ctx, client := t.Context(), v.cluster.Client()
	_, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"name": name}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.NoError(t, wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	}))
}

// apply makes a lease's objects what its policy renders to, and prunes the others.
func (v *village) apply(t *testing.T, i int) {
	t.Helper()
	ctx, api := t.Context(), v.cluster.Client().NetworkingV1().NetworkPolicies(namespace(i))
	objects, err := kubepolicy.Render(v.world.Leases[i].Policy, kubepolicy.Options{
		Namespace: namespace(i), Routers: []kubepolicy.Peer{{Namespace: map[string]string{"name": gateway}, Pods: map[string]string{"app": "router"}}},
	})
	require.NoError(t, err)
	have, err := api.List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	var found []string
	for _, o := range have.Items {
		found = append(found, o.Name)
	}
	for _, name := range kubepolicy.Stale(objects, found) {
		require.NoError(t, api.Delete(ctx, name, metav1.DeleteOptions{}))
	}
	for _, o := range objects {
		old, err := api.Get(ctx, o.Name, metav1.GetOptions{})
		if err != nil {
			_, err = api.Create(ctx, o, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
			require.NoError(t, err)
			continue
		}
		o.ResourceVersion = old.ResourceVersion
		_, err = api.Update(ctx, o, metav1.UpdateOptions{FieldValidation: metav1.FieldValidationStrict})
		require.NoError(t, err)
	}
}

// pod runs a pod that only waits and returns its addresses.
func (v *village) pod(t *testing.T, namespace, name string, labels map[string]string) []netip.Addr {
	t.Helper()
	ctx, api := t.Context(), v.cluster.Client().CoreV1().Pods(namespace)
	_, err := api.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "wait", Image: "127.0.0.1:5000/pause:1"}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	var out []netip.Addr
	require.NoError(t, wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		p, err := api.Get(ctx, name, metav1.GetOptions{})
		if err != nil || p.Status.Phase != corev1.PodRunning || len(p.Status.PodIPs) < 2 {
			return false, err
		}
		for _, ip := range p.Status.PodIPs {
			out = append(out, netip.MustParseAddr(ip.IP))
		}
		return true, nil
	}))
	path := spaceOf(t, out[0])
	for _, a := range out {
		v.spaces[a] = path
	}
	return out
}

// spaceOf finds the network namespace that has an address, among those of all
// processes.
func spaceOf(t *testing.T, want netip.Addr) string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/ns/net")
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, path := range files {
		id, err := os.Readlink(path)
		if err != nil || seen[id] {
			continue
		}
		seen[id] = true
		found := false
		_ = within(path, func() error {
			addrs, err := net.InterfaceAddrs()
			for _, a := range addrs {
				p, _ := netip.ParsePrefix(a.String())
				found = found || p.Addr() == want
			}
			return err
		})
		if found {
			return path
		}
	}
	require.Fail(t, "no network namespace has this address", want)
	return ""
}

// within runs work on a thread that is in a network namespace and ends there.
func within(path string, work func() error) error {
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

func (v *village) ground() *realpackets.Ground {
	return &realpackets.Ground{World: v.world, Do: func(e netpolicytest.End, f func() error) error {
		if path := v.spaces[e.Address]; path != "" {
			return within(path, f)
		}
		place, err := v.cluster.Lan()
		if e.Role == netpolicy.Node {
			place, err = v.cluster.Node(1)
		}
		if err != nil {
			return err
		}
		return place.Do(f)
	}}
}

func (v *village) ends() (inside, others []netpolicytest.End) {
	for i, l := range v.world.Leases {
		for _, r := range l.Replicas {
			for _, a := range r.Addresses {
				inside = append(inside, netpolicytest.End{Role: netpolicy.Replica, Lease: i, Service: r.Service, Address: a})
			}
		}
	}
	for _, a := range v.world.Router {
		others = append(others, netpolicytest.End{Role: netpolicy.Router, Address: a})
	}
	for _, a := range v.world.Node {
		others = append(others, netpolicytest.End{Role: netpolicy.Node, Address: a})
	}
	for _, a := range []string{worldAddress, worldAddress6, "192.168.77.1", "fd77::1", metadata} {
		others = append(others, netpolicytest.End{Address: netip.MustParseAddr(a)})
	}
	return inside, others
}

func (v *village) packets() []netpolicytest.Packet {
	inside, others := v.ends()
	var out []netpolicytest.Packet
	add := func(from, to netpolicytest.End) {
		for _, p := range v.ports() {
			if from != to && from.Address.Is4() == to.Address.Is4() && from.Address.String() != metadata {
				out = append(out, netpolicytest.Packet{From: from, To: to, Port: p})
			}
		}
	}
	for _, a := range inside {
		for _, b := range inside {
			add(a, b)
		}
		for _, b := range others {
			add(a, b)
			add(b, a)
		}
	}
	return out
}

// check sends the packets, again while the agent has not yet put the objects into
// force.
func (v *village) check(t *testing.T, packets []netpolicytest.Packet) {
	t.Helper()
	var r realpackets.Report
	const attempts = 5
	for range attempts {
		if r = v.ground().Check(t.Context(), packets); len(r.Wrong) == 0 {
			break
		}
	}
	assert.Empty(t, r.Wrong)
	t.Logf("%d packets, %d came through", r.Sent, r.Came)
	assert.Greater(t, r.Came, r.Sent/20)
	assert.Less(t, r.Came, r.Sent*3/4)
}
