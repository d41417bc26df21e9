package kubepolicy_test

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/moorage-dev/moorage/internal/cyclonus"
	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/netpolicy/kubepolicy"
	"github.com/moorage-dev/moorage/netpolicy/netpolicytest"
)

// the is cyclonus, built once.
var the struct {
	once  sync.Once
	dir   string
	judge *cyclonus.Judge
	err   error
}

func judge(t *testing.T) *cyclonus.Judge {
	t.Helper()
	the.once.Do(func() {
		if the.dir, the.err = os.MkdirTemp("", "moorage-cyclonus-"); the.err == nil {
			the.judge, the.err = cyclonus.Build(t.Context(), the.dir)
		}
	})
	require.NoError(t, the.err)
	return the.judge
}

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(the.dir)
	os.Exit(code)
}

// cluster is a world as objects of a cluster, judged by cyclonus.
type cluster struct {
	t        *testing.T
	judge    *cyclonus.Judge
	policies []*networkingv1.NetworkPolicy
}

func namespace(lease int) string { return fmt.Sprintf("lease-%d", lease) }

const gateway = "gateway"

func (c *cluster) render(w *netpolicytest.World, mutate func(*networkingv1.NetworkPolicy)) error {
	for i := range w.Leases {
		objects, err := kubepolicy.Render(w.Leases[i].Policy, kubepolicy.Options{
			Namespace: namespace(i), Routers: []kubepolicy.Peer{{Namespace: map[string]string{"name": gateway}, Pods: map[string]string{"app": "router"}}},
		})
		if err != nil {
			return err
		}
		for _, o := range objects {
			if mutate != nil {
				mutate(o)
			}
			c.policies = append(c.policies, o)
		}
	}
	return nil
}

func peer(e netpolicytest.End) cyclonus.Peer {
	p := cyclonus.Peer{IP: e.Address.String()}
	switch e.Role {
	case netpolicy.Replica:
		p.Namespace = namespace(e.Lease)
		p.NamespaceLabels, p.Labels = map[string]string{"name": p.Namespace}, map[string]string{kubepolicy.ServiceLabel: e.Service, "other": "label"}
	case netpolicy.Router:
		p.Namespace, p.NamespaceLabels, p.Labels = gateway, map[string]string{"name": gateway}, map[string]string{"app": "router"}
	default:
	}
	return p
}

func (c *cluster) AllowsAll(packets []netpolicytest.Packet) ([]bool, error) {
	questions := make([]cyclonus.Packet, len(packets))
	for i, p := range packets {
		questions[i] = cyclonus.Packet{From: peer(p.From), To: peer(p.To), Protocol: corev1.Protocol(p.Port.Protocol), Port: int(p.Port.Number)}
	}
	a, err := c.judge.Ask(c.t.Context(), c.policies, questions)
	out := make([]bool, len(packets))
	for i := range a.Egress {
		out[i] = a.Egress[i] && a.Ingress[i]
	}
	return out, err
}

func (c *cluster) Allows(p netpolicytest.Packet) (bool, error) {
	out, err := c.AllowsAll([]netpolicytest.Packet{p})
	return len(out) == 1 && out[0], err
}

// harness leaves out what comes from the node: objects do not speak of it, and by
// Kubernetes' rules it passes.
func harness(t *testing.T, mutate func(*networkingv1.NetworkPolicy)) netpolicytest.Harness {
	t.Helper()
	j := judge(t)
	return netpolicytest.Harness{
		Worlds: 25,
		Skip:   func(_ *netpolicytest.World, p netpolicytest.Packet) bool { return p.From.Role == netpolicy.Node },
		Render: func(w *netpolicytest.World) (netpolicytest.Interpreter, error) {
			c := &cluster{t: t, judge: j}
			return c, c.render(w, mutate)
		},
	}
}

func TestObjectsAreWhatEvaluateSaysByCyclonus(t *testing.T) { netpolicytest.Run(t, harness(t, nil)) }

