package metallb

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
)

// view is what the API shows of a claim.
type view struct {
	desired  driver.Announcement
	anchor   *corev1.Service
	services map[string]*corev1.Service             // by namespace/name
	slices   map[string][]discoveryv1.EndpointSlice // by namespace/name of their Service
	nodes    []string                               // that answer, sorted
}

// look reads a claim; ErrNotFound when there is no anchor.
func (a *Announcer) look(ctx context.Context, id iplease.ClaimID) (*view, error) {
	live, err := a.live(ctx, id)
	if err != nil {
		return nil, fault(ctx, "services of "+id.String(), err)
	}
	v := &view{services: map[string]*corev1.Service{}, slices: map[string][]discoveryv1.EndpointSlice{}}
	for i := range live {
		s := &live[i]
		if s.Labels[labelPart] == partAnchor {
			v.anchor = s
		} else {
			v.services[s.Namespace+"/"+s.Name] = s
		}
	}
	if v.anchor == nil {
		return nil, driver.ErrNotFound
	}
	if v.desired, err = decode(v.anchor.Annotations[annotationRecord]); err != nil {
		return nil, fmt.Errorf("metallb: record of %s: %w", id, err)
	}
	set := map[string]string{labelInstance: a.cfg.Instance, labelClaim: hash(a.cfg.Instance, id.String())}
	found, err := a.cfg.Client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll).List(ctx, selecting(set))
	if err != nil {
		return nil, fault(ctx, "endpoints of "+id.String(), err)
	}
	for _, e := range found.Items {
		key := e.Namespace + "/" + e.Labels[discoveryv1.LabelServiceName]
		v.slices[key] = append(v.slices[key], e)
	}
	if v.nodes, err = a.announcing(ctx, []string{v.anchor.Name}); err != nil {
		return nil, fault(ctx, "nodes of "+id.String(), err)
	}
	return v, nil
}

