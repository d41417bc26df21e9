package kube

import (
	"net/netip"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/netpolicy/kubepolicy"
)

// Policies says what surrounds leases, so that network policies can be rendered.
// The cluster must have a network that enforces NetworkPolicy.
type Policies struct {
	// Surroundings are the provider's own ranges, name servers and so on. The
	// addresses of the nodes and of the API server are always its own; they are
	// found out and followed, also as ControlPlane where that is empty.
	Surroundings netpolicy.Surroundings
	// Routers are the pods of the HTTP router, Resolvers those of the name servers;
	// nil resolvers are those labelled k8s-app=kube-dns in kube-system.
	Routers, Resolvers []kubepolicy.Peer
	// Sources says that clients keep their addresses up to the pods, so that leased
	// ports with sources are enforced (externalTrafficPolicy: Local). Else Nodes are
	// the addresses of the cluster's nodes, or ranges that have them all: clients
	// come under them, and who may come is up to whoever announces the address
	// (loadBalancerSourceRanges). A router that lives in the host network of several
	// nodes brings pages in from Nodes too.
	Sources bool
	Nodes   []netip.Prefix
}

var _ driver.PolicyEnforcer = (*Driver)(nil)

// Enforces implements [driver.PolicyEnforcer]: what the configuration says that
// the cluster does.
func (d *Driver) Enforces() driver.Enforcement {
	switch {
	case d.cfg.Policies == nil:
		return 0
	case d.cfg.Policies.Sources:
		return driver.EnforcesAll
	}
	return driver.EnforcesAll &^ driver.EnforcesSources
}

// Pods by which cert-manager answers a certificate authority (ACME, HTTP-01).
const (
	labelSolver = "acme.cert-manager.io/http01-solver"
	solverPort  = 8089
)

// renderPolicies renders the network policies of a workload.
func (d *Driver) renderPolicies(f render.Frame, w driver.Workload) ([]render.Object, error) {
	policy, err := w.Policy(d.around())
	if err != nil {
		return nil, err
	}
	p := d.cfg.Policies
	o := kubepolicy.Options{
		Namespace: f.Namespace, ServiceLabel: LabelService, Routers: p.Routers, Resolvers: p.Resolvers, RouterNodes: p.Nodes,
	}
	if !p.Sources {
		o.Nodes = p.Nodes
	}
	if d.cfg.Router.Issuer != "" {
		o.Helpers = []kubepolicy.Helper{{Name: "acme", Pods: map[string]string{labelSolver: "true"}, Port: solverPort}}
	}
	list, err := kubepolicy.Render(policy, o)
	if err != nil {
		return nil, err
	}
	out := make([]render.Object, 0, len(list))
	for _, np := range list {
		o, err := sealPolicy(f, np)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

// sealPolicy makes a policy one of the lease's objects.
func sealPolicy(f render.Frame, np *networkingv1.NetworkPolicy) (render.Object, error) {
	k := render.Policies()
	meta := f.Meta(k, np.Name, np.Labels[LabelService], np.Annotations)
	for key, value := range np.Labels {
		if _, ours := meta.Labels[key]; !ours {
			meta.Labels[key] = value
		}
	}
	body := struct {
		APIVersion string                         `json:"apiVersion"`
		Kind       string                         `json:"kind"`
		Metadata   any                            `json:"metadata"`
		Spec       networkingv1.NetworkPolicySpec `json:"spec"`
	}{k.APIVersion(), k.Kind, meta, np.Spec}
	return f.Seal(k, np.Name, np.Labels[LabelService], body)
}

// aroundUs are the surroundings as the cluster is now: what the configuration
// says; the addresses of the nodes and of the API server, which no lease may
// reach even where they are public; and, unless the configuration says, the API
// server for services that may read about themselves.
func (d *Driver) aroundUs() netpolicy.Surroundings {
	s := d.cfg.Policies.Surroundings
	s.Own, s.ControlPlane = slices.Clone(s.Own), slices.Clone(s.ControlPlane)
	servers := d.servers()
	if len(s.ControlPlane) == 0 {
		s.ControlPlane = servers
	}
	addresses := d.nodeAddresses()
	for _, a := range servers {
		addresses = append(addresses, a.Addr())
	}
	for _, a := range addresses {
		s.Own = append(s.Own, netip.PrefixFrom(a, a.BitLen()))
	}
	s.Own = netpolicy.Merge(s.Own...)
	return s
}

// nodeAddresses are those of the cluster's nodes.
func (d *Driver) nodeAddresses() []netip.Addr {
	var out []netip.Addr
	for _, n := range every[*corev1.Node](d.store.nodes) {
		for _, text := range n.Status.Addresses {
			if a, err := netip.ParseAddr(text.Address); err == nil && !a.IsUnspecified() { // others are names
				out = append(out, a.Unmap().WithZone(""))
			}
		}
	}
	return out
}

// servers is where the API server is, sorted.
func (d *Driver) servers() []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range every[*discoveryv1.EndpointSlice](d.store.servers) {
		for _, e := range s.Endpoints {
			for _, text := range e.Addresses {
				a, err := netip.ParseAddr(text)
				for _, port := range s.Ports {
					if err == nil && port.Port != nil {
						out = append(out, netip.AddrPortFrom(a.Unmap().WithZone(""), uint16(*port.Port)))
					}
				}
			}
		}
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return slices.Compact(out)
}

// around are the surroundings as they were last seen.
func (d *Driver) around() netpolicy.Surroundings {
	if s := d.surroundings.Load(); s != nil {
		return *s
	}
	s := d.aroundUs()
	d.surroundings.CompareAndSwap(nil, &s)
	return s
}

// look looks at the surroundings anew. When they differ, so may the policies of
// every lease.
func (d *Driver) look() {
	if d.cfg.Policies == nil {
		return
	}
	before, now := d.surroundings.Load(), d.aroundUs()
	if before != nil && reflect.DeepEqual(*before, now) {
		return
	}
	d.surroundings.Store(&now)
	if before != nil {
		d.enqueueAll()
	}
}
