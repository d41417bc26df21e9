package netpolicytest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Cases returns all cases, in the order in which they are best read.
func Cases() []Case {
	town := func(choose func(w *World) []Packet) func(Harness) error {
		return func(h Harness) error {
			w, err := Town()
			if err != nil {
				return err
			}
			return h.try(w, choose(w))
		}
	}
	return []Case{
		{"replicas of one service", "Between replicas of one service everything is allowed.", town(sameService)},
		{"services of one lease", "A service reaches the ports that another exposes to it, to every service, or to the world.", town(between)},
		{"router", "The HTTP router reaches the ports exposed as HTTP, and what the world reaches.", town(fromRouter)},
		{"node", "The node reaches all its containers; they do not reach it, but for DNS and the control plane.", town(node)},
		{"world to service", "From anywhere come connections to global ports that are not HTTP.", town(fromWorld)},
		{"sources", "A leased port with sources takes connections from them alone.", town(sources)},
		{"leases", "One lease does not reach another.", town(leases)},
		{"public addresses", "Containers reach public addresses, by any protocol.", town(public)},
		{"denied ranges", "Containers reach no address of the denied ranges, nor miss one beside them.", town(denied)},
		{"own and open ranges", "Containers do not reach the provider's own ranges, and reach those that it opened.", town(ownAndOpen)},
		{"resolvers", "Containers reach resolvers by TCP and UDP on the ports of DNS, and on no other.", town(resolvers)},
		{"control plane", "Services that may read about themselves reach the control plane; others do not.", town(controlPlane)},
		{"random worlds", "For random manifests and random packets the rules are what Evaluate says.", random},
	}
}

// random tries worlds from seeds. A failure names the seed.
func random(h Harness) error {
	worlds, packets := h.Worlds, h.Packets
	if worlds == 0 {
		worlds = DefaultWorlds
	}
	if packets == 0 {
		packets = DefaultPackets
	}
	for i := range worlds {
		seed := h.Seed + uint64(i)
		rng := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // repeatable on purpose
		w, err := RandomWorld(rng)
		if err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
		list := make([]Packet, packets)
		for j := range list {
			list[j] = RandomPacket(rng, w)
		}
		if err := h.try(w, list); err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
	}
	return nil
}

func tcp(n uint16) netpolicy.Port { return netpolicy.Port{Protocol: manifest.TCP, Number: n} }
func udp(n uint16) netpolicy.Port { return netpolicy.Port{Protocol: manifest.UDP, Number: n} }

func addrs(texts ...string) []netip.Addr {
	out := make([]netip.Addr, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParseAddr(t)
	}
	return out
}

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

// Town is a small world in which everything happens: two equal leases with a
// service of each kind, of both address families.
func Town() (*World, error) {
	w := &World{
		Surroundings: netpolicy.Surroundings{
			Own:          prefixes("10.200.0.0/14", "fd10:200::/32", "203.0.113.0/24", "2001:db8:a::/48", "192.168.7.128/25", "172.31.0.0/24"),
			Open:         prefixes("192.168.7.0/24", "fd77::/64"),
			Resolvers:    addrs("192.168.1.53", "fd00::53", "9.9.9.9"),
			ControlPlane: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:6443"), netip.MustParseAddrPort("[fd00::64]:6443")},
		},
		Node:   addrs("172.31.0.1", "fd10:200:ffff::1"),
		Router: addrs("172.31.0.80", "fd10:200:ffff::80"),
	}
	for i := range 2 {
		w.Leases = append(w.Leases, townLease(i))
	}
	return w, w.compile()
}

func townLease(i int) Lease {
	group := manifest.Group{Services: []manifest.Service{
		{Name: "db", Expose: []manifest.Expose{
			{Port: 5432, Proto: manifest.TCP, Service: "web"}, {Port: 5433, Proto: manifest.UDP, Service: "web"}, {Port: 5433, Proto: manifest.UDP, Service: "job"},
		}},
		{Name: "job", Expose: []manifest.Expose{{Port: 7000, Proto: manifest.TCP}},
			Params: &manifest.Params{Permissions: &manifest.Permissions{Read: []string{"logs"}}}},
		{Name: "web", Expose: []manifest.Expose{
			{Port: 8080, ExternalPort: 80, Proto: manifest.TCP, Global: true},
			{Port: 9000, Proto: manifest.TCP, Global: true}, {Port: 9001, Proto: manifest.UDP, Global: true, IP: "front"},
		}},
	}}
	l := Lease{
		Group:    group,
		Leased:   []netpolicy.LeasedPort{{Service: "web", Port: udp(9001), Sources: prefixes("198.51.100.0/24", "2001:db8:5::/48")}},
		Prefixes: prefixes(fmt.Sprintf("10.200.%d.0/24", i), fmt.Sprintf("fd10:200:0:%d::/64", i)),
	}
	for n, service := range []string{"db", "db", "job", "web", "web"} {
		l.Replicas = append(l.Replicas, Replica{service, addrs(fmt.Sprintf("10.200.%d.%d", i, n+2), fmt.Sprintf("fd10:200:0:%d::%d", i, n+2))})
	}
	return l
}

