package iplease

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/market"
)

// DefaultCooling is used for a zero [Config.Cooling]: longer than clients
// usually keep the answer of a name server.
const DefaultCooling = 10 * time.Minute

// Config says what a table hands out.
type Config struct {
	// Pools are asked in this order.
	Pools []Pool
	// Cooling is how long an address rests after its release; 0 is
	// DefaultCooling, negative is an error.
	Cooling time.Duration
	// DualFromOnePool takes both addresses of a dual claim from the same pool, where
	// the announcer needs that; else the first free one of each family is taken.
	DualFromOnePool bool
}

// Table holds the claims of a provider. Make it with [New] or [Restore].
type Table struct {
	cooling time.Duration
	onePool bool
	spaces  []*space
	// index has every span, sorted by its first address.
	index []indexed

	// claims has every claim that has a name.
	claims map[ClaimID]*claim
	// orders and holders have the first of a list, linked by claim.next.
	orders  map[market.OrderID]*claim
	holders map[market.DeploymentID]*claim
	// owners have the first of the list of a tenant's claims.
	owners map[market.Address]*claim
	// addrs has every address that is held.
	addrs map[netip.Addr]*claim
	// due has what expires by time, the earliest first.
	due dueHeap
	// retained has the claims that are parked or will be; none of them ends
	// before the height retainedFrom.
	retained     map[*claim]struct{}
	retainedFrom int64
	// moves has the claims that are being moved.
	moves map[*claim]struct{}
	// unsaved has the keys of claims that changed since they were last given out.
	unsaved  map[netip.Addr]struct{}
	revision uint64
}

type indexed struct {
	span  Range
	space *space
}

// New makes a table without claims. The error is a [*RangeError] or wraps
// [market.ErrInvalid].
func New(cfg Config) (*Table, error) {
	if cfg.Cooling < 0 {
		return nil, fmt.Errorf("iplease: cooling %s: %w", cfg.Cooling, market.ErrInvalid)
	}
	if cfg.Cooling == 0 {
		cfg.Cooling = DefaultCooling
	}
	t := &Table{
		cooling: cfg.Cooling, onePool: cfg.DualFromOnePool, owners: map[market.Address]*claim{},
		claims: map[ClaimID]*claim{}, orders: map[market.OrderID]*claim{}, holders: map[market.DeploymentID]*claim{},
		addrs: map[netip.Addr]*claim{}, retained: map[*claim]struct{}{}, moves: map[*claim]struct{}{}, unsaved: map[netip.Addr]struct{}{},
	}
	_, err := t.SetPools(cfg.Pools)
	return t, err
}

// Stray is an address of a claim that is in no pool any more, or never leased
// there any more. The claim keeps it until it is released.
type Stray struct {
	Address netip.Addr
	Claim   Claim
}

// SetPools replaces the pools. No claim moves: addresses of claims that are in no
// pool now, or are reserved or avoided there, are returned, sorted, and are not
// handed out again once they are released. With an error nothing has changed.
func (t *Table) SetPools(pools []Pool) ([]Stray, error) {
	spaces, err := buildSpaces(pools)
	if err != nil {
		return nil, err
	}
	t.spaces, t.index = spaces, nil
	for _, s := range spaces {
		for _, sp := range s.spans {
			t.index = append(t.index, indexed{sp.Range, s})
		}
	}
	slices.SortFunc(t.index, func(a, b indexed) int { return a.span.First.Compare(b.span.First) })
	var strays []Stray
	for a, c := range t.addrs {
		for i := range c.held() {
			if h := &c.addrs[i]; h.addr == a && !t.place(c, h) {
				strays = append(strays, Stray{a, c.picture()})
			}
		}
	}
	slices.SortFunc(strays, func(a, b Stray) int { return a.Address.Compare(b.Address) })
	return strays, nil
}

// place takes a held address out of the space it is in, and reports whether it is
// in one.
func (t *Table) place(c *claim, h *held) bool {
	h.space = nil
	s := t.locate(h.addr)
	if s == nil {
		return false
	}
	n, _ := s.number(h.addr)
	if !s.free.has(n) {
		return false
	}
	s.free.take(n)
	s.used[c.state]++
	h.space, h.number = s, n
	return true
}

