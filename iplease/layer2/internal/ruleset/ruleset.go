// Package ruleset writes the nftables rules that lead the ports of leased
// addresses to replicas on this host. It is pure: text comes out.
//
// The table has maps from (address, protocol, port) to a chain for each port,
// so a packet finds its port at once however many there are, and an update
// touches the parts that changed. What it does, in the kernel's order:
//
//   - prerouting and output, at priority -101: a new connection to an open port
//     goes to one of the port's replicas, in turn, unless its source may not.
//     The client's address stays.
//   - prerouting and output, at -90: what still is for a held address has no port
//     there and is refused, but for replies to this host's own connections.
//     Neighbour discovery for it is answered elsewhere.
//   - postrouting, at 99, before others masquerade: connections of replicas that
//     have egress leave from the leased address; those of a replica's own network
//     to the leased address are masqueraded, or their replies would not come back
//     this way.
package ruleset

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/moorage-dev/moorage/iplease"
)

// Binding is one address that this host holds.
type Binding struct {
	Address netip.Addr
	Ports   []Port
	// Egress are replicas here whose connections leave from the address.
	Egress []netip.Addr
	// Near are the networks of this host that replicas are on.
	Near []netip.Prefix
}

// Port is an open port of an address.
type Port struct {
	Protocol iplease.Protocol
	External uint16
	// Sources are the clients that may; none is all. Those of the other family count
	// as there.
	Sources []netip.Prefix
	// To are the replicas, of the address's family; a port without any refuses.
	To []netip.AddrPort
}

// allows reports whether a client may use the port.
func (p Port) allows(client netip.Addr) bool {
	return len(p.Sources) == 0 || slices.ContainsFunc(p.Sources, func(s netip.Prefix) bool { return s.Contains(client) })
}

// facts are what one address puts into the table.
type facts struct {
	binding Binding
	// elements are by the name of the set: key to value, "" in a set that is no map.
	elements map[string]map[string]string
	// chains are by name: their rules.
	chains map[string]string
}

// Table is the rules of one announcer. It is not safe for concurrent use.
type Table struct {
	name  string
	out   []string
	local bool
	want  map[netip.Addr]facts
	// have is what the kernel has; addresses whose want differs are in dirty.
	have  map[netip.Addr]facts
	dirty map[netip.Addr]bool
	// egress tells which address has a replica's connections.
	egress map[netip.Addr]netip.Addr
}

// New makes a table without addresses. Connections of replicas with egress are
// those that leave by the interfaces out. Local says that the kernel has the
// addresses, and needs neighbour discovery for them.
func New(name string, out []string, local bool) *Table {
	return &Table{
		name: name, out: slices.Clone(out), local: local, want: map[netip.Addr]facts{}, have: map[netip.Addr]facts{},
		dirty: map[netip.Addr]bool{}, egress: map[netip.Addr]netip.Addr{},
	}
}

// Set makes b what its address should have. A replica whose connections leave
// from another address already goes on so.
func (t *Table) Set(b Binding) {
	t.forgetEgress(b.Address)
	b.Egress = slices.Clone(b.Egress)
	b.Egress = slices.DeleteFunc(b.Egress, func(r netip.Addr) bool { return t.egress[r].IsValid() })
	for _, r := range b.Egress {
		t.egress[r] = b.Address
	}
	t.want[b.Address] = makeFacts(b)
	t.dirty[b.Address] = true
}

// Remove takes an address out.
func (t *Table) Remove(a netip.Addr) {
	t.forgetEgress(a)
	delete(t.want, a)
	t.dirty[a] = true
}

func (t *Table) forgetEgress(a netip.Addr) {
	for _, r := range t.want[a].binding.Egress {
		delete(t.egress, r)
	}
}

// Leaves reports whether a replica's connections leave from an address.
func (t *Table) Leaves(replica, a netip.Addr) bool { return t.egress[replica] == a }

// Done says that the kernel has what [Table.Script] or [Table.Whole] said.
func (t *Table) Done() {
	t.have = maps.Clone(t.want)
	clear(t.dirty)
}

// Dirty returns the addresses that changed since [Table.Done], sorted.
func (t *Table) Dirty() []netip.Addr {
	return slices.SortedFunc(maps.Keys(t.dirty), netip.Addr.Compare)
}

// family is "4" or "6".
func family(a netip.Addr) string {
	if a.Is4() {
		return "4"
	}
	return "6"
}

