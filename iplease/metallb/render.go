package metallb

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	discoveryv1ac "k8s.io/client-go/applyconfigurations/discovery/v1"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/market"
)

// Labels and annotations of the announcer's objects.
const (
	labelPart     = "moorage.dev/part"
	labelInstance = "moorage.dev/instance"
	labelClaim    = "moorage.dev/claim" // its hash: a claim's text is no label
	partAnchor    = "address"
	partPorts     = "address-ports"

	annotationClaim  = "moorage.dev/claim-id"
	annotationRecord = "moorage.dev/announcement"

	annotationAddresses = "metallb.io/loadBalancerIPs"
	annotationSharing   = "metallb.io/allow-shared-ip"
)

// anchorPort is the SCTP port of an anchor.
const anchorPort = 1

// nobody4 and nobody6 are addresses for documentation (RFC 5737, RFC 3849): no
// packet for an anchor's port arrives anywhere.
const nobody4, nobody6 = "192.0.2.1", "2001:db8::1"

// nowhere4 and nowhere6 are sources that no client has; they shut one family when
// a port's sources are all of the other.
const nowhere4, nowhere6 = "192.0.2.0/32", "100::/128"

// hash makes a DNS label of any texts; different texts, different labels.
func hash(texts ...string) string {
	const bytes = 16
	h := sha256.New()
	for _, t := range texts {
		fmt.Fprintf(h, "%d:%s", len(t), t)
	}
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)[:bytes]))
}

// service is a LoadBalancer Service as it is wanted.
type service struct {
	namespace, name string
	part            string
	claim           iplease.ClaimID
	labels          map[string]string
	addresses       []netip.Addr
	selector        map[string]string
	ports           []port
	sources         []string // sorted; none means all
	record          string   // of an anchor
}

// port is an entry of a Service; name, protocol and number make it unique.
type port struct {
	protocol corev1.Protocol
	external uint16
	target   uint16
}

func (p port) name() string {
	return fmt.Sprintf("%s-%d", strings.ToLower(string(p.protocol)), p.external)
}

// anchor is the Service that holds a claim's addresses.
func (c Config) anchor(a driver.Announcement, record string) service {
	return service{
		namespace: c.Namespace, name: c.anchorName(a.Claim), part: partAnchor, claim: a.Claim, addresses: a.Addresses,
		ports: []port{{corev1.ProtocolSCTP, anchorPort, anchorPort}}, record: record,
	}
}

func (c Config) anchorName(id iplease.ClaimID) string { return "ip-" + hash(c.Instance, id.String()) }

// group is what one Service leads to and from whom.
type group struct {
	lease   market.LeaseID
	service string
	sources string
}

// services are those that open a claim's ports, sorted by namespace and name.
func (c Config) services(a driver.Announcement) []service {
	groups := map[group]*service{}
	for _, p := range a.Ports {
		sources := prefixes(p.Sources, a.Addresses)
		key := group{p.Lease, p.Service, strings.Join(sources, ",")}
		s := groups[key]
		if s == nil {
			place := c.Place(p.Lease, p.Service)
			s = &service{
				namespace: place.Namespace, part: partPorts, claim: a.Claim, addresses: a.Addresses, labels: place.Labels,
				name:     "ip-" + hash(c.Instance, a.Claim.String(), p.Lease.String(), p.Service, key.sources),
				selector: place.Selector, sources: sources,
			}
			groups[key] = s
		}
		s.ports = append(s.ports, port{protocol(p.Protocol), p.External, p.Port})
	}
	var out []service
	for _, s := range groups {
		slices.SortFunc(s.ports, func(a, b port) int { return strings.Compare(a.name(), b.name()) })
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b service) int { return strings.Compare(a.namespace+"/"+a.name, b.namespace+"/"+b.name) })
	return out
}

