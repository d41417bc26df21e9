package netpolicy

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/moorage-dev/moorage/sdl/manifest"
)

// ErrInvalid means that a policy cannot be made of what was given: names or
// ports out of range, a leased port of a service that does not exist, or
// malformed surroundings.
var ErrInvalid = errors.New("netpolicy: invalid")

// Bounds of what is compiled.
const (
	// MaxServices, MaxExposes and MaxSources bound one lease; a cluster driver
	// takes no more services and exposes either.
	MaxServices = 64
	MaxExposes  = 128
	MaxSources  = 1024
	// MaxRanges bounds each list of the surroundings.
	MaxRanges = 4096
	// DNSPort is where name servers listen, RFC 1035.
	DNSPort = 53

	maxPort  = 65535
	maxLabel = 63
)

// Surroundings are what a policy must know of the place where the lease runs.
// They are the same for all leases of a cluster.
type Surroundings struct {
	// Own are ranges that belong to the provider: of containers, services and nodes
	// of its cluster, its own public addresses, and its pools of leased addresses.
	// What is private by nature is denied anyway, but need not be left out. A range
	// of all addresses is refused.
	Own []netip.Prefix
	// Open are ranges that containers may reach although they are not public.
	Open []netip.Prefix
	// Resolvers are name servers, reached on ResolverPorts (none is [DNSPort]).
	Resolvers     []netip.Addr
	ResolverPorts []uint16
	// ControlPlane is where services reach the cluster's API whose manifest asks to
	// read logs or events.
	ControlPlane []netip.AddrPort
}

// LeasedPort is a port of a leased address that leads to a service.
type LeasedPort struct {
	Service string
	// Port is the container's.
	Port Port
	// Sources are who may connect; none is everybody.
	Sources []netip.Prefix
}

// Compile makes the policy of a lease from its manifest group, the ports of its
// leased addresses and the surroundings. The arguments are not kept or changed.
// The result depends on nothing else, and not on their order. The error matches
// [ErrInvalid].
func Compile(g manifest.Group, leased []LeasedPort, s Surroundings) (*Policy, error) {
	egress, err := s.egress()
	if err != nil {
		return nil, err
	}
	if len(g.Services) > MaxServices {
		return nil, invalid("%d services, at most %d", len(g.Services), MaxServices)
	}
	known := make(map[string]bool, len(g.Services))
	for i := range g.Services {
		name := g.Services[i].Name
		if !validName(name) || known[name] {
			return nil, invalid("service %.63q: malformed or twice", name)
		}
		known[name] = true
	}
	bySources, err := sourcesOf(leased, known)
	if err != nil {
		return nil, err
	}
	p := &Policy{Services: make([]Service, 0, len(g.Services)), Egress: egress}
	for i := range g.Services {
		service, err := compileService(&g.Services[i], bySources, known)
		if err != nil {
			return nil, err
		}
		p.Services = append(p.Services, service)
	}
	slices.SortFunc(p.Services, func(a, b Service) int { return strings.Compare(a.Name, b.Name) })
	return p, nil
}

// servicePort names a port of a service.
type servicePort struct {
	service string
	port    Port
}

// sourcesOf collects the sources of leased ports; an empty list is everybody.
func sourcesOf(leased []LeasedPort, known map[string]bool) (map[servicePort][]netip.Prefix, error) {
	out := make(map[servicePort][]netip.Prefix, len(leased))
	for _, l := range leased {
		key := servicePort{l.Service, l.Port}
		switch have, twice := out[key]; {
		case !known[l.Service] || !validPort(l.Port):
			return nil, invalid("leased port %s of service %.63q: no such service or port", l.Port, l.Service)
		case len(l.Sources) > MaxSources:
			return nil, invalid("%d sources, at most %d", len(l.Sources), MaxSources)
		case twice && (len(have) == 0 || len(l.Sources) == 0):
			out[key] = nil
		default:
			if err := checkRanges("sources", l.Sources); err != nil {
				return nil, err
			}
			out[key] = Merge(slices.Concat(have, l.Sources)...)
		}
	}
	return out, nil
}

