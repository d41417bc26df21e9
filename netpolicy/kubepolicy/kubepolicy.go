package kubepolicy

import (
	"errors"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// ServiceLabel is the usual label of pods that carries the service's name.
const ServiceLabel = "moorage.dev/service"

// Names of the objects.
const (
	// LeaseName is the object for all pods of the lease: nothing comes in, and what
	// may leave.
	LeaseName = "moorage-lease"
	// IngressPrefix and the service's name: who may reach the service.
	IngressPrefix = "moorage-in-"
	// ControlPlanePrefix and the service's name: that it may reach the API servers.
	ControlPlanePrefix = "moorage-api-"
	// HelperPrefix and the helper's name: that the router may reach it.
	HelperPrefix = "moorage-help-"
)

// Options say what the objects are called and who is who in the cluster.
type Options struct {
	// Namespace is the lease's. Required.
	Namespace string
	// Labels are put on every object.
	Labels map[string]string
	// ServiceLabel is [ServiceLabel] if "".
	ServiceLabel string
	// Routers are the pods of the HTTP router. None: no pod is, as with a router that
	// is no pod or that lives in the host network.
	Routers []Peer
	// RouterNodes are the addresses of nodes on which a router lives in the host
	// network: from them it reaches pods of other nodes. Whatever else is on these
	// nodes may then use the router's ports too.
	RouterNodes []netip.Prefix
	// Helpers are pods in the lease's namespace that are not the lease's.
	Helpers []Helper
	// Resolvers are the pods of the cluster's name servers; nil is those labelled
	// k8s-app=kube-dns in kube-system. Name servers at fixed addresses are part of the
	// policy's surroundings.
	Resolvers []Peer
	// Nodes are the addresses of the cluster's nodes. Where a Service has the traffic
	// policy Cluster, clients of one node reach pods of another under the first node's
	// address: ports with sources are opened to these too, and the sources are up to
	// whoever makes the Service (loadBalancerSourceRanges). None if the client's
	// address is kept.
	Nodes []netip.Prefix
}

// Peer selects pods by labels of their namespace and their own. One of the two
// may be empty and then selects all.
type Peer struct {
	Namespace, Pods map[string]string
}

// Helper is a pod that a controller of the cluster puts beside a lease and that
// the router must reach, such as the answer to a certificate authority.
type Helper struct {
	// Name is a DNS label. Pods are the labels by which the pods are known; the
	// lease's own have others.
	Name string
	Pods map[string]string
	// Port is a TCP port.
	Port uint16
}

// Render returns the objects for a policy, sorted by name; the same arguments
// give the same objects. The policy is not kept. The error is for options that
// would open more than they say.
func Render(p *netpolicy.Policy, o Options) ([]*networkingv1.NetworkPolicy, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	out := []*networkingv1.NetworkPolicy{o.lease(&p.Egress)}
	for i := range p.Services {
		s := &p.Services[i]
		out = append(out, o.ingress(s))
		if s.ControlPlane && len(p.Egress.ControlPlane) > 0 {
			out = append(out, o.controlPlane(s, p.Egress.ControlPlane))
		}
	}
	for _, h := range o.Helpers {
		if from := o.routers(); len(from) > 0 {
			out = append(out, o.helper(h, from))
		}
	}
	slices.SortFunc(out, func(a, b *networkingv1.NetworkPolicy) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Stale returns the names among found that are this package's and not among
// wanted, in found's order: objects of services that are no more.
func Stale(wanted []*networkingv1.NetworkPolicy, found []string) []string {
	keep := make(map[string]bool, len(wanted))
	for _, w := range wanted {
		keep[w.Name] = true
	}
	return slices.DeleteFunc(slices.Clone(found), func(name string) bool {
		ours := name == LeaseName || slices.ContainsFunc([]string{IngressPrefix, ControlPlanePrefix, HelperPrefix}, func(p string) bool { return strings.HasPrefix(name, p) })
		return keep[name] || !ours
	})
}

// complete checks the options and enters the defaults.
func (o *Options) complete() error {
	if o.ServiceLabel == "" {
		o.ServiceLabel = ServiceLabel
	}
	if o.Resolvers == nil {
		o.Resolvers = []Peer{{
			Namespace: map[string]string{corev1.LabelMetadataName: metav1.NamespaceSystem},
			Pods:      map[string]string{"k8s-app": "kube-dns"},
		}}
	}
	if o.Namespace == "" {
		return errors.New("kubepolicy: no namespace given")
	}
	if slices.ContainsFunc(slices.Concat(o.Nodes, o.RouterNodes), func(p netip.Prefix) bool { return !p.IsValid() }) {
		return errors.New("kubepolicy: a node's range is malformed")
	}
	if slices.ContainsFunc(o.Helpers, func(h Helper) bool { return h.Name == "" || len(h.Pods) == 0 || h.Port == 0 }) {
		return errors.New("kubepolicy: a helper without name, labels or port would be the lease itself")
	}
	for _, p := range slices.Concat(o.Routers, o.Resolvers) {
		if len(p.Namespace)+len(p.Pods) == 0 {
			return errors.New("kubepolicy: a router or resolver without labels would be every pod of the cluster")
		}
	}
	return nil
}

// object makes an object for the pods that have the labels.
func (o *Options) object(name string, pods map[string]string, types ...networkingv1.PolicyType) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: networkingv1.SchemeGroupVersion.String(), Kind: "NetworkPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: o.Namespace, Labels: maps.Clone(o.Labels)},
		Spec:       networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: pods}, PolicyTypes: types},
	}
}