// locate returns the space that has an address.
func (t *Table) locate(a netip.Addr) *space {
	i, found := slices.BinarySearchFunc(t.index, a, func(x indexed, a netip.Addr) int { return x.span.First.Compare(a) })
	if !found {
		i--
	}
	if i < 0 || !t.index[i].span.Contains(a) {
		return nil
	}
	return t.index[i].space
}

// families returns what a selection that names no family gets.
func (t *Table) families(s Selection) Family {
	if s.Family != 0 {
		return s.Family
	}
	family := IPv6
	for _, sp := range t.spaces {
		if sp.family == IPv4 && s.admits(sp.pool) {
			family = IPv4
		}
	}
	return family
}

// find returns the first space of a family with a free address.
func (t *Table) find(f Family, s *Selection) (sp *space, number uint64, ok bool) {
	for _, sp := range t.spaces {
		if sp.family != f || !s.admits(sp.pool) {
			continue
		}
		if n, ok := sp.free.lowest(); ok {
			return sp, n, true
		}
	}
	return nil, 0, false
}

// choose returns the addresses that a new claim would get, and how many; none
// when there is not one of each family that is asked for.
func (t *Table) choose(s *Selection) (out [2]held, n int) {
	family := t.families(*s)
	if family == Dual && t.onePool {
		return t.chooseTogether(s)
	}
	for _, f := range [...]Family{IPv4, IPv6} {
		if family&f == 0 {
			continue
		}
		sp, number, ok := t.find(f, s)
		if !ok {
			return out, 0
		}
		out[n] = held{sp.address(number), sp, number}
		n++
	}
	return out, n
}

// chooseTogether returns an address of each family out of the first pool that has
// both.
func (t *Table) chooseTogether(s *Selection) (out [2]held, n int) {
	for i, four := range t.spaces { // of one pool they are neighbours, IPv4 first
		if i+1 == len(t.spaces) || t.spaces[i+1].pool != four.pool || !s.admits(four.pool) {
			continue
		}
		six := t.spaces[i+1]
		a, ok4 := four.free.lowest()
		b, ok6 := six.free.lowest()
		if ok4 && ok6 {
			return [2]held{{four.address(a), four, a}, {six.address(b), six, b}}, 2
		}
	}
	return out, 0
}

// room reports whether a new claim could be made.
func (t *Table) room(s *Selection) bool {
	_, n := t.choose(s)
	return n > 0
}

// allocate makes a claim of a tenant with an address of each family, in a state,
// or returns nil and changes nothing. Reservations and bindings both begin here.
func (t *Table) allocate(owner market.Address, s *Selection, state State) *claim {
	addrs, n := t.choose(s)
	if n == 0 {
		return nil
	}
	c := &claim{state: state, addrs: addrs, naddrs: n}
	t.own(c, owner)
	for _, h := range c.held() {
		h.space.free.take(h.number)
		h.space.used[state]++
		t.addrs[h.addr] = c
	}
	t.touch(c)
	return c
}

// touch notes that a claim has changed.
func (t *Table) touch(c *claim) { t.unsaved[c.key()] = struct{}{} }

// revise notes a change that an announcer must hear of.
func (t *Table) revise(c *claim) {
	t.revision++
	c.revision = t.revision
	t.touch(c)
}

// move changes the state of a claim and what is counted by it.
func (t *Table) move(c *claim, to State) {
	for _, h := range c.held() {
		if h.space != nil {
			h.space.used[c.state]--
			h.space.used[to]++
		}
	}
	c.state = to
	t.touch(c)
}

// remove frees a claim.
func (t *Table) remove(c *claim) {
	t.touch(c)
	t.schedule(c, time.Time{})
	delete(t.retained, c)
	t.endMove(c)
	t.disown(c)
	for _, h := range c.held() {
		delete(t.addrs, h.addr)
		if h.space != nil {
			h.space.used[c.state]--
			h.space.free.give(h.number)
		}
	}
	if c.id.Name != "" && t.claims[c.id] == c {
		delete(t.claims, c.id)
	}
	c.state = Free
}

// own puts a claim in the list of its tenant.
func (t *Table) own(c *claim, owner market.Address) {
	c.id.Owner = owner
	if c.after = t.owners[owner]; c.after != nil {
		c.after.before = c
	}
	t.owners[owner] = c
}

