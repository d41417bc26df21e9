package netpolicytest

import (
	"net/netip"
	"slices"

	"github.com/moorage-dev/moorage/netpolicy"
)

// Fault is a way to misread a policy. Rendering a policy after Plant is what a
// renderer with one fault does.
type Fault struct {
	Name string
	// Caught is the case that notices at the latest.
	Caught string
	Plant  func(p *netpolicy.Policy)
}

// Faults are misreadings that the suite must notice.
func Faults() []Fault {
	return slices.Concat(ingressFaults(), egressFaults())
}

// openings makes a fault of every opening; it returns whether the opening stays.
func openings(f func(s *netpolicy.Service, o *netpolicy.Opening) bool) func(*netpolicy.Policy) {
	return func(p *netpolicy.Policy) {
		for i := range p.Services {
			s := &p.Services[i]
			kept := s.Openings[:0]
			for _, o := range s.Openings {
				if f(s, &o) {
					kept = append(kept, o)
				}
			}
			s.Openings = kept
		}
	}
}

func ingressFaults() []Fault {
	type opening = netpolicy.Opening
	type service = netpolicy.Service
	edit := func(f func(o *opening)) func(*netpolicy.Policy) {
		return openings(func(_ *service, o *opening) bool { f(o); return true })
	}
	return []Fault{
		{"one service is every service", "services of one lease", edit(func(o *opening) { o.Lease = o.Lease || len(o.Services) > 0 })},
		{"every service is none", "services of one lease", edit(func(o *opening) { o.Lease = false })},
		{"only the first service of a list", "services of one lease", edit(func(o *opening) { o.Services = o.Services[:min(1, len(o.Services))] })},
		{"protocols are ignored", "services of one lease", edit(func(o *opening) { o.Port.Protocol = "TCP" })},
		{"the port beside", "services of one lease", edit(func(o *opening) { o.Port.Number++ })},
		{"HTTP is open to the world", "world to service", edit(func(o *opening) { o.World = o.World || o.Router })},
		{"the router is shut out", "router", edit(func(o *opening) { o.Router = false })},
		{"the router reaches every port", "router", edit(func(o *opening) { o.Router = true })},
		{"global ports are not", "world to service", edit(func(o *opening) { o.World = o.World && len(o.Sources) > 0 })},
		{"sources are ignored", "sources", edit(func(o *opening) { o.Sources = nil })},
		{"sources of IPv6 are forgotten", "sources", edit(func(o *opening) { o.Sources = four(o.Sources, true) })},
		{"sources of IPv4 are forgotten", "sources", edit(func(o *opening) { o.Sources = four(o.Sources, false) })},
		{"UDP is forgotten", "services of one lease", openings(func(_ *service, o *opening) bool { return o.Port.Protocol != "UDP" })},
		{"a service is forgotten", "replicas of one service", func(p *netpolicy.Policy) { p.Services = p.Services[1:] }},
		{"nothing is let in", "services of one lease", openings(func(*service, *opening) bool { return false })},
	}
}

func egressFaults() []Fault {
	type egress = netpolicy.Egress
	edit := func(f func(e *egress)) func(*netpolicy.Policy) {
		return func(p *netpolicy.Policy) { f(&p.Egress) }
	}
	return []Fault{
		{"denied ranges are ignored", "denied ranges", edit(func(e *egress) { e.Denied = nil })},
		{"denied ranges of IPv6 are ignored", "denied ranges", edit(func(e *egress) { e.Denied = four(e.Denied, true) })},
		{"only private ranges are denied", "denied ranges", edit(func(e *egress) { e.Denied = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7") })},
		{"denied ranges are too wide", "denied ranges", edit(func(e *egress) {
			for i, r := range e.Denied {
				e.Denied[i] = netip.PrefixFrom(r.Addr(), max(1, r.Bits()-1)).Masked()
			}
		})},
		{"own ranges are ignored", "own and open ranges", edit(func(e *egress) { e.Own = nil })},
		{"open ranges are ignored", "own and open ranges", edit(func(e *egress) { e.Open = nil })},
		{"open ranges win over own ones", "own and open ranges", edit(func(e *egress) { e.Own = without(e.Own, e.Open) })},
		{"resolvers are forgotten", "resolvers", edit(func(e *egress) { e.Resolvers = nil })},
		{"resolvers of IPv6 are forgotten", "resolvers", edit(func(e *egress) {
			e.Resolvers = slices.DeleteFunc(e.Resolvers, netip.Addr.Is6)
		})},
		{"DNS is elsewhere", "resolvers", edit(func(e *egress) { e.ResolverPorts = []uint16{5353} })},
		{"the control plane is out of reach", "control plane", edit(func(e *egress) { e.ControlPlane = nil })},
		{"everybody controls", "control plane", func(p *netpolicy.Policy) {
			for i := range p.Services {
				p.Services[i].ControlPlane = true
			}
		}},
		{"nothing is public", "public addresses", edit(func(e *egress) { e.Denied = prefixes("0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1") })},
	}
}

// four keeps the ranges of one family.
func four(list []netip.Prefix, is4 bool) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(list), func(p netip.Prefix) bool { return p.Addr().Is4() != is4 })
}

// without removes ranges that overlap others.
func without(list, others []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(list), func(p netip.Prefix) bool { return slices.ContainsFunc(others, p.Overlaps) })
}

// clonePolicy copies deeply.
func clonePolicy(p *netpolicy.Policy) *netpolicy.Policy {
	out := &netpolicy.Policy{Services: slices.Clone(p.Services), Egress: p.Egress}
	for i := range out.Services {
		s := &out.Services[i]
		s.Openings = slices.Clone(s.Openings)
		for j := range s.Openings {
			o := &s.Openings[j]
			o.Services, o.Sources = slices.Clone(o.Services), slices.Clone(o.Sources)
		}
	}
	e := &out.Egress
	e.Resolvers, e.ResolverPorts, e.ControlPlane = slices.Clone(e.Resolvers), slices.Clone(e.ResolverPorts), slices.Clone(e.ControlPlane)
	e.Own, e.Open, e.Denied = slices.Clone(e.Own), slices.Clone(e.Open), slices.Clone(e.Denied)
	return out
}
