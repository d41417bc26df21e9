// Package fabric builds the private networks of the embedded runc: a bridge for
// each, addresses out of a pool, and one nftables table that keeps networks apart
// from one another, from the host and from the host's neighbours.
//
// Package netpolicy/nftpolicy renders the table. Every packet of a container goes
// through it, also to a container of the same network: the ports of a bridge are
// isolated from one another, and the bridge answers for all of its containers.
package fabric

import (
	"fmt"
	"net/netip"

	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/netpolicy/nftpolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Segment is one private network.
type Segment struct {
	Name   string
	Index  int
	Prefix netip.Prefix
	// Prefix6 is its IPv6 range, invalid if it has none.
	Prefix6 netip.Prefix
	// Hosts are names set for all containers of it.
	Hosts map[string][]netip.Addr `json:",omitempty"`
	// Policy is who may reach whom; nil lets all containers reach one another and
	// the world.
	Policy *netpolicy.Policy `json:",omitempty"`
}

// Gateway is the bridge's address.
func (s Segment) Gateway() netip.Addr { return s.Prefix.Addr().Next() }

// Gateway6 is the bridge's IPv6 address, invalid if it has none.
func (s Segment) Gateway6() netip.Addr { return s.Address6(s.Gateway()) }

// Address6 is the IPv6 address that goes with one of the segment's IPv4
// addresses, invalid if the segment has no IPv6.
func (s Segment) Address6(a netip.Addr) netip.Addr {
	if !s.Prefix6.IsValid() || !a.IsValid() {
		return netip.Addr{}
	}
	wide, four := s.Prefix6.Masked().Addr().As16(), a.As4()
	wide[15] = four[3] // a segment is a /24
	return netip.AddrFrom16(wide)
}

// Host is what the rules and bridges of one agent have in common.
type Host struct {
	// Instance tells tables and bridges of several agents on one machine apart.
	Instance string
	// Surroundings are for networks that have no policy.
	Surroundings netpolicy.Surroundings
}

// anyBridge begins the names of bridges of all instances on the machine; no usual
// interface is called so.
const anyBridge = "mrg"

// TableName is the name of the instance's table.
func (h Host) TableName() string { return "moorage_" + h.Instance }

// bridgePrefix begins the name of every bridge of the instance.
func (h Host) bridgePrefix() string { return anyBridge + h.Instance + "." }

// Bridge is the name of a segment's bridge; the kernel takes 15 bytes.
func (h Host) Bridge(s Segment) string { return fmt.Sprintf("%s%d", h.bridgePrefix(), s.Index) }

// Table is the instance's table with the given networks.
func (h Host) Table(networks ...nftpolicy.Network) nftpolicy.Table {
	return nftpolicy.Table{
		Name: h.TableName(), Bridges: h.bridgePrefix(), Foreign: anyBridge, Masquerade: true, Networks: networks,
	}
}

// Network is a segment as the table guards it.
func (h Host) Network(s Segment, members []nftpolicy.Member) (nftpolicy.Network, error) {
	n := nftpolicy.Network{ID: s.Index, Bridge: h.Bridge(s), Prefixes: []netip.Prefix{s.Prefix}, Policy: s.Policy}
	if s.Prefix6.IsValid() {
		n.Prefixes = append(n.Prefixes, s.Prefix6)
	}
	for _, m := range members {
		n.Members = append(n.Members, m)
		if a := s.Address6(m.Address); a.IsValid() {
			n.Members = append(n.Members, nftpolicy.Member{Address: a, Service: m.Service})
		}
	}
	if s.Policy != nil {
		return n, nil
	}
	var err error
	n.Open = true
	n.Policy, err = netpolicy.Compile(manifest.Group{}, nil, h.Surroundings)
	return n, err
}

// MaxSegments bounds networks of one instance.
const MaxSegments = 9999

// FreeAddr picks the lowest address of the segment that is not taken.
func (s Segment) FreeAddr(taken func(netip.Addr) bool) (netip.Addr, error) {
	for a := s.Gateway().Next(); s.Prefix.Contains(a.Next()); a = a.Next() {
		if !taken(a) {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no free address left in %s", s.Prefix)
}
