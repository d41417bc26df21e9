package iplease

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/market"
)

// Request is what an order asks for.
type Request struct {
	Order market.OrderID
	// Numbers are the sequence numbers of the leased addresses, one claim each;
	// doubles count once.
	Numbers []uint32
	Selection
	// Until is when the reservation ends by itself; zero is never.
	Until time.Time
}

// Numbers returns the sequence numbers of the leased addresses that a group asks
// for, sorted, each once.
func Numbers(spec market.GroupSpec) []uint32 {
	var out []uint32
	for _, u := range spec.Units {
		for _, e := range u.Endpoints {
			if e.Kind == market.EndpointLeasedIP {
				out = append(out, e.SequenceNumber)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Reserve holds claims for an order, all or none. What the order has already is
// kept and only lives until the new time. Where no address is free, a parked claim
// of the tenant backs the order, one order at a time; the manifest has to use its
// name then, see [Table.Serves]. The error is an [*ExhaustedError], or wraps
// [market.ErrInvalid].
func (t *Table) Reserve(r Request) error {
	if len(r.Numbers) > MaxClaimsPerOrder {
		return fmt.Errorf("iplease: order %s: %d addresses, at most %d: %w", r.Order, len(r.Numbers), MaxClaimsPerOrder, market.ErrInvalid)
	}
	var made []*claim
	for _, n := range r.Numbers {
		if t.reservation(r.Order, n) != nil {
			continue
		}
		c := t.allocate(r.Order.Owner, &r.Selection, Reserved)
		if c == nil {
			if c = t.kept(r.Order.Owner, r.Selection); c != nil {
				t.touch(c)
			}
		}
		if c == nil {
			for _, c := range made {
				t.dropReservation(c)
			}
			return t.exhausted(r.Selection, len(r.Numbers))
		}
		t.reserveFor(c, r.Order, n)
		made = append(made, c)
	}
	for c := t.orders[r.Order]; c != nil; c = c.next {
		if !c.until.Equal(r.Until) {
			t.schedule(c, r.Until)
			t.touch(c)
		}
	}
	return nil
}

// CanReserve says what Reserve would say, and changes nothing that is seen.
func (t *Table) CanReserve(r Request) error {
	known := t.orders[r.Order] != nil
	if known {
		return nil
	}
	err := t.Reserve(r)
	if err == nil {
		t.Unreserve(r.Order)
	}
	return err
}

// reserveFor notes the order that counts on a claim. That the claim has changed is
// for the caller to note.
func (t *Table) reserveFor(c *claim, id market.OrderID, number uint32) {
	c.order, c.number = id, number
	chain(t.orders, id, c)
}

// unreserve takes a claim from the order that counts on it; as reserveFor.
func (t *Table) unreserve(c *claim) {
	unchain(t.orders, c.order, c)
	t.schedule(c, time.Time{})
	c.order, c.number = market.OrderID{}, 0
}

// unback is unreserve for a parked claim that may back nothing.
func (t *Table) unback(c *claim) {
	if c.backs() {
		t.unreserve(c)
		t.touch(c)
	}
}

// reservation returns the claim that is reserved for a number of an order, or
// backs it.
func (t *Table) reservation(id market.OrderID, number uint32) *claim {
	for c := t.orders[id]; c != nil; c = c.next {
		if c.number == number {
			return c
		}
	}
	return nil
}

// Unreserve frees what is still reserved for an order and reports whether that
// was anything.
func (t *Table) Unreserve(id market.OrderID) bool {
	some := false
	for c := t.orders[id]; c != nil; c = t.orders[id] {
		t.dropReservation(c)
		some = true
	}
	return some
}

// dropReservation frees a claim that an order counts on; a parked one stays as it
// is.
func (t *Table) dropReservation(c *claim) {
	t.unreserve(c)
	if c.state == Reserved {
		t.remove(c)
	} else {
		t.touch(c)
	}
}

// exhausted says why a selection cannot be met.
func (t *Table) exhausted(s Selection, claims int) *ExhaustedError {
	out := &ExhaustedError{Want: s, Claims: claims}
	out.Want.Family = t.families(s)
	for i, sp := range t.spaces {
		if !s.admits(sp.pool) {
			continue
		}
		if i == 0 || t.spaces[i-1].pool != sp.pool {
			out.Matching++
		}
		if sp.family == IPv4 {
			out.IPv4 += sp.available()
		} else {
			out.IPv6 += sp.available()
		}
	}
	return out
}

// Expired is what [Table.Expire] ended.
type Expired struct {
	// Claim is the claim as it was.
	Claim Claim
	// Now is its state afterwards.
	Now State
}

// Expire ends what is over at a time and a height: reservations and cooling by
// time, retention by height. The result is in no particular order.
func (t *Table) Expire(now time.Time, height int64) []Expired {
	var out []Expired
	for len(t.due) > 0 && !now.Before(t.due[0].until) {
		c := t.due[0]
		before := c.picture()
		if c.state == Cooling {
			t.remove(c)
		} else {
			t.dropReservation(c)
		}
		out = append(out, Expired{before, c.state})
	}
	return append(out, t.expireRetained(now, height)...)
}

// Rest has a claim that cools go on with it until a time, if that is later: for an
// address that still answers somewhere. For other claims it does nothing.
func (t *Table) Rest(at netip.Addr, until time.Time) {
	if c := t.addrs[at]; c != nil && c.state == Cooling && c.until.Before(until) {
		t.schedule(c, until)
		t.touch(c)
	}
}

// Due returns the claims that Expire would end at a time, sorted by ID.
func (t *Table) Due(now time.Time) []Claim {
	var out []Claim
	var walk func(i int)
	walk = func(i int) {
		if i < len(t.due) && !now.Before(t.due[i].until) {
			out = append(out, t.due[i].picture())
			walk(2*i + 1)
			walk(2*i + 2)
		}
	}
	walk(0)
	sortByID(out)
	return out
}

// NextExpiry returns when Expire has something to do by time.
func (t *Table) NextExpiry() (time.Time, bool) {
	if len(t.due) == 0 {
		return time.Time{}, false
	}
	return t.due[0].until, true
}