// ip is the word for the address's family in rules.
func ip(a netip.Addr) string {
	if a.Is4() {
		return "ip"
	}
	return "ip6"
}

func makeFacts(b Binding) facts {
	f := facts{binding: b, elements: map[string]map[string]string{}, chains: map[string]string{}}
	add := func(set, key, value string) {
		set += family(b.Address)
		if f.elements[set] == nil {
			f.elements[set] = map[string]string{}
		}
		f.elements[set][key] = value
	}
	add("held", b.Address.String(), "")
	for _, p := range b.Ports {
		if len(p.To) == 0 {
			continue
		}
		name := chain(b.Address, p)
		f.chains[name] = rules(b.Address, p)
		add("ports", fmt.Sprintf("%s . %s . %d", b.Address, l4(p.Protocol), p.External), "goto "+name)
	}
	for _, r := range b.Egress {
		add("egress", r.String(), b.Address.String())
	}
	for _, n := range b.Near {
		add("near", fmt.Sprintf("%s . %s", b.Address, n.Masked()), "")
	}
	return f
}

func l4(p iplease.Protocol) string { return strings.ToLower(p.String()) }

// chain is the name of a port's chain; it is one to one.
func chain(a netip.Addr, p Port) string {
	return fmt.Sprintf("%s%d-%s", l4(p.Protocol), p.External, strings.ReplaceAll(a.String(), ":", "-"))
}

// rules are those of a port's chain, a line each.
func rules(at netip.Addr, p Port) string {
	var b strings.Builder
	if len(p.Sources) > 0 {
		var mine []string
		for _, s := range union(p.Sources) {
			if s.Addr().Is4() == at.Is4() {
				mine = append(mine, s.String())
			}
		}
		if len(mine) == 0 {
			return "drop\n"
		}
		_, _ = fmt.Fprintf(&b, "%s saddr != { %s } drop\n", ip(at), strings.Join(mine, ", "))
	}
	_, _ = fmt.Fprintf(&b, "meta l4proto %s dnat %s to %s\n", l4(p.Protocol), ip(at), target(p.To))
	return b.String()
}

// union leaves out prefixes that are in others: nft takes no overlap.
func union(ps []netip.Prefix) (out []netip.Prefix) {
	sorted := slices.Clone(ps)
	for i := range sorted {
		sorted[i] = sorted[i].Masked()
	}
	slices.SortFunc(sorted, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
	for _, p := range sorted {
		if !slices.ContainsFunc(out, func(o netip.Prefix) bool { return o.Contains(p.Addr()) }) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return out
}

// target is where new connections go: the only replica, or each in turn.
func target(to []netip.AddrPort) string {
	to = slices.Clone(to)
	slices.SortFunc(to, netip.AddrPort.Compare)
	to = slices.Compact(to)
	if len(to) == 1 {
		return to[0].String()
	}
	each := make([]string, len(to))
	for i, ap := range to {
		each[i] = fmt.Sprintf("%d : %s . %d", i, ap.Addr(), ap.Port())
	}
	return fmt.Sprintf("numgen inc mod %d map { %s }", len(to), strings.Join(each, ", "))
}

// Flow is a connection that the kernel tracks.
type Flow struct {
	Protocol uint8
	// Client opened it to Server; replies come from ReplyFrom to ReplyTo.
	Client, Server, ReplyFrom, ReplyTo netip.AddrPort
}

// Protocol numbers of IANA.
const (
	protoTCP = 6
	protoUDP = 17
)

func number(p iplease.Protocol) uint8 {
	if p == iplease.TCP {
		return protoTCP
	}
	return protoUDP
}

// Stale reports whether a tracked connection is not as the rules for one of the
// given addresses would make it now.
func (t *Table) Stale(f Flow, touched map[netip.Addr]bool) bool {
	if at := f.Server.Addr(); touched[at] {
		for _, p := range t.want[at].binding.Ports {
			if p.External == f.Server.Port() && number(p.Protocol) == f.Protocol {
				return !p.allows(f.Client.Addr()) || !slices.Contains(p.To, f.ReplyFrom)
			}
		}
		return true
	}
	if at := f.ReplyTo.Addr(); touched[at] && f.Client.Addr() != at {
		return !slices.Contains(t.want[at].binding.Egress, f.Client.Addr())
	}
	return false
}