// disown takes it out.
func (t *Table) disown(c *claim) {
	if c.after != nil {
		c.after.before = c.before
	}
	switch {
	case c.before != nil:
		c.before.after = c.after
	case c.after != nil:
		t.owners[c.id.Owner] = c.after
	default:
		delete(t.owners, c.id.Owner)
	}
	c.before, c.after = nil, nil
}

// chain puts a claim in front of a list.
func chain[K comparable](lists map[K]*claim, key K, c *claim) {
	c.next = lists[key]
	lists[key] = c
}

// unchain takes a claim out of a list.
func unchain[K comparable](lists map[K]*claim, key K, c *claim) {
	first := lists[key]
	if first == c {
		if c.next == nil {
			delete(lists, key)
		} else {
			lists[key] = c.next
		}
	}
	for at := first; at != nil; at = at.next {
		if at.next == c {
			at.next = c.next
			break
		}
	}
	c.next = nil
}

// Claim returns a claim that has a name.
func (t *Table) Claim(id ClaimID) (Claim, bool) {
	c, ok := t.claims[id]
	if !ok {
		return Claim{}, false
	}
	return c.picture(), true
}

// Holder returns who has a port of an address.
func (t *Table) Holder(a netip.Addr, p Protocol, external uint16) (Holder, bool) {
	c, ok := t.addrs[a]
	if !ok || c.state != Bound {
		return Holder{}, false
	}
	port, ok := c.picture().Port(p, external)
	return port.holder(), ok
}

// At returns the claim that has an address.
func (t *Table) At(a netip.Addr) (Claim, bool) {
	c, ok := t.addrs[a]
	if !ok {
		return Claim{}, false
	}
	return c.picture(), true
}

// HeldBy returns the claims of a deployment, sorted by name.
func (t *Table) HeldBy(id market.DeploymentID) []Claim {
	var out []Claim
	for c := t.holders[id]; c != nil; c = c.next {
		out = append(out, c.picture())
	}
	slices.SortFunc(out, func(a, b Claim) int { return cmp.Compare(a.ID.Name, b.ID.Name) })
	return out
}

// ReservedFor returns the claims that are reserved for an order, those that are
// parked and back it included, sorted by number.
func (t *Table) ReservedFor(id market.OrderID) []Claim {
	var out []Claim
	for c := t.orders[id]; c != nil; c = c.next {
		out = append(out, c.picture())
	}
	slices.SortFunc(out, func(a, b Claim) int { return cmp.Compare(a.Number, b.Number) })
	return out
}

// Claims returns every claim whose owner is given, or every claim for "", sorted
// by ID and then by address. It looks at no other claims.
func (t *Table) Claims(owner market.Address) []Claim {
	var out []Claim
	list := func(first *claim) {
		for c := first; c != nil; c = c.after {
			out = append(out, c.picture())
		}
	}
	if owner != "" {
		list(t.owners[owner])
	} else {
		for _, first := range t.owners {
			list(first)
		}
	}
	sortByID(out)
	return out
}

// Capacity is what a pool has of one family. Free and the counts of the states
// sum to Size.
type Capacity struct {
	Pool   string `json:"pool"`
	Family Family `json:"family"`
	// Size counts the addresses that can be leased, at most 2^64-1.
	Size     uint64 `json:"size"`
	Free     uint64 `json:"free"`
	Reserved uint64 `json:"reserved"`
	Bound    uint64 `json:"bound"`
	Parked   uint64 `json:"parked"`
	Cooling  uint64 `json:"cooling"`
}

// Capacity counts the addresses, in the order of the pools, IPv4 first.
func (t *Table) Capacity() []Capacity {
	out := make([]Capacity, len(t.spaces))
	for i, s := range t.spaces {
		out[i] = Capacity{
			s.pool.Name, s.family, s.size, s.available(), s.used[Reserved], s.used[Bound], s.used[Parked], s.used[Cooling],
		}
	}
	return out
}

// Pools returns the pools, in order.
func (t *Table) Pools() []Pool {
	var out []Pool
	for i, s := range t.spaces {
		if i == 0 || t.spaces[i-1].pool != s.pool {
			out = append(out, *s.pool.clone())
		}
	}
	return out
}
