package iplease

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/market"
)

// Bounds of a claim.
const (
	// MaxPorts bounds the ports of a claim.
	MaxPorts = 1024
	// MaxSources bounds the client prefixes of a port.
	MaxSources = 64
	// MaxClaimsPerOrder bounds the claims of an order or a lease.
	MaxClaimsPerOrder = 256
)

// Port is an entry of the table of (address, protocol, port): what arrives at
// the external port of a claim's addresses goes to a port of a service's
// containers.
type Port struct {
	Protocol Protocol `json:"protocol"`
	// External is the port that clients use, from 1.
	External uint16 `json:"external"`
	// Lease and Service have the port.
	Lease   market.LeaseID `json:"lease"`
	Service string         `json:"service"`
	// Number is the sequence number that the address has in the lease's order.
	Number uint32 `json:"number,omitempty"`
	// Port is where the containers listen, from 1.
	Port uint16 `json:"port"`
	// Sources are the prefixes that clients may have; nil is all.
	Sources []netip.Prefix `json:"sources,omitempty"`
}

// compare orders ports by protocol and external port, which no two of a claim
// have in common.
func (p Port) compare(o Port) int {
	return cmp.Or(cmp.Compare(p.Protocol, o.Protocol), cmp.Compare(p.External, o.External))
}

func (p Port) equal(o Port) bool {
	return p.Protocol == o.Protocol && p.External == o.External && p.Port == o.Port &&
		p.Service == o.Service && p.Lease == o.Lease && p.Number == o.Number && slices.Equal(p.Sources, o.Sources)
}

// holder is who has the port.
func (p Port) holder() Holder { return Holder{p.Lease, p.Service} }

// SourceRule limits who may reach a port of a claim. It stays with the claim
// when ports and holders change.
type SourceRule struct {
	Protocol Protocol       `json:"protocol"`
	External uint16         `json:"external"`
	Sources  []netip.Prefix `json:"sources"`
}

// compare orders rules as ports are.
func (r SourceRule) compare(o SourceRule) int {
	return cmp.Or(cmp.Compare(r.Protocol, o.Protocol), cmp.Compare(r.External, o.External))
}

// Claim is a picture of a claim. Its slices are shared with the table and other
// pictures: they are not to be changed.
type Claim struct {
	// ID has no name while the claim is reserved, and none when it cools and another
	// claim has taken its name.
	ID    ClaimID
	State State
	// IPv4 and IPv6 are the addresses; one may be invalid. Pool4 and Pool6 are the
	// pools they are from, "" for an address that is in no pool any more.
	IPv4, IPv6   netip.Addr
	Pool4, Pool6 string
	// Former are names that the claim had, under which an announcer may still have
	// its addresses; see [Table.Withdrawn].
	Former []string
	// Order is what a claim is reserved for, or a parked one backs. Number is the
	// sequence number in that order; of a claim that cools, that in the order of the
	// lease that let it go.
	Order  market.OrderID
	Number uint32
	// Holder is the deployment that a bound claim is held by.
	Holder market.DeploymentID
	// From is the deployment that a bound claim was last moved from, or that let the
	// claim go.
	From market.DeploymentID
	// Ports are sorted by protocol and external port.
	Ports []Port
	// Rules are sorted in the same way.
	Rules []SourceRule
	// Revision grows with every change that an announcer must hear of, and is
	// larger for a later claim of the same ID than for an earlier one.
	Revision uint64
	// Until is when a reservation or the cooling ends; else zero.
	Until time.Time
	// Retained says that the claim is parked rather than released; RetainedUntil
	// is the height at which that ends, 0 for none.
	Retained      bool
	RetainedUntil int64
	// RetainedPrice is the price at which that was accepted.
	RetainedPrice market.Price
	// Migration is nil when the claim is not being moved.
	Migration *Migration
}

// Addresses returns the addresses that are there, IPv4 first.
func (c Claim) Addresses() []netip.Addr {
	out := make([]netip.Addr, 0, 2)
	for _, a := range [...]netip.Addr{c.IPv4, c.IPv6} {
		if a.IsValid() {
			out = append(out, a)
		}
	}
	return out
}

// Port returns the entry of a protocol and external port.
func (c Claim) Port(p Protocol, external uint16) (Port, bool) {
	i, ok := slices.BinarySearchFunc(c.Ports, Port{Protocol: p, External: external}, Port.compare)
	if !ok {
		return Port{}, false
	}
	return c.Ports[i], true
}