// announcing returns the nodes that announce any of the Services, sorted.
func (a *Announcer) announcing(ctx context.Context, services []string) ([]string, error) {
	nodes := map[string]bool{}
	requirement, err := labels.Parse("metallb.io/service-name in (" + strings.Join(services, ",") + ")")
	if err != nil {
		return nil, err
	}
	for _, resource := range []string{"servicel2statuses", "servicebgpstatuses"} {
		list, err := a.cfg.Dynamic.Resource(metallbResource(resource)).Namespace(a.cfg.MetalLB).
			List(ctx, metav1.ListOptions{LabelSelector: requirement.String()})
		if apierrors.IsNotFound(err) {
			continue // this MetalLB has no such kind
		}
		if err != nil {
			return nil, err
		}
		for _, o := range list.Items {
			if node, _, _ := unstructured.NestedString(o.Object, "status", "node"); node != "" {
				nodes[node] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(nodes)), nil
}

// has reports whether MetalLB has given a Service all of some addresses.
func has(s *corev1.Service, addresses []netip.Addr) bool {
	return s != nil && !slices.ContainsFunc(addresses, func(at netip.Addr) bool {
		return !slices.ContainsFunc(s.Status.LoadBalancer.Ingress, func(i corev1.LoadBalancerIngress) bool {
			got, err := netip.ParseAddr(i.IP)
			return err == nil && got == at
		})
	})
}

// inForce reports whether the API shows that all of an announcement is done.
func (a *Announcer) inForce(ctx context.Context, n driver.Announcement) (bool, error) {
	v, err := a.look(ctx, n.Claim)
	if err != nil {
		return false, err
	}
	if v.desired.Revision != n.Revision {
		return true, nil // a later one has taken over
	}
	if !has(v.anchor, n.Addresses) || len(v.nodes) == 0 {
		return false, nil
	}
	for _, want := range a.cfg.services(n) {
		key := want.namespace + "/" + want.name
		if v.services[key] == nil {
			if _, err := a.cfg.Client.CoreV1().Namespaces().Get(ctx, want.namespace, metav1.GetOptions{}); apierrors.IsNotFound(err) {
				continue // the lease has nothing yet
			}
		}
		if !has(v.services[key], n.Addresses) || !led(want, v.slices[key]) {
			return false, nil
		}
	}
	return true, nil
}

// led reports whether the endpoints of a Service are those of its present ports.
func led(want service, have []discoveryv1.EndpointSlice) bool {
	for _, e := range have {
		if len(e.Endpoints) == 0 {
			continue
		}
		if len(e.Ports) != len(want.ports) {
			return false
		}
		for _, p := range want.ports {
			if !slices.ContainsFunc(e.Ports, func(h discoveryv1.EndpointPort) bool {
				return h.Name != nil && *h.Name == p.name() && h.Port != nil && *h.Port == int32(p.target)
			}) {
				return false
			}
		}
	}
	return len(have) > 0
}

// Status implements [driver.Announcer].
func (a *Announcer) Status(ctx context.Context, id iplease.ClaimID) (driver.Status, error) {
	if err := a.begin(ctx); err != nil {
		return driver.Status{}, err
	}
	v, err := a.look(ctx, id)
	if err != nil {
		return driver.Status{}, err
	}
	o := driver.Observation{EgressReason: "MetalLB does not change what connections of the workload leave from"}
	switch {
	case !has(v.anchor, v.desired.Addresses):
		o.Reason, o.Broken = a.refused(ctx, v.anchor)
	case len(v.nodes) == 0:
		o.Reason = "no node announces it yet"
	default:
		o.Node = strings.Join(v.nodes, ",")
	}
	reasons := map[string]string{} // by lease, service and port, why it is not served
	for _, want := range a.cfg.services(v.desired) {
		key := want.namespace + "/" + want.name
		if why := a.unserved(ctx, v.services[key], v.desired.Addresses); why != "" {
			for _, p := range want.ports {
				reasons[p.name()] = why
			}
			continue
		}
		v.desired.Backends = append(v.desired.Backends, backends(v.desired, want, v.slices[key])...)
	}
	return explain(driver.Observe(v.desired, o), reasons), nil
}

// unserved says why a Service leads nowhere; "" when its endpoints decide.
func (a *Announcer) unserved(ctx context.Context, s *corev1.Service, addresses []netip.Addr) string {
	switch {
	case s == nil:
		return "nothing of the lease is on the cluster yet"
	case !has(s, addresses):
		reason, _ := a.refused(ctx, s)
		return reason
	}
	return ""
}

// refused says why MetalLB has not given a Service its addresses, and whether it
// has tried.
func (a *Announcer) refused(ctx context.Context, s *corev1.Service) (reason string, failed bool) {
	selector := fields.Set{"involvedObject.name": s.Name, "involvedObject.kind": "Service", "reason": "AllocationFailed"}
	events, err := a.cfg.Client.CoreV1().Events(s.Namespace).List(ctx, metav1.ListOptions{FieldSelector: selector.String()})
	if err != nil || len(events.Items) == 0 {
		return "MetalLB has not assigned it yet", false
	}
	last := slices.MaxFunc(events.Items, func(x, y corev1.Event) int { return x.LastTimestamp.Compare(y.LastTimestamp.Time) })
	return "MetalLB: " + last.Message, true
}

// backends are the ready endpoints of a Service.
func backends(n driver.Announcement, want service, have []discoveryv1.EndpointSlice) (out []driver.Backend) {
	for _, p := range n.Ports {
		if !slices.Contains(want.ports, port{protocol(p.Protocol), p.External, p.Port}) {
			continue
		}
		for _, e := range have {
			for _, endpoint := range e.Endpoints {
				if endpoint.Conditions.Ready != nil && !*endpoint.Conditions.Ready {
					continue
				}
				for _, text := range endpoint.Addresses {
					if at, err := netip.ParseAddr(text); err == nil {
						out = append(out, driver.Backend{Lease: p.Lease, Service: p.Service, Address: at})
					}
				}
			}
		}
		return out // all ports of a Service lead to the same lease and service
	}
	return out
}

// explain puts better reasons into a status where there are some.
func explain(s driver.Status, reasons map[string]string) driver.Status {
	for i, p := range s.Ports {
		name := port{protocol: protocol(p.Port.Protocol), external: p.Port.External}.name()
		if why := reasons[name]; why != "" && p.State == driver.Pending {
			s.Ports[i].Reason = why
		}
	}
	return s
}

// List implements [driver.Announcer].
func (a *Announcer) List(ctx context.Context) ([]iplease.ClaimID, error) {
	if err := a.begin(ctx); err != nil {
		return nil, err
	}
	set := labels.SelectorFromSet(labels.Set{labelInstance: a.cfg.Instance})
	parts, err := labels.Parse(labelPart + " in (" + partAnchor + "," + partPorts + ")")
	if err != nil {
		return nil, err
	}
	list, err := a.cfg.Client.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: set.String() + "," + parts.String()})
	if err != nil {
		return nil, fault(ctx, "list", err)
	}
	claims := map[iplease.ClaimID]bool{}
	for _, s := range list.Items {
		if id, err := iplease.ParseClaimID(s.Annotations[annotationClaim]); err == nil {
			claims[id] = true
		}
	}
	return slices.SortedFunc(maps.Keys(claims), func(x, y iplease.ClaimID) int { return cmp.Compare(x.String(), y.String()) }), nil
}