// lease lets nothing in, and out what all containers may reach.
func (o *Options) lease(e *netpolicy.Egress) *networkingv1.NetworkPolicy {
	np := o.object(LeaseName, nil, networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress)
	np.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{everyPod()}}}
	resolvers := peers(o.Resolvers)
	for _, a := range e.Resolvers {
		resolvers = append(resolvers, block(netip.PrefixFrom(a, a.BitLen()), nil))
	}
	if len(resolvers) > 0 {
		np.Spec.Egress = append(np.Spec.Egress, networkingv1.NetworkPolicyEgressRule{To: resolvers, Ports: dnsPorts(e.ResolverPorts)})
	}
	if world := world(e); len(world) > 0 {
		np.Spec.Egress = append(np.Spec.Egress, networkingv1.NetworkPolicyEgressRule{To: world})
	}
	return np
}

// world is everything that is neither closed nor, where it was opened, the
// provider's own.
func world(e *netpolicy.Egress) []networkingv1.NetworkPolicyPeer {
	var out []networkingv1.NetworkPolicyPeer
	closed := e.Closed()
	all := []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	for i, r := range slices.Concat(all, e.Open) {
		shut := e.Own
		if i < len(all) {
			shut = closed
		}
		if !slices.ContainsFunc(shut, func(s netip.Prefix) bool { return s.Bits() <= r.Bits() && s.Overlaps(r) }) {
			out = append(out, block(r, shut))
		}
	}
	return out
}

func (o *Options) ingress(s *netpolicy.Service) *networkingv1.NetworkPolicy {
	np := o.object(IngressPrefix+s.Name, map[string]string{o.ServiceLabel: s.Name}, networkingv1.PolicyTypeIngress)
	np.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{o.services([]string{s.Name})}}}
	var last *netpolicy.Opening
	for i := range s.Openings {
		now := &s.Openings[i]
		from, open := o.from(now)
		if !open {
			continue
		}
		if last != nil && same(last, now) {
			rule := &np.Spec.Ingress[len(np.Spec.Ingress)-1]
			rule.Ports = append(rule.Ports, port(now.Port))
			continue
		}
		np.Spec.Ingress = append(np.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: from, Ports: []networkingv1.NetworkPolicyPort{port(now.Port)}})
		last = now
	}
	return np
}

// same reports openings to the same peers; they share a rule.
func same(a, b *netpolicy.Opening) bool {
	x, y := *a, *b
	x.Port, y.Port = netpolicy.Port{}, netpolicy.Port{}
	return reflect.DeepEqual(x, y)
}