// prefixes are a port's sources as texts, sorted, with something of each family
// that has an address: a Service without a range of a family is open to all of it.
func prefixes(sources []netip.Prefix, addresses []netip.Addr) []string {
	if len(sources) == 0 {
		return nil
	}
	var out []string
	for _, at := range addresses {
		of := 0
		for _, s := range sources {
			if s.Addr().Is4() == at.Is4() {
				out = append(out, s.Masked().String())
				of++
			}
		}
		if of == 0 && at.Is4() {
			out = append(out, nowhere4)
		} else if of == 0 {
			out = append(out, nowhere6)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func protocol(p iplease.Protocol) corev1.Protocol {
	if p == iplease.UDP {
		return corev1.ProtocolUDP
	}
	return corev1.ProtocolTCP
}

// families are those of the addresses, IPv4 first: what is first cannot be
// changed, so it does not depend on the caller's order.
func families(addresses []netip.Addr) (out []corev1.IPFamily) {
	for _, family := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
		if slices.ContainsFunc(addresses, func(a netip.Addr) bool { return a.Is4() == (family == corev1.IPv4Protocol) }) {
			out = append(out, family)
		}
	}
	return out
}

// labelsOf are the labels by which the announcer finds a claim's objects.
func (c Config) labelsOf(part string, id iplease.ClaimID) map[string]string {
	return map[string]string{labelPart: part, labelInstance: c.Instance, labelClaim: hash(c.Instance, id.String())}
}

// object is a Service for server-side apply.
func (c Config) object(s service) *corev1ac.ServiceApplyConfiguration {
	var texts []string
	for _, a := range s.addresses {
		texts = append(texts, a.String())
	}
	labels := maps.Clone(s.labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, c.labelsOf(s.part, s.claim))
	annotations := map[string]string{
		annotationClaim: s.claim.String(), annotationAddresses: strings.Join(texts, ","),
		annotationSharing: "moorage-" + labels[labelClaim],
	}
	if s.record != "" {
		annotations[annotationRecord] = s.record
	}
	policy := corev1.IPFamilyPolicySingleStack
	fam := families(s.addresses)
	if len(fam) > 1 {
		policy = corev1.IPFamilyPolicyRequireDualStack
	}
	spec := corev1ac.ServiceSpec().WithType(corev1.ServiceTypeLoadBalancer).WithAllocateLoadBalancerNodePorts(false).
		WithExternalTrafficPolicy(corev1.ServiceExternalTrafficPolicyCluster).
		WithIPFamilies(fam...).WithIPFamilyPolicy(policy).WithSelector(s.selector).WithLoadBalancerSourceRanges(s.sources...)
	if c.Class != "" {
		spec.WithLoadBalancerClass(c.Class)
	}
	for _, p := range s.ports {
		spec.WithPorts(corev1ac.ServicePort().WithName(p.name()).WithProtocol(p.protocol).WithPort(int32(p.external)).
			WithTargetPort(intstr.FromInt32(int32(p.target))))
	}
	return corev1ac.Service(s.name, s.namespace).WithLabels(labels).WithAnnotations(annotations).WithSpec(spec)
}

// endpoints are an anchor's endpoints, one for each family.
func (c Config) endpoints(s service) []*discoveryv1ac.EndpointSliceApplyConfiguration {
	var out []*discoveryv1ac.EndpointSliceApplyConfiguration
	for _, family := range families(s.addresses) {
		kind, address := discoveryv1.AddressTypeIPv4, nobody4
		if family == corev1.IPv6Protocol {
			kind, address = discoveryv1.AddressTypeIPv6, nobody6
		}
		p := s.ports[0]
		out = append(out, discoveryv1ac.EndpointSlice(s.name+"-"+strings.ToLower(string(kind)), s.namespace).
			WithLabels(map[string]string{
				discoveryv1.LabelServiceName: s.name, discoveryv1.LabelManagedBy: fieldManager, labelInstance: c.Instance,
			}).
			WithAddressType(kind).
			WithPorts(discoveryv1ac.EndpointPort().WithName(p.name()).WithProtocol(p.protocol).WithPort(int32(p.target))).
			WithEndpoints(discoveryv1ac.Endpoint().WithAddresses(address).
				WithConditions(discoveryv1ac.EndpointConditions().WithReady(true))))
	}
	return out
}
