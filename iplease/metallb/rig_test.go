//go:build linux

package metallb_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/moorage-dev/moorage/internal/kubetest"
	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/iplease/ipleasetest"
	"github.com/moorage-dev/moorage/iplease/metallb"
	"github.com/moorage-dev/moorage/market"
)

var shared = kubetest.Shared{Options: kubetest.Options{Nodes: 2, MetalLB: true, NoDNS: true}}

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m, &shared)) }

// yard is the pods of a cluster that tests take their replicas from.
type yard struct {
	cluster *kubetest.Cluster
	lan     *kubetest.Net
	pods    []corev1.Pod
}

// yards has one for each cluster of this binary.
var yards sync.Map

// replicas is how many pods there are; no case needs more.
const replicas = 4

const podsNamespace = "replicas"

func newYard(t *testing.T, c *kubetest.Cluster) *yard {
	t.Helper()
	if y, ok := yards.Load(c); ok {
		return y.(*yard)
	}
	program, err := kubetest.Build(t.Context(), t.TempDir(), "github.com/moorage-dev/moorage/internal/kubetest/echo")
	require.NoError(t, err)
	image, err := kubetest.ImageOf(program)
	require.NoError(t, err)
	ref, err := c.Push(t.Context(), "echo:1", image)
	require.NoError(t, err)
	require.NoError(t, c.Apply(t.Context(), fmt.Appendf(nil, `
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo, namespace: %[1]s}
spec:
  replicas: %[3]d
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: echo
        image: %[2]s
        args: ["8080", "8081"]
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
`, podsNamespace, ref, replicas)))
	require.NoError(t, c.WaitDeployment(t.Context(), podsNamespace, "echo"))
	pods, err := c.Client().CoreV1().Pods(podsNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=echo"})
	require.NoError(t, err)
	require.Len(t, pods.Items, replicas)
	lan, err := c.Lan()
	require.NoError(t, err)
	require.NoError(t, lan.Add("lan0", netip.PrefixFrom(client4.Next(), 24)))
	require.NoError(t, lan.Add("lan0", netip.PrefixFrom(client6.Next(), 64)))
	y := &yard{cluster: c, lan: lan, pods: pods.Items}
	yards.Store(c, y)
	return y
}

// client4 and client6 are the first client; the second has the next addresses.
var (
	client4 = netip.MustParseAddr("192.168.77.1")
	client6 = netip.MustParseAddr("fd77::1")
)

// rig is an announcer of its own instance on a shared cluster.
type rig struct {
	*yard
	t         *testing.T
	cfg       metallb.Config
	announcer *metallb.Announcer
	ended     chan error
	names     map[string]string // pod to replica
	taken     int
}

// rigs counts them: each has addresses and an instance of its own.
var rigs atomic.Int32

func newRig(t *testing.T, c *kubetest.Cluster) *rig {
	t.Helper()
	n := rigs.Add(1)
	instance := "t" + strconv.Itoa(int(n))
	d, err := dynamic.NewForConfig(c.Config())
	require.NoError(t, err)
	r := &rig{t: t, yard: newYard(t, c), names: map[string]string{}}
	r.cfg = metallb.Config{
		Client: c.Client(), Dynamic: d, Instance: instance, Namespace: "addresses-" + instance,
		Place: func(lease market.LeaseID, service string) metallb.Place {
			return metallb.Place{Namespace: podsNamespace, Selector: map[string]string{
				"instance": instance, "lease": strconv.FormatUint(lease.DSeq, 10), "service": service,
			}}
		},
	}
	r.open()
	t.Cleanup(r.clean)
	t.Cleanup(func() {
		if t.Failed() {
			r.describe()
		}
	})
	return r
}

// describe logs what the nodes know of the flows of a case that failed.
func (r *rig) describe() {
	for n := 1; n <= 2; n++ {
		if node, err := r.cluster.Node(n); err == nil {
			out, err := node.Run(context.Background(), "cat", "/proc/net/nf_conntrack")
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, "dport=80 ") {
					r.t.Log(n, line, err)
				}
			}
		}
	}
	out, err := r.lan.Run(context.Background(), "ip", "neigh")
	r.t.Log(string(out), err)
}

func (r *rig) open() {
	r.t.Helper()
	var err error
	r.announcer, err = metallb.New(r.cfg)
	require.NoError(r.t, err)
	r.ended = make(chan error, 1)
	a, ended := r.announcer, r.ended
	go func() { ended <- a.Run(context.Background()) }()
}

func (r *rig) shut() error {
	err := r.announcer.Close()
	if end := <-r.ended; !errors.Is(end, driver.ErrClosed) { // closed before it began
		err = errors.Join(err, end)
	}
	return err
}

