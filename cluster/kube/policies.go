package kube

import (
	"context"
	"net/netip"

	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/netpolicy/kubepolicy"
)

// Policies says what surrounds leases, so that network policies can be rendered.
// The cluster must have a network that enforces NetworkPolicy.
type Policies struct {
	// Surroundings are the provider's own ranges, name servers and so on. Without a
	// ControlPlane, the API server's addresses are found out when the driver runs.
	Surroundings netpolicy.Surroundings
	// Routers are the pods of the HTTP router, Resolvers those of the name servers;
	// nil resolvers are those labelled k8s-app=kube-dns in kube-system.
	Routers, Resolvers []kubepolicy.Peer
	// Sources says that clients keep their addresses up to the pods, so that leased
	// ports with sources are enforced (externalTrafficPolicy: Local). Else Nodes are
	// the addresses of the cluster's nodes, or ranges that have them all: clients
	// come under them, and who may come is up to whoever announces the address
	// (loadBalancerSourceRanges).
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

// renderPolicies renders the network policies of a workload.
func (p *Policies) renderPolicies(f render.Frame, w driver.Workload) ([]render.Object, error) {
	policy, err := w.Policy(p.Surroundings)
	if err != nil {
		return nil, err
	}
	o := kubepolicy.Options{Namespace: f.Namespace, ServiceLabel: LabelService, Routers: p.Routers, Resolvers: p.Resolvers}
	if !p.Sources {
		o.Nodes = p.Nodes
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

// findControlPlane fills in where the API server is, if the configuration does
// not say.
func (d *Driver) findControlPlane(ctx context.Context) error {
	p := d.cfg.Policies
	if p == nil || len(p.Surroundings.ControlPlane) > 0 {
		return nil
	}
	list, err := d.client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=kubernetes"})
	if err != nil {
		return err
	}
	for _, s := range list.Items {
		for _, e := range s.Endpoints {
			for _, text := range e.Addresses {
				a, err := netip.ParseAddr(text)
				for _, port := range s.Ports {
					if err == nil && port.Port != nil {
						p.Surroundings.ControlPlane = append(p.Surroundings.ControlPlane, netip.AddrPortFrom(a, uint16(*port.Port)))
					}
				}
			}
		}
	}
	return nil
}
