package netpolicytest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// RandomWorld makes a world of one to four leases out of few services, ports and
// ranges, so that everything meets.
func RandomWorld(rng *rand.Rand) (*World, error) {
	w := &World{Node: addrs("172.31.0.1", "fd10:200:ffff::1"), Router: addrs("172.31.0.80", "fd10:200:ffff::80")}
	w.Surroundings.Own = prefixes("10.200.0.0/14", "fd10:200::/32", "172.31.0.0/24")
	for _, p := range prefixes("203.0.113.0/24", "2001:db8:a::/48", "8.8.0.0/16", "192.168.7.128/25", "fd77::/96", "2a00::/12") {
		if rng.IntN(2) == 0 {
			w.Surroundings.Own = append(w.Surroundings.Own, p)
		}
	}
	for _, p := range prefixes("192.168.7.0/24", "10.9.0.0/16", "fd77::/64", "203.0.113.8/29", "100.64.0.0/16") {
		if rng.IntN(3) == 0 {
			w.Surroundings.Open = append(w.Surroundings.Open, p)
		}
	}
	for _, a := range addrs("192.168.1.53", "fd00::53", "9.9.9.9", "8.8.8.8") {
		if rng.IntN(2) == 0 {
			w.Surroundings.Resolvers = append(w.Surroundings.Resolvers, a)
		}
	}
	if rng.IntN(4) == 0 {
		w.Surroundings.ResolverPorts = []uint16{53, 5353}
	}
	for _, a := range []string{"10.0.0.1:6443", "[fd00::64]:6443", "8.8.8.8:443"} {
		if rng.IntN(2) == 0 {
			w.Surroundings.ControlPlane = append(w.Surroundings.ControlPlane, netip.MustParseAddrPort(a))
		}
	}
	for i := range 1 + rng.IntN(4) {
		w.Leases = append(w.Leases, randomLease(rng, i))
	}
	return w, w.compile()
}

func randomLease(rng *rand.Rand, i int) Lease {
	l := Lease{Prefixes: prefixes(fmt.Sprintf("10.200.%d.0/24", i))}
	six := rng.IntN(3) > 0
	if six {
		l.Prefixes = append(l.Prefixes, prefixes(fmt.Sprintf("fd10:200:0:%d::/64", i))...)
	}
	names := []string{"a", "b-2", "cache", "db", "web"}[:1+rng.IntN(5)]
	host := 2
	for _, name := range names {
		l.Group.Services = append(l.Group.Services, randomService(rng, name, names))
		for range rng.IntN(3) {
			r := Replica{name, addrs(fmt.Sprintf("10.200.%d.%d", i, host))}
			if six {
				r.Addresses = append(r.Addresses, addrs(fmt.Sprintf("fd10:200:0:%d::%x", i, host))...)
			}
			l.Replicas = append(l.Replicas, r)
			host++
		}
	}
	for _, s := range l.Group.Services {
		for _, e := range s.Expose {
			if e.IP != "" && rng.IntN(3) > 0 {
				l.Leased = append(l.Leased, netpolicy.LeasedPort{
					Service: s.Name, Port: netpolicy.Port{Protocol: e.Proto, Number: uint16(e.Port)}, Sources: randomSources(rng),
				})
			}
		}
	}
	return l
}

func randomSources(rng *rand.Rand) []netip.Prefix {
	all := prefixes("198.51.100.0/24", "198.51.100.128/25", "8.0.0.0/8", "2001:db8:5::/48", "192.168.0.0/16", "10.200.0.0/16")
	var out []netip.Prefix
	for _, p := range all {
		if rng.IntN(3) == 0 {
			out = append(out, p)
		}
	}
	return out
}

func randomService(rng *rand.Rand, name string, names []string) manifest.Service {
	s := manifest.Service{Name: name}
	if rng.IntN(3) == 0 {
		s.Params = &manifest.Params{Permissions: &manifest.Permissions{Read: []string{"logs"}}}
	}
	for range rng.IntN(6) {
		e := manifest.Expose{Port: pick(rng, []uint32{53, 80, 443, 5432, 8080}), Proto: pick(rng, []manifest.Protocol{manifest.TCP, manifest.TCP, manifest.UDP})}
		switch rng.IntN(6) {
		case 0:
			e.Global, e.ExternalPort = true, 80
		case 1:
			e.Global = true
		case 2:
			e.Global, e.IP = true, "front"
		case 3, 4:
			e.Service = pick(rng, append([]string{"nobody"}, names...))
		}
		s.Expose = append(s.Expose, e)
		if e.Service != "" && rng.IntN(2) == 0 {
			e.Service = pick(rng, names)
			s.Expose = append(s.Expose, e)
		}
	}
	return s
}

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

// RandomPacket makes a packet between ends of a world, at least one of which is a
// container if there is any.
func RandomPacket(rng *rand.Rand, w *World) Packet {
	ports := []netpolicy.Port{
		tcp(53), udp(53), tcp(80), udp(80), tcp(443), udp(443), tcp(5432), udp(5432), tcp(8080), udp(8080), tcp(6443), udp(5353), tcp(22),
		{Protocol: "SCTP", Number: 80},
	}
	var inside []End
	for i := range w.Leases {
		inside = append(inside, w.ends(i)...)
	}
	if len(inside) == 0 {
		return Packet{End{Address: addrs("8.8.8.8")[0]}, End{Address: addrs("9.9.9.9")[0]}, tcp(80)}
	}
	here := pick(rng, inside)
	for {
		there := w.randomEnd(rng, inside)
		if there.Address.Is4() != here.Address.Is4() || there == here {
			continue
		}
		if rng.IntN(2) == 0 {
			return Packet{here, there, pick(rng, ports)}
		}
		return Packet{there, here, pick(rng, ports)}
	}
}

// randomEnd is a container, the node, the router, or an address at or near the
// edge of something.
func (w *World) randomEnd(rng *rand.Rand, inside []End) End {
	switch rng.IntN(8) {
	case 0, 1, 2:
		return pick(rng, inside)
	case 3:
		return End{Role: netpolicy.Node, Address: pick(rng, w.Node)}
	case 4:
		return End{Role: netpolicy.Router, Address: pick(rng, w.Router)}
	}
	var list []netip.Addr
	s := &w.Surroundings
	switch rng.IntN(5) {
	case 0:
		list = addrs("8.8.8.8", "9.9.9.9", "1.1.1.1", "2a00::8", "2600::1", "198.51.100.7", "198.51.100.200", "2001:db8:5::7")
	case 1:
		list = append(list, s.Resolvers...)
		for _, a := range s.ControlPlane {
			list = append(list, a.Addr())
		}
	case 2:
		denied := netpolicy.Denied()
		list = edges(denied[rng.IntN(len(denied))].Prefix)
	case 3:
		list = edges(pick(rng, s.Own))
	default:
		for _, p := range s.Open {
			list = append(list, edges(p)...)
		}
	}
	if list = w.strangers(list); len(list) == 0 {
		list = addrs("8.8.4.4", "2600::2")
	}
	return End{Address: pick(rng, list)}
}