func TestTheClustersNameServersAreReachedByWhatTheyAre(t *testing.T) {
	p, err := netpolicy.Compile(groups()["web"], nil, netpolicy.Surroundings{})
	require.NoError(t, err)
	objects, err := kubepolicy.Render(p, kubepolicy.Options{Namespace: namespace(0)})
	require.NoError(t, err)
	from := peer(netpolicytest.End{Role: netpolicy.Replica, Service: "web", Address: prefix("10.244.0.2/32").Addr()})
	server := cyclonus.Peer{
		IP: "10.244.0.3", Namespace: "kube-system", NamespaceLabels: map[string]string{"kubernetes.io/metadata.name": "kube-system"},
		Labels: map[string]string{"k8s-app": "kube-dns"},
	}
	neighbour, impostor := server, server
	neighbour.Labels = map[string]string{"k8s-app": "metrics"}
	impostor.Namespace, impostor.NamespaceLabels = "lease-9", map[string]string{"kubernetes.io/metadata.name": "lease-9"}
	udp, tcp := corev1.ProtocolUDP, corev1.ProtocolTCP
	packets := []cyclonus.Packet{
		{From: from, To: server, Protocol: udp, Port: 53}, {From: from, To: server, Protocol: tcp, Port: 53},
		{From: from, To: server, Protocol: tcp, Port: 9153}, {From: from, To: neighbour, Protocol: udp, Port: 53}, {From: from, To: impostor, Protocol: udp, Port: 53},
	}
	a, err := judge(t).Ask(t.Context(), objects, packets)
	require.NoError(t, err)
	assert.Equal(t, []bool{true, true, false, false, false}, a.Egress)
}

func caught(t *testing.T, name string, h netpolicytest.Harness) {
	t.Helper()
	cases := netpolicytest.Cases()
	i := slices.IndexFunc(cases, func(c netpolicytest.Case) bool { return c.Name == name })
	require.GreaterOrEqual(t, i, 0, name)
	assert.Error(t, cases[i].Check(h))
}

func TestMisreadingsOfThePolicyAreCaught(t *testing.T) {
	for _, f := range netpolicytest.Faults() {
		t.Run(f.Name, func(t *testing.T) {
			h := harness(t, nil)
			h.Fault = f.Plant
			caught(t, f.Caught, h)
		})
	}
}

// TestMistakesInObjectsAreCaught renders objects with one fault each.
func TestMistakesInObjectsAreCaught(t *testing.T) {
	drop := func(o *networkingv1.NetworkPolicy, direction networkingv1.PolicyType) {
		o.Spec.PolicyTypes = slices.DeleteFunc(o.Spec.PolicyTypes, func(p networkingv1.PolicyType) bool { return p == direction && len(o.Spec.PolicyTypes) > 1 })
	}
	for _, mistake := range []struct {
		name, caught string
		make         func(o *networkingv1.NetworkPolicy)
	}{
		{"nothing is denied where no service says so", "leases", func(o *networkingv1.NetworkPolicy) { drop(o, networkingv1.PolicyTypeEgress) }},
		{"the router may be of any namespace", "leases", func(o *networkingv1.NetworkPolicy) {
			if o.Name == kubepolicy.LeaseName { // egress to everybody shows what ingress lets in
				o.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{{}}
			}
		}},
		{"no except", "denied ranges", func(o *networkingv1.NetworkPolicy) {
			for i := range o.Spec.Egress {
				for j := range o.Spec.Egress[i].To {
					if b := o.Spec.Egress[i].To[j].IPBlock; b != nil {
						b.Except = nil
					}
				}
			}
		}},
		{"no peers is everybody", "services of one lease", func(o *networkingv1.NetworkPolicy) {
			for i := range o.Spec.Ingress {
				o.Spec.Ingress[i].From = nil
			}
		}},
		{"ports are forgotten", "router", func(o *networkingv1.NetworkPolicy) {
			for i := range o.Spec.Ingress {
				o.Spec.Ingress[i].Ports = nil
			}
		}},
		{"protocols are forgotten", "services of one lease", func(o *networkingv1.NetworkPolicy) {
			for i := range o.Spec.Ingress {
				for j := range o.Spec.Ingress[i].Ports {
					o.Spec.Ingress[i].Ports[j].Protocol = nil
				}
			}
		}},
		{"services are those of all leases", "services of one lease", func(o *networkingv1.NetworkPolicy) { o.Spec.PodSelector.MatchLabels = nil }},
		{"no way out", "public addresses", func(o *networkingv1.NetworkPolicy) { o.Spec.Egress = nil }},
	} {
		t.Run(mistake.name, func(t *testing.T) { caught(t, mistake.caught, harness(t, mistake.make)) })
	}
}
