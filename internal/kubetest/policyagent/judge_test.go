package policyagent_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/moorage-dev/moorage/internal/cyclonus"
	"github.com/moorage-dev/moorage/internal/kubetest/policyagent"
	"github.com/moorage-dev/moorage/netpolicy/netpolicytest/nfteval"
)

func pick[T any](rng *rand.Rand, list ...T) T { return list[rng.IntN(len(list))] }

// randomObjects makes pods in three namespaces and policies over them, with all
// that policies can say.
func randomObjects(rng *rand.Rand) policyagent.Objects {
	var o policyagent.Objects
	for i := range 3 {
		o.Namespaces = append(o.Namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("ns", i), Labels: randomLabels(rng)}})
	}
	for i := range 2 + rng.IntN(7) {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("pod", i), Namespace: fmt.Sprint("ns", rng.IntN(3)), Labels: randomLabels(rng)}}
		p.Status.PodIPs = []corev1.PodIP{{IP: fmt.Sprintf("10.0.%d.%d", rng.IntN(2), i+1)}, {IP: fmt.Sprintf("fd00::%d:%d", rng.IntN(2), i+1)}}
		p.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{
			{Name: "web", ContainerPort: pick[int32](rng, 80, 81)}, {Name: "dns", ContainerPort: 53, Protocol: corev1.ProtocolUDP},
		}}}
		o.Pods = append(o.Pods, p)
	}
	for i := range rng.IntN(6) {
		o.Policies = append(o.Policies, randomPolicy(rng, i))
	}
	return o
}

func randomLabels(rng *rand.Rand) map[string]string {
	out := map[string]string{"always": pick(rng, "a", "b", "c")}
	for _, k := range []string{"app", "tier"} {
		if v := pick(rng, "", "a", "b", "c"); v != "" {
			out[k] = v
		}
	}
	return out
}

func randomPolicy(rng *rand.Rand, i int) *networkingv1.NetworkPolicy {
	np := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("np", i), Namespace: fmt.Sprint("ns", rng.IntN(3))}}
	np.Spec.PodSelector = *randomSelector(rng)
	np.Spec.PolicyTypes = pick(rng,
		[]networkingv1.PolicyType{networkingv1.PolicyTypeIngress}, []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
		[]networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress})
	for range rng.IntN(3) {
		np.Spec.Ingress = append(np.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: randomPeers(rng), Ports: randomPorts(rng)})
		np.Spec.Egress = append(np.Spec.Egress, networkingv1.NetworkPolicyEgressRule{To: randomPeers(rng), Ports: randomPorts(rng)})
	}
	return np
}

func randomSelector(rng *rand.Rand) *metav1.LabelSelector {
	s := &metav1.LabelSelector{}
	switch rng.IntN(4) {
	case 0:
		s.MatchLabels = map[string]string{pick(rng, "app", "tier"): pick(rng, "a", "b", "c")}
	case 1:
		r := metav1.LabelSelectorRequirement{Key: pick(rng, "app", "tier", "none"), Operator: pick(rng,
			metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn, metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist)}
		if r.Operator == metav1.LabelSelectorOpNotIn {
			// Kubernetes takes an object without the label for one whose value is not in the
			// list (apimachinery's labels.Requirement); cyclonus does not.
			r.Key = "always"
		}
		if r.Operator == metav1.LabelSelectorOpIn || r.Operator == metav1.LabelSelectorOpNotIn {
			r.Values = pick(rng, []string{"a"}, []string{"a", "b"})
		}
		s.MatchExpressions = append(s.MatchExpressions, r)
	}
	return s
}

func randomPeers(rng *rand.Rand) []networkingv1.NetworkPolicyPeer {
	var out []networkingv1.NetworkPolicyPeer
	for range rng.IntN(3) {
		var p networkingv1.NetworkPolicyPeer
		switch rng.IntN(4) {
		case 0:
			p.IPBlock = pick(rng,
				&networkingv1.IPBlock{CIDR: "10.0.0.0/8", Except: []string{"10.0.1.0/24"}}, &networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: []string{"10.0.0.0/24", "8.8.8.8/32"}},
				&networkingv1.IPBlock{CIDR: "::/0", Except: []string{"fd00::1:0/112"}}, &networkingv1.IPBlock{CIDR: "0.0.0.0/0"}, &networkingv1.IPBlock{CIDR: "fd00::/112"})
		case 1:
			p.PodSelector = randomSelector(rng)
		case 2:
			p.NamespaceSelector = randomSelector(rng)
		default:
			p.PodSelector, p.NamespaceSelector = randomSelector(rng), randomSelector(rng)
		}
		out = append(out, p)
	}
	return out
}