// Leases returns the leases that have a port, sorted, each once.
func (c Claim) Leases() []market.LeaseID {
	var out []market.LeaseID
	for _, p := range c.Ports {
		if !slices.Contains(out, p.Lease) {
			out = append(out, p.Lease)
		}
	}
	slices.SortFunc(out, func(a, b market.LeaseID) int { return cmp.Compare(a.String(), b.String()) })
	return out
}

// sortByID sorts claims by ID and then by address.
func sortByID(claims []Claim) {
	slices.SortFunc(claims, func(a, b Claim) int {
		return cmp.Or(cmp.Compare(a.ID.Owner, b.ID.Owner), cmp.Compare(a.ID.Name, b.ID.Name), a.Addresses()[0].Compare(b.Addresses()[0]))
	})
}

// held is an address of a claim and where it is from; space is nil for an
// address that is in no pool.
type held struct {
	addr   netip.Addr
	space  *space
	number uint64
}

// claim is a claim in the table. former, ports and rules are replaced and never
// changed in place, because pictures share them.
type claim struct {
	id     ClaimID
	former []string
	state  State
	addrs  [2]held
	naddrs int

	order  market.OrderID
	number uint32
	holder market.DeploymentID
	from   market.DeploymentID
	ports  []Port
	rules  []SourceRule

	revision      uint64
	until         time.Time
	retained      bool
	retainedUntil int64
	retainedPrice market.Price
	migration     *Migration

	// next is the next claim of the same order or holder.
	next *claim
	// before and after are the neighbours in the list of the owner's claims.
	before, after *claim
	// due is the place in the table's heap, from 1; 0 is not there.
	due int
}

func (c *claim) held() []held { return c.addrs[:c.naddrs] }

// key is the address under which a claim is persisted: it never changes, and no
// other claim has it.
func (c *claim) key() netip.Addr { return c.addrs[0].addr }

func (c *claim) picture() Claim {
	out := Claim{
		ID: c.id, Former: c.former, State: c.state, Order: c.order, Number: c.number, Holder: c.holder, From: c.from, Ports: c.ports, Rules: c.rules,
		Revision: c.revision, Until: c.until, Retained: c.retained, RetainedUntil: c.retainedUntil, RetainedPrice: c.retainedPrice,
		Migration: c.migration,
	}
	for _, h := range c.held() {
		name := ""
		if h.space != nil {
			name = h.space.pool.Name
		}
		if h.addr.Is4() {
			out.IPv4, out.Pool4 = h.addr, name
		} else {
			out.IPv6, out.Pool6 = h.addr, name
		}
	}
	return out
}

// family is what the claim has addresses of.
func (c *claim) family() (f Family) {
	for _, h := range c.held() {
		f |= familyOf(h.addr)
	}
	return f
}

// satisfies reports whether the claim is what a selection asks for. That a pool is
// only given by name was settled when the claim was made.
func (c *claim) satisfies(s Selection) bool {
	if s.Family&^c.family() != 0 {
		return false
	}
	for _, h := range c.held() {
		var from Pool
		if h.space != nil {
			from = *h.space.pool
		}
		from.OnlyByName = from.OnlyByName && s.Pool != ""
		if !s.admits(&from) {
			return false
		}
	}
	return true
}

// has reports whether a lease has a port of the claim.
func (c *claim) has(lease market.LeaseID) bool {
	return slices.ContainsFunc(c.ports, func(p Port) bool { return p.Lease == lease })
}

// counts reports whether the claim is the one for a number of a lease's order.
func (c *claim) counts(lease market.LeaseID, number uint32) bool {
	return slices.ContainsFunc(c.ports, func(p Port) bool { return p.Lease == lease && p.Number == number })
}

// backs reports whether the claim is parked and an order counts on it.
func (c *claim) backs() bool { return c.state == Parked && c.order != market.OrderID{} }

// alike reports whether two claims are of the same families and pools, so that
// one is as good as the other for whoever asks.
func (c *claim) alike(o *claim) bool {
	a, b := c.picture(), o.picture()
	return c.family() == o.family() && a.Pool4 == b.Pool4 && a.Pool6 == b.Pool6
}
