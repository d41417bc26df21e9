package netpolicy

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Policy is what [Compile] makes of a lease: plain values for renderers, which
// survive encoding as JSON. It must not be changed; any number of goroutines may
// read it.
type Policy struct {
	// Services are sorted by name.
	Services []Service
	Egress   Egress
}

// Service is who may reach a service, and what it may reach beyond the others.
type Service struct {
	Name string
	// Openings are sorted by port number and protocol, one for each.
	Openings []Opening
	// ControlPlane says that it may reach [Egress.ControlPlane].
	ControlPlane bool
}

// Opening is one port of a service with all who may reach it besides the
// service's own replicas and the node.
type Opening struct {
	Port Port
	// Lease opens it to every container of the lease; otherwise Services, sorted,
	// are those that may, and exist.
	Lease    bool
	Services []string
	// Router opens it to the HTTP router.
	Router bool
	// World opens it to any address, or with Sources, merged and not empty, to those
	// alone.
	World   bool
	Sources []netip.Prefix
}

// Egress is what all containers of the lease may reach outside of it. The lists
// of ranges are merged: sorted, and none overlaps another.
type Egress struct {
	// Resolvers, sorted, are reached by TCP and UDP on ResolverPorts, sorted, and so
	// is whoever has the role [Resolver].
	Resolvers     []netip.Addr
	ResolverPorts []uint16
	// ControlPlane is reached by TCP, by services that may. Sorted.
	ControlPlane []netip.AddrPort
	// Own ranges are denied. Of what is left Open ranges are allowed. Of what is
	// left Denied ranges are denied. All that is left is allowed.
	Own, Open, Denied []netip.Prefix
}

// Service returns a service of the policy, nil if there is none.
func (p *Policy) Service(name string) *Service {
	i, ok := slices.BinarySearchFunc(p.Services, name, func(s Service, n string) int { return strings.Compare(s.Name, n) })
	if !ok {
		return nil
	}
	return &p.Services[i]
}

// Opening returns the service's opening of a port, nil if there is none.
func (s *Service) Opening(port Port) *Opening {
	i, ok := slices.BinarySearchFunc(s.Openings, port, func(o Opening, p Port) int { return comparePort(o.Port, p) })
	if !ok {
		return nil
	}
	return &s.Openings[i]
}

// Closed are the ranges that are denied unless an open range lies in them: own
// and denied together, merged.
func (e *Egress) Closed() []netip.Prefix { return Merge(slices.Concat(e.Own, e.Denied)...) }

// Evaluate decides a flow. It is the oracle that renderers are measured by, and
// cheap: two binary searches, no allocation.
func (p *Policy) Evaluate(f Flow) Verdict {
	from, to := f.From.Role == Replica, f.To.Role == Replica
	switch {
	case to:
		return p.ingress(f)
	case from:
		return p.egress(f)
	}
	return Verdict{Reason: Unconcerned}
}

// ingress decides what comes to a replica. Containers of the lease may always
// leave for one another, so the receiving end decides alone.
func (p *Policy) ingress(f Flow) Verdict {
	s := p.Service(f.To.Service)
	switch {
	case f.From.Role == Node:
		return Verdict{Reason: FromNode}
	case s == nil:
		return Verdict{Reason: UnknownService}
	case f.From.Role == Replica && f.From.Service == s.Name:
		return Verdict{Reason: SameService}
	}
	o := s.Opening(f.Port)
	switch {
	case o == nil:
		return Verdict{Reason: NotExposed}
	case f.From.Role == Replica:
		return o.lease(f.From.Service)
	case f.From.Role == Router && o.Router:
		return Verdict{Reason: FromRouter}
	}
	return o.world(f.From.Address)
}

func (o *Opening) lease(service string) Verdict {
	if o.Lease {
		return Verdict{Reason: ToLease}
	}
	if _, ok := slices.BinarySearch(o.Services, service); ok {
		return Verdict{Reason: ToService}
	}
	return Verdict{Reason: NotExposedTo}
}

func (o *Opening) world(a netip.Addr) Verdict {
	switch {
	case !o.World:
		return Verdict{Reason: NotExposedTo}
	case len(o.Sources) == 0:
		return Verdict{Reason: FromAnywhere}
	}
	if _, ok := find(o.Sources, a.Unmap().WithZone("")); ok {
		return Verdict{Reason: FromSource}
	}
	return Verdict{Reason: NotASource}
}

// egress decides what leaves a replica for outside the lease.
func (p *Policy) egress(f Flow) Verdict {
	e, a := &p.Egress, f.To.Address.Unmap().WithZone("")
	switch {
	case e.resolves(f.To.Role, a, f.Port):
		return Verdict{Reason: ToResolver}
	case f.Port.Protocol == manifest.TCP && e.controls(netip.AddrPortFrom(a, f.Port.Number)) && p.mayControl(f.From.Service):
		return Verdict{Reason: ToControlPlane}
	case f.To.Role == Node:
		return Verdict{Reason: ToNode}
	case !a.IsValid():
		return Verdict{Reason: NoAddress}
	}
	if r, ok := find(e.Own, a); ok {
		return Verdict{Reason: ToOwnRange, Range: r}
	}
	if r, ok := find(e.Open, a); ok {
		return Verdict{Reason: ToOpenRange, Range: r}
	}
	if r, ok := find(e.Denied, a); ok {
		return Verdict{Reason: ToDeniedRange, Range: r}
	}
	return Verdict{Reason: ToPublic}
}

func (e *Egress) resolves(role Role, a netip.Addr, port Port) bool {
	if port.Protocol != manifest.TCP && port.Protocol != manifest.UDP || !slices.Contains(e.ResolverPorts, port.Number) {
		return false
	}
	return role == Resolver || slices.Contains(e.Resolvers, a)
}

func (e *Egress) controls(at netip.AddrPort) bool { return slices.Contains(e.ControlPlane, at) }

func (p *Policy) mayControl(service string) bool {
	s := p.Service(service)
	return s != nil && s.ControlPlane
}
