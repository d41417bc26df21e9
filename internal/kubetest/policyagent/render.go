package policyagent

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Table is the name of the table, of family inet.
const Table = "kubetest_policies"

// Objects are what rules are made of.
type Objects struct {
	Pods       []*corev1.Pod
	Namespaces []*corev1.Namespace
	Policies   []*networkingv1.NetworkPolicy
}

// Render is the script that puts the rules for the pods of a node into the kernel,
// of all pods if node is "". The order of the objects does not matter.
func Render(o Objects, node string) (string, error) {
	r := &renderer{namespaces: make(map[string]labels.Set)}
	for _, ns := range o.Namespaces {
		r.namespaces[ns.Name] = ns.Labels
	}
	for _, p := range o.Pods {
		if alive(p) {
			r.pods = append(r.pods, p)
		}
	}
	byName := func(a, b metav1.Object) int {
		return strings.Compare(a.GetNamespace()+"/"+a.GetName(), b.GetNamespace()+"/"+b.GetName())
	}
	slices.SortFunc(r.pods, func(a, b *corev1.Pod) int { return byName(a, b) })
	r.policies = slices.SortedFunc(slices.Values(o.Policies), func(a, b *networkingv1.NetworkPolicy) int { return byName(a, b) })
	return r.render(node)
}

// alive reports pods that have addresses of their own.
func alive(p *corev1.Pod) bool {
	ended := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	return !ended && !p.Spec.HostNetwork && len(addresses(p)) > 0
}

func addresses(p *corev1.Pod) []netip.Addr {
	var out []netip.Addr
	for _, ip := range p.Status.PodIPs {
		if a, err := netip.ParseAddr(ip.IP); err == nil {
			out = append(out, a.Unmap())
		}
	}
	return out
}

type renderer struct {
	strings.Builder
	pods       []*corev1.Pod
	namespaces map[string]labels.Set
	policies   []*networkingv1.NetworkPolicy
}

func (r *renderer) line(format string, args ...any) { fmt.Fprintf(&r.Builder, format+"\n", args...) }

func (r *renderer) render(node string) (string, error) {
	r.line("table inet %s\ndelete table inet %s\ntable inet %s {", Table, Table, Table)
	leaving, entering := map[bool][]string{}, map[bool][]string{}
	for i, p := range r.pods {
		if node != "" && p.Spec.NodeName != node {
			continue
		}
		if err := r.pod(i, p, networkingv1.PolicyTypeEgress, leaving); err != nil {
			return "", err
		}
		if err := r.pod(i, p, networkingv1.PolicyTypeIngress, entering); err != nil {
			return "", err
		}
	}
	for _, four := range []bool{true, false} {
		r.dispatch("leaving", four, leaving[four])
		r.dispatch("entering", four, entering[four])
	}
	for _, hook := range []string{"forward", "input"} {
		r.line("\tchain on_%s {\n\t\ttype filter hook %s priority -5; policy accept;", hook, hook)
		r.line("\t\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept")
		r.line("\t\tct state established ct direction reply accept\n\t\tct state related accept")
		r.line("\t\tip saddr vmap @leaving4\n\t\tip6 saddr vmap @leaving6")
		if hook == "forward" {
			r.line("\t\tip daddr vmap @entering4\n\t\tip6 daddr vmap @entering6")
		}
		r.line("\t}")
	}
	r.line("}")
	return r.String(), nil
}

// dispatch leads from addresses to the chains of their pods.
func (r *renderer) dispatch(direction string, four bool, elements []string) {
	kind, digit := "ipv4_addr", 4
	if !four {
		kind, digit = "ipv6_addr", 6
	}
	r.line("\tmap %s%d {\n\t\ttype %s : verdict", direction, digit, kind)
	if len(elements) > 0 {
		r.line("\t\telements = { %s }", strings.Join(elements, ", "))
	}
	r.line("\t}")
}

// pod writes the chain of a pod for a direction, if any policy selects it: it
// returns what is allowed and drops the rest.
func (r *renderer) pod(i int, p *corev1.Pod, direction networkingv1.PolicyType, dispatch map[bool][]string) error {
	var mine []*networkingv1.NetworkPolicy
	for _, np := range r.policies {
		ok, err := selects(&np.Spec.PodSelector, p.Labels)
		if err != nil {
			return fmt.Errorf("policyagent: %s/%s: %w", np.Namespace, np.Name, err)
		}
		if ok && np.Namespace == p.Namespace && concerns(np, direction) {
			mine = append(mine, np)
		}
	}
	if len(mine) == 0 {
		return nil
	}
	name := fmt.Sprintf("pod%d_%s", i, strings.ToLower(string(direction)))
	for _, a := range addresses(p) {
		dispatch[a.Is4()] = append(dispatch[a.Is4()], fmt.Sprintf("%s : jump %s", a, name))
	}
	r.line("\tchain %s { # %s/%s", name, p.Namespace, p.Name)
	for _, np := range mine {
		if err := r.rules(np, p, direction); err != nil {
			return fmt.Errorf("policyagent: %s/%s: %w", np.Namespace, np.Name, err)
		}
	}
	r.line("\t\tdrop\n\t}")
	return nil
}

// concerns reports whether a policy speaks about a direction.
func concerns(np *networkingv1.NetworkPolicy, direction networkingv1.PolicyType) bool {
	if len(np.Spec.PolicyTypes) > 0 {
		return slices.Contains(np.Spec.PolicyTypes, direction)
	}
	return direction == networkingv1.PolicyTypeIngress || len(np.Spec.Egress) > 0
}