// clean withdraws what a case has left, with an announcer that is open.
func (r *rig) clean() {
	require.NoError(r.t, r.shut())
	a, err := metallb.New(r.cfg)
	require.NoError(r.t, err)
	ctx := context.Background()
	claims, err := a.List(ctx)
	require.NoError(r.t, err)
	for _, id := range claims {
		require.NoError(r.t, a.Withdraw(ctx, id))
	}
	require.NoError(r.t, a.Close())
	for pod := range r.names {
		r.label(ctx, pod, market.LeaseID{}, "")
	}
	_ = r.cluster.Client().CoreV1().Namespaces().Delete(ctx, r.cfg.Namespace, metav1.DeleteOptions{}) // there is none without a claim
}

// label makes a pod a replica of a service of a lease, or of none.
func (r *rig) label(ctx context.Context, pod string, lease market.LeaseID, service string) {
	patch := `{"metadata":{"labels":{"instance":null,"lease":null,"service":null}}}`
	if service != "" {
		patch = fmt.Sprintf(`{"metadata":{"labels":{"instance":%q,"lease":"%d","service":%q}}}`, r.cfg.Instance, lease.DSeq, service)
	}
	_, err := r.cluster.Client().CoreV1().Pods(podsNamespace).Patch(ctx, pod, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	require.NoError(r.t, err)
}

// labelling does before each Apply what the cluster's driver does in its own
// time: pods have the labels of the services that the announcement says.
type labelling struct {
	*metallb.Announcer
	rig *rig
}

func (l labelling) Apply(ctx context.Context, a driver.Announcement) error {
	if ctx.Err() == nil {
		for _, p := range l.rig.pods {
			for _, b := range a.Backends {
				if b.Address.String() == p.Status.PodIP {
					l.rig.label(ctx, p.Name, b.Lease, b.Service)
				}
			}
		}
	}
	return l.Announcer.Apply(ctx, a)
}

// serve makes a pod a replica.
func (r *rig) serve(_ context.Context, name string) (out []driver.Backend, err error) {
	if r.taken == len(r.pods) {
		return nil, errors.New("no pod is left")
	}
	p := r.pods[r.taken]
	r.taken++
	r.names[p.Name] = name
	for _, ip := range p.Status.PodIPs {
		out = append(out, driver.Backend{Node: p.Spec.NodeName, Address: netip.MustParseAddr(ip.IP)})
	}
	return out, nil
}

func (r *rig) ask(ctx context.Context, from ipleasetest.Client, proto iplease.Protocol, to netip.AddrPort) (a ipleasetest.Answer, err error) {
	source, network := client4, "tcp"
	if to.Addr().Is6() {
		source = client6
	}
	if from.Index == 1 {
		source = source.Next()
	}
	if proto == iplease.UDP {
		network = "udp"
	}
	const limit = time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c, err := r.lan.DialFrom(ctx, netip.AddrPortFrom(source, from.Port), network, to.String())
	if err != nil {
		return a, err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return a, err
	}
	if proto == iplease.UDP {
		if _, err := c.Write([]byte("?")); err != nil {
			return a, err
		}
	}
	const size = 1500
	line := make([]byte, size)
	n, err := c.Read(line)
	if err != nil && !errors.Is(err, io.EOF) {
		return a, err
	}
	var pod, client string
	if _, err := fmt.Sscan(string(line[:n]), &pod, &a.Port, &client); err != nil {
		return a, err
	}
	a.Replica = r.names[pod]
	a.Client, err = netip.ParseAddr(client)
	return a, err
}

func (r *rig) answers(ctx context.Context, at netip.Addr) (string, error) {
	hardware, err := r.lan.Neighbour(ctx, "lan0", at)
	return hardware.String(), err
}

// network is the rig as the suite wants it.
func (r *rig) network() *ipleasetest.Network {
	base := 4 * (int(rigs.Load()) % 4)
	n := &ipleasetest.Network{
		Announcer: labelling{r.announcer, r}, Serve: r.serve, Ask: r.ask, Answers: r.answers,
		Clients4: [2]netip.Addr{client4, client4.Next()}, Clients6: [2]netip.Addr{client6, client6.Next()},
	}
	for i := range 4 {
		n.V4 = append(n.V4, netip.AddrFrom4([4]byte{192, 168, 77, byte(200 + base + i)}))
		n.V6 = append(n.V6, netip.MustParseAddr(fmt.Sprintf("fd77::%x", 0x200+base+i)))
	}
	n.Reopen = func(context.Context) (driver.Announcer, error) {
		err := r.shut()
		r.open()
		return labelling{r.announcer, r}, err
	}
	return n
}

func TestConformance(t *testing.T) {
	ipleasetest.Run(t, ipleasetest.Harness{
		New:      func(t *testing.T) *ipleasetest.Network { t.Helper(); return newRig(t, shared.Get(t)).network() },
		Patience: 30 * time.Second,
		Abilities: []ipleasetest.Ability{
			ipleasetest.Watch, ipleasetest.Sources, ipleasetest.IPv6, ipleasetest.Reopen, ipleasetest.Traffic, ipleasetest.Neighbours,
		},
	})
}