func compileService(s *manifest.Service, leased map[servicePort][]netip.Prefix, known map[string]bool) (Service, error) {
	if len(s.Expose) > MaxExposes {
		return Service{}, invalid("service %s: %d exposes, at most %d", s.Name, len(s.Expose), MaxExposes)
	}
	openings := make(map[Port]*Opening, len(s.Expose))
	at := func(port Port) *Opening {
		o := openings[port]
		if o == nil {
			o = &Opening{Port: port}
			openings[port] = o
		}
		return o
	}
	for _, e := range s.Expose {
		port := Port{e.Proto, uint16(e.Port)}
		if e.Port > maxPort || !validPort(port) {
			return Service{}, invalid("service %s: port %d/%.8q", s.Name, e.Port, e.Proto)
		}
		sources, bound := leased[servicePort{s.Name, port}]
		at(port).expose(e, bound && e.IP != "", sources, known)
	}
	for key, sources := range leased {
		if key.service == s.Name {
			at(key.port).open(sources)
		}
	}
	out := Service{Name: s.Name, ControlPlane: s.Params != nil && s.Params.Permissions != nil && len(s.Params.Permissions.Read) > 0}
	for _, o := range openings {
		if o.tidy(s.Name); o.Lease || o.Router || o.World || len(o.Services) > 0 {
			out.Openings = append(out.Openings, *o)
		}
	}
	slices.SortFunc(out.Openings, func(a, b Opening) int { return comparePort(a.Port, b.Port) })
	return out, nil
}

// expose adds what an expose opens. bound says that the port is on a leased
// address; its sources then count for the way over a random port too.
func (o *Opening) expose(e manifest.Expose, bound bool, sources []netip.Prefix, known map[string]bool) {
	switch {
	case e.HTTP():
		o.Lease, o.Router = true, true
	case e.Global && bound:
		o.Lease = true
		o.open(sources)
	case e.Global:
		o.Lease = true
		o.open(nil)
	case e.Service == "":
		o.Lease = true
	case known[e.Service]:
		o.Services = append(o.Services, e.Service)
	}
}

// open opens the port to sources; to none means to everybody.
func (o *Opening) open(sources []netip.Prefix) {
	if len(sources) == 0 || o.World && len(o.Sources) == 0 {
		o.World, o.Sources = true, nil
		return
	}
	o.World, o.Sources = true, Merge(slices.Concat(o.Sources, sources)...)
}

// tidy puts an opening of a service into its one form.
func (o *Opening) tidy(self string) {
	slices.Sort(o.Services)
	o.Services = slices.DeleteFunc(slices.Compact(o.Services), func(s string) bool { return s == self })
	if o.Lease || len(o.Services) == 0 {
		o.Services = nil
	}
}

func comparePort(a, b Port) int {
	return cmp.Or(cmp.Compare(a.Number, b.Number), strings.Compare(string(a.Protocol), string(b.Protocol)))
}

func validPort(p Port) bool {
	return p.Number != 0 && (p.Protocol == manifest.TCP || p.Protocol == manifest.UDP)
}

// validName reports a DNS label in lower case, RFC 1123.
func validName(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' })
}

// egress checks the surroundings and puts them into their one form.
func (s Surroundings) egress() (Egress, error) {
	if err := errors.Join(checkRanges("own", s.Own), checkRanges("open", s.Open)); err != nil {
		return Egress{}, err
	}
	if len(s.Resolvers) > MaxRanges || len(s.ResolverPorts) > MaxRanges || len(s.ControlPlane) > MaxRanges {
		return Egress{}, invalid("more than %d resolvers, ports or API addresses", MaxRanges)
	}
	e := Egress{Own: Merge(s.Own...), Open: Merge(s.Open...), ResolverPorts: slices.Clone(s.ResolverPorts)}
	denied := Denied()
	ranges := make([]netip.Prefix, len(denied))
	for i, r := range denied {
		ranges[i] = r.Prefix
	}
	e.Denied = Merge(ranges...)
	if len(e.ResolverPorts) == 0 {
		e.ResolverPorts = []uint16{DNSPort}
	}
	for _, a := range s.Resolvers {
		if !a.IsValid() {
			return Egress{}, invalid("a resolver without address")
		}
		e.Resolvers = append(e.Resolvers, a.Unmap().WithZone(""))
	}
	for _, a := range s.ControlPlane {
		if !a.IsValid() || a.Port() == 0 {
			return Egress{}, invalid("an API server without address or port")
		}
		e.ControlPlane = append(e.ControlPlane, netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port()))
	}
	slices.Sort(e.ResolverPorts)
	slices.SortFunc(e.Resolvers, netip.Addr.Compare)
	slices.SortFunc(e.ControlPlane, netip.AddrPort.Compare)
	e.ResolverPorts, e.Resolvers = slices.Compact(e.ResolverPorts), slices.Compact(e.Resolvers)
	e.ControlPlane = slices.Compact(e.ControlPlane)
	if e.ResolverPorts[0] == 0 {
		return Egress{}, invalid("resolver port 0")
	}
	return e, nil
}

func checkRanges(what string, ranges []netip.Prefix) error {
	if len(ranges) > MaxRanges {
		return invalid("%d ranges in %s, at most %d", len(ranges), what, MaxRanges)
	}
	for _, p := range ranges {
		if !p.IsValid() || plain(p).Bits() == 0 && what == "own" {
			return invalid("range %s in %s", p, what)
		}
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}