// from lists who may use an opening; none, with true, is everybody.
func (o *Options) from(w *netpolicy.Opening) (from []networkingv1.NetworkPolicyPeer, open bool) {
	if w.World && len(w.Sources) == 0 {
		return nil, true
	}
	if w.Lease {
		from = append(from, everyPod())
	} else if len(w.Services) > 0 {
		from = append(from, o.services(w.Services))
	}
	if w.Router {
		from = append(from, o.routers()...)
	}
	if len(w.Sources) > 0 {
		for _, r := range netpolicy.Merge(slices.Concat(w.Sources, o.Nodes)...) {
			from = append(from, block(r, nil))
		}
	}
	return from, len(from) > 0
}

// routers are whoever brings web pages in.
func (o *Options) routers() []networkingv1.NetworkPolicyPeer {
	out := peers(o.Routers)
	for _, r := range netpolicy.Merge(o.RouterNodes...) {
		out = append(out, block(r, nil))
	}
	return out
}

func (o *Options) helper(h Helper, from []networkingv1.NetworkPolicyPeer) *networkingv1.NetworkPolicy {
	np := o.object(HelperPrefix+h.Name, maps.Clone(h.Pods), networkingv1.PolicyTypeIngress)
	np.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{
		From: from, Ports: []networkingv1.NetworkPolicyPort{port(netpolicy.Port{Protocol: manifest.TCP, Number: h.Port})},
	}}
	return np
}

func (o *Options) controlPlane(s *netpolicy.Service, servers []netip.AddrPort) *networkingv1.NetworkPolicy {
	np := o.object(ControlPlanePrefix+s.Name, map[string]string{o.ServiceLabel: s.Name}, networkingv1.PolicyTypeEgress)
	for _, a := range servers {
		np.Spec.Egress = append(np.Spec.Egress, networkingv1.NetworkPolicyEgressRule{
			To:    []networkingv1.NetworkPolicyPeer{block(netip.PrefixFrom(a.Addr(), a.Addr().BitLen()), nil)},
			Ports: []networkingv1.NetworkPolicyPort{port(netpolicy.Port{Protocol: manifest.TCP, Number: a.Port()})},
		})
	}
	return np
}

// everyPod is every pod of the lease's namespace.
func everyPod() networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{}}
}

func (o *Options) services(names []string) networkingv1.NetworkPolicyPeer {
	if len(names) == 1 {
		return networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{o.ServiceLabel: names[0]}}}
	}
	return networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: o.ServiceLabel, Operator: metav1.LabelSelectorOpIn, Values: slices.Clone(names)},
	}}}
}

func peers(list []Peer) []networkingv1.NetworkPolicyPeer {
	out := make([]networkingv1.NetworkPolicyPeer, 0, len(list))
	for _, p := range list {
		out = append(out, networkingv1.NetworkPolicyPeer{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: maps.Clone(p.Namespace)},
			PodSelector:       &metav1.LabelSelector{MatchLabels: maps.Clone(p.Pods)},
		})
	}
	return out
}

// block is a range without those of the others that lie in it.
func block(r netip.Prefix, without []netip.Prefix) networkingv1.NetworkPolicyPeer {
	b := &networkingv1.IPBlock{CIDR: r.String()}
	for _, w := range without {
		if w.Bits() > r.Bits() && r.Overlaps(w) {
			b.Except = append(b.Except, w.String())
		}
	}
	return networkingv1.NetworkPolicyPeer{IPBlock: b}
}

func dnsPorts(numbers []uint16) []networkingv1.NetworkPolicyPort {
	var out []networkingv1.NetworkPolicyPort
	for _, n := range numbers {
		for _, protocol := range []manifest.Protocol{manifest.UDP, manifest.TCP} {
			out = append(out, port(netpolicy.Port{Protocol: protocol, Number: n}))
		}
	}
	return out
}

func port(p netpolicy.Port) networkingv1.NetworkPolicyPort {
	protocol, number := corev1.Protocol(p.Protocol), intstr.FromInt32(int32(p.Number))
	return networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: &number}
}