func (r *renderer) rules(np *networkingv1.NetworkPolicy, p *corev1.Pod, direction networkingv1.PolicyType) error {
	if direction == networkingv1.PolicyTypeIngress {
		for _, rule := range np.Spec.Ingress {
			if err := r.rule(way{np.Namespace, p, "saddr"}, rule.From, rule.Ports); err != nil {
				return err
			}
		}
		return nil
	}
	for _, rule := range np.Spec.Egress {
		if err := r.rule(way{np.Namespace, p, "daddr"}, rule.To, rule.Ports); err != nil {
			return err
		}
	}
	return nil
}

// way is a direction seen from a pod: its peers are at the other end's address.
type way struct {
	namespace string
	pod       *corev1.Pod
	end       string
}

// rule allows peers on ports; none of either is all.
func (r *renderer) rule(w way, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) error {
	ends := []end{{}}
	if len(peers) > 0 {
		ends = nil
	}
	for i := range peers {
		more, err := r.peer(w, &peers[i])
		if err != nil {
			return err
		}
		ends = append(ends, more...)
	}
	for _, e := range ends {
		if len(ports) == 0 {
			r.line("\t\t%sreturn", e.match)
		}
		for i := range ports {
			if err := r.port(w, e, &ports[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// end is a match of the other end, "" for everybody, and the pods that it is.
type end struct {
	match string
	pods  []*corev1.Pod
}

func (r *renderer) peer(w way, peer *networkingv1.NetworkPolicyPeer) ([]end, error) {
	if peer.IPBlock != nil {
		match, err := block(w.end, peer.IPBlock)
		return []end{{match: match}}, err
	}
	var found []*corev1.Pod
	for _, p := range r.pods {
		ok, err := r.isPeer(w, peer, p)
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, p)
		}
	}
	return ofPods(w.end, found), nil
}

func (r *renderer) isPeer(w way, peer *networkingv1.NetworkPolicyPeer, p *corev1.Pod) (bool, error) {
	if peer.NamespaceSelector == nil {
		if p.Namespace != w.namespace {
			return false, nil
		}
	} else if ok, err := selects(peer.NamespaceSelector, r.namespaces[p.Namespace]); !ok {
		return false, err
	}
	if peer.PodSelector == nil {
		return true, nil
	}
	return selects(peer.PodSelector, p.Labels)
}

// ofPods matches pods by their addresses.
func ofPods(direction string, pods []*corev1.Pod) []end {
	var out []end
	for _, four := range []bool{true, false} {
		var list []string
		for _, p := range pods {
			for _, a := range addresses(p) {
				if a.Is4() == four {
					list = append(list, a.String())
				}
			}
		}
		if len(list) > 0 {
			out = append(out, end{fmt.Sprintf("%s %s { %s } ", word(four), direction, strings.Join(list, ", ")), pods})
		}
	}
	return out
}

func word(four bool) string {
	if four {
		return "ip"
	}
	return "ip6"
}

func block(direction string, b *networkingv1.IPBlock) (string, error) {
	p, err := netip.ParsePrefix(b.CIDR)
	if err != nil {
		return "", err
	}
	family := word(p.Addr().Is4())
	match := fmt.Sprintf("meta nfproto %s ", map[bool]string{true: "ipv4", false: "ipv6"}[p.Addr().Is4()])
	if p.Bits() > 0 {
		match = fmt.Sprintf("%s %s %s ", family, direction, p.Masked())
	}
	var except []string
	for _, text := range b.Except {
		e, err := netip.ParsePrefix(text)
		if err != nil {
			return "", err
		}
		except = append(except, e.Masked().String())
	}
	if len(except) > 0 {
		match += fmt.Sprintf("%s %s != { %s } ", family, direction, strings.Join(except, ", "))
	}
	return match, nil
}

// port allows one port of an end.
func (r *renderer) port(w way, e end, p *networkingv1.NetworkPolicyPort) error {
	protocol := corev1.ProtocolTCP
	if p.Protocol != nil {
		protocol = *p.Protocol
	}
	name := strings.ToLower(string(protocol))
	switch {
	case p.Port == nil:
		r.line("\t\t%smeta l4proto %s return", e.match, name)
	case p.Port.Type == intstr.String:
		r.named(w, e, protocol, p.Port.StrVal)
	case p.EndPort != nil:
		r.line("\t\t%s%s dport %d-%d return", e.match, name, p.Port.IntVal, *p.EndPort)
	default:
		r.line("\t\t%s%s dport %d return", e.match, name, p.Port.IntVal)
	}
	return nil
}

// named allows a port by its name, which is the receiving pod's: our own where
// packets come in, else that of each pod at the other end.
func (r *renderer) named(w way, e end, protocol corev1.Protocol, name string) {
	receivers := e.pods
	switch {
	case w.end == "saddr":
		receivers = []*corev1.Pod{w.pod}
	case e.match == "":
		receivers = r.pods
	}
	for _, p := range receivers {
		for _, number := range portsNamed(p, protocol, name) {
			if w.end == "saddr" {
				r.line("\t\t%s%s dport %d return", e.match, strings.ToLower(string(protocol)), number)
				continue
			}
			for _, one := range ofPods(w.end, []*corev1.Pod{p}) {
				r.line("\t\t%s%s dport %d return", one.match, strings.ToLower(string(protocol)), number)
			}
		}
	}
}

func portsNamed(p *corev1.Pod, protocol corev1.Protocol, name string) []int32 {
	var out []int32
	for _, c := range p.Spec.Containers {
		for _, port := range c.Ports {
			same := port.Protocol == protocol || port.Protocol == "" && protocol == corev1.ProtocolTCP
			if same && port.Name == name && !slices.Contains(out, port.ContainerPort) {
				out = append(out, port.ContainerPort)
			}
		}
	}
	return out
}

func selects(s *metav1.LabelSelector, l labels.Set) (bool, error) {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return false, err
	}
	return selector.Matches(l), nil
}