// townPorts are those that something listens on, and some that nothing does.
func townPorts() []netpolicy.Port {
	return []netpolicy.Port{
		tcp(5432), udp(5432), udp(5433), tcp(5433), tcp(7000), udp(7000), tcp(8080), tcp(80), tcp(9000), udp(9000), udp(9001), tcp(9001),
		tcp(22), udp(53), tcp(53), tcp(6443), {Protocol: "SCTP", Number: 9000},
	}
}

// cross makes every packet between two lists of ends, where the families agree.
func cross(from, to []End, ports []netpolicy.Port) []Packet {
	var out []Packet
	for _, f := range from {
		for _, t := range to {
			if f.Address.Is4() != t.Address.Is4() || f == t {
				continue
			}
			for _, p := range ports {
				out = append(out, Packet{f, t, p})
			}
		}
	}
	return out
}

func roles(role netpolicy.Role, list []netip.Addr) []End {
	out := make([]End, len(list))
	for i, a := range list {
		out[i] = End{Role: role, Address: a}
	}
	return out
}

func elsewhere(texts ...string) []End { return roles(netpolicy.Elsewhere, addrs(texts...)) }

func sameService(w *World) []Packet {
	var out []Packet
	for _, p := range cross(w.ends(0), w.ends(0), townPorts()) {
		if p.From.Service == p.To.Service {
			out = append(out, p)
		}
	}
	return out
}

func between(w *World) []Packet {
	var out []Packet
	for _, p := range cross(w.ends(0), w.ends(0), townPorts()) {
		if p.From.Service != p.To.Service {
			out = append(out, p)
		}
	}
	return out
}

func fromRouter(w *World) []Packet {
	return cross(roles(netpolicy.Router, w.Router), w.ends(0), townPorts())
}

func node(w *World) []Packet {
	n := roles(netpolicy.Node, w.Node)
	return append(cross(n, w.ends(0), townPorts()), cross(w.ends(0), n, townPorts())...)
}

func fromWorld(w *World) []Packet {
	return cross(elsewhere("8.8.8.8", "2a00::8", "192.168.1.7", "fd01::7", "10.250.0.1"), w.ends(0), townPorts())
}

func sources(w *World) []Packet {
	from := elsewhere("198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0", "2001:db8:5::", "2001:db8:5:ffff:ffff:ffff:ffff:ffff", "2001:db8:6::", "2001:db8:4:ffff::")
	return cross(from, w.ends(0), townPorts())
}

func leases(w *World) []Packet { return cross(w.ends(0), w.ends(1), townPorts()) }

func public(w *World) []Packet {
	ports := append(townPorts(), netpolicy.Port{Protocol: "ICMP"})
	return cross(w.ends(0), elsewhere("8.8.8.8", "1.0.0.0", "223.255.255.255", "2a00::8", "2600::"), ports)
}

// edges are the first and the last address of a range, and the two beside them.
func edges(p netip.Prefix) []netip.Addr {
	first, last := p.Masked().Addr(), Last(p)
	out := []netip.Addr{first, last}
	for _, a := range []netip.Addr{first.Prev(), last.Next()} {
		if a.IsValid() {
			out = append(out, a)
		}
	}
	return out
}

// Last is the last address of a range.
func Last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func toEdges(w *World, ranges []netip.Prefix) []Packet {
	var to []netip.Addr
	for _, r := range ranges {
		to = append(to, edges(r)...)
	}
	return cross(w.ends(0)[:2], roles(netpolicy.Elsewhere, w.strangers(to)), []netpolicy.Port{tcp(443), udp(53)})
}

// strangers leaves out the addresses that are somebody's in the world, and those
// that no packet can go to.
func (w *World) strangers(list []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range list {
		if !w.known(a) && !a.Is4In6() {
			out = append(out, a)
		}
	}
	return out
}

func (w *World) known(a netip.Addr) bool {
	for _, l := range w.Leases {
		for _, p := range l.Prefixes {
			if p.Contains(a) {
				return true
			}
		}
	}
	for _, list := range [][]netip.Addr{w.Node, w.Router} {
		for _, o := range list {
			if o == a {
				return true
			}
		}
	}
	return false
}

func denied(w *World) []Packet {
	var ranges []netip.Prefix
	for _, r := range netpolicy.Denied() {
		ranges = append(ranges, r.Prefix)
	}
	return toEdges(w, ranges)
}

func ownAndOpen(w *World) []Packet {
	return toEdges(w, append(append([]netip.Prefix(nil), w.Surroundings.Own...), w.Surroundings.Open...))
}

func resolvers(w *World) []Packet {
	return cross(w.ends(0), roles(netpolicy.Elsewhere, w.Surroundings.Resolvers), townPorts())
}

func controlPlane(w *World) []Packet {
	var to []netip.Addr
	for _, a := range w.Surroundings.ControlPlane {
		to = append(to, a.Addr())
	}
	return cross(w.ends(0), roles(netpolicy.Elsewhere, to), townPorts())
}