func randomPorts(rng *rand.Rand) []networkingv1.NetworkPolicyPort {
	var out []networkingv1.NetworkPolicyPort
	for range rng.IntN(3) {
		var p networkingv1.NetworkPolicyPort
		if rng.IntN(2) == 0 {
			protocol := pick(rng, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)
			p.Protocol = &protocol
		}
		number := intstr.FromInt32(pick[int32](rng, 53, 80, 81))
		switch rng.IntN(4) {
		case 0:
			number = intstr.FromString(pick(rng, "web", "dns", "none"))
			p.Port = &number
		case 1:
			last := number.IntVal + int32(rng.IntN(3))
			p.Port, p.EndPort = &number, &last
		case 2:
			p.Port = &number
		}
		out = append(out, p)
	}
	return out
}

// end is a pod, or an address of nobody.
type end struct {
	pod *corev1.Pod
	ip  string
}

func randomEnd(rng *rand.Rand, o policyagent.Objects, six int) end {
	if rng.IntN(4) == 0 {
		return end{ip: [][]string{{"8.8.8.8", "9.9.9.9", "10.0.1.200"}, {"2a00::1", "fd00::1:99", "fd00::99"}}[six][rng.IntN(3)]}
	}
	p := o.Pods[rng.IntN(len(o.Pods))]
	return end{p, p.Status.PodIPs[six].IP}
}

func (e end) peer(o policyagent.Objects) cyclonus.Peer {
	p := cyclonus.Peer{IP: e.ip}
	if e.pod == nil {
		return p
	}
	p.Namespace, p.Labels = e.pod.Namespace, e.pod.Labels
	for _, ns := range o.Namespaces {
		if ns.Name == p.Namespace {
			p.NamespaceLabels = ns.Labels
		}
	}
	return p
}

// portName is what a pod calls a port.
func portName(p *corev1.Pod, protocol corev1.Protocol, number int) string {
	if p == nil {
		return ""
	}
	for _, c := range p.Spec.Containers[0].Ports {
		if (c.Protocol == protocol || c.Protocol == "" && protocol == corev1.ProtocolTCP) && int(c.ContainerPort) == number {
			return c.Name
		}
	}
	return ""
}

// disagree renders random objects, changes the text, and counts the packets that the
// rules judge in another way than cyclonus.
func disagree(t *testing.T, judge *cyclonus.Judge, seed uint64, change func(string) string) (wrong []string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, seed))
	o := randomObjects(rng)
	script, err := policyagent.Render(o, "")
	require.NoError(t, err)
	var k nfteval.Kernel
	require.NoError(t, k.Run(change(script)), script)
	var asked []cyclonus.Packet
	for len(asked) < 300 {
		six := rng.IntN(2)
		from, to := randomEnd(rng, o, six), randomEnd(rng, o, six)
		if from.ip == to.ip {
			continue
		}
		p := cyclonus.Packet{From: from.peer(o), To: to.peer(o), Protocol: pick(rng, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP), Port: pick(rng, 53, 80, 81, 82)}
		p.PortName = portName(to.pod, p.Protocol, p.Port)
		asked = append(asked, p)
	}
	want, err := judge.Ask(t.Context(), o.Policies, asked)
	require.NoError(t, err)
	for i, p := range asked {
		got, err := k.Judge(nfteval.Packet{
			Hook: "forward", In: "cni0", Out: "cni0", From: netip.MustParseAddr(p.From.IP), To: netip.MustParseAddr(p.To.IP),
			Protocol: strings.ToLower(string(p.Protocol)), Port: uint16(p.Port),
		})
		require.NoError(t, err)
		if got != (want.Egress[i] && want.Ingress[i]) {
			wrong = append(wrong, fmt.Sprintf("seed %d: %+v: got %t, cyclonus: leaves %t, enters %t\n%s", seed, p, got, want.Egress[i], want.Ingress[i], script))
		}
	}
	return wrong
}

func TestCyclonusAgreesWithTheRules(t *testing.T) {
	judge, err := cyclonus.Build(t.Context(), t.TempDir())
	require.NoError(t, err)
	for seed := range uint64(60) {
		if wrong := disagree(t, judge, seed, func(s string) string { return s }); len(wrong) > 0 {
			require.Fail(t, "the rules are not what cyclonus says", wrong[0])
		}
	}
	t.Run("and not with others", func(t *testing.T) {
		for _, change := range [][2]string{
			{`ip daddr != \{[^}]*\} `, ""}, {`(dport \d+)-\d+`, "$1"}, {`\tudp dport`, "\ttcp dport"}, {`ip saddr \{ `, "ip saddr { 10.0.1.200, "},
			{`\t\tip6 daddr vmap @entering6\n`, ""}, {`\t\tdrop\n`, ""}, {`meta l4proto tcp `, ""}, {`\t\treturn\n`, ""},
		} {
			pattern, caught := regexp.MustCompile(change[0]), false
			for seed := range uint64(60) {
				caught = caught || len(disagree(t, judge, seed, func(s string) string { return pattern.ReplaceAllString(s, change[1]) })) > 0
			}
			assert.True(t, caught, change)
		}
	})
}
