package iplease

import (
	"slices"
	"time"

	"github.com/moorage-dev/moorage/market"
)

// Want is what a lease wants of an endpoint.
type Want struct {
	// Name is the endpoint's, Number the sequence number it has in the order.
	Name   string
	Number uint32
	// Selection is what the order asks for.
	Selection
	// Ports are at least one, in any order; Lease is filled in.
	Ports []Port
}

// Outcome is what became of a [Want].
type Outcome struct {
	Name string
	// Claim is what the lease has; its State is Free when it has nothing.
	Claim Claim
	// Err says why the want is not met: a [*WithheldError], [*ConflictError],
	// [*ExhaustedError] or [*MismatchError], or wraps [market.ErrInvalid]. Ports
	// that the lease had before stay then as they were.
	Err error
}

// Update makes the claims of a lease exactly as wanted: claims are bound, ports
// added, taken away and retargeted, and endpoints that are not wanted any more
// are released. Addresses of claims that stay do not change. Reservations of the
// order that no want has used are freed. The outcomes are in the order of the
// wants; one that cannot be met does not keep the others from it.
func (t *Table) Update(lease market.LeaseID, wants []Want, now time.Time) []Outcome {
	for _, c := range t.HeldBy(lease.DeploymentID) {
		if !slices.ContainsFunc(wants, func(w Want) bool { return w.Name == c.ID.Name }) {
			t.Release(lease, c.ID.Name, now)
		}
	}
	out := make([]Outcome, len(wants))
	for i, w := range wants {
		c, err := t.Bind(lease, w, now)
		out[i] = Outcome{Name: w.Name, Claim: c, Err: err}
	}
	t.Unreserve(lease.OrderID)
	return out
}

// Close releases all that a lease has and what is reserved for its order.
// Closing what has nothing is fine.
func (t *Table) Close(lease market.LeaseID, now time.Time) {
	for _, c := range t.HeldBy(lease.DeploymentID) {
		t.Release(lease, c.ID.Name, now)
	}
	t.abandon(lease)
	t.Unreserve(lease.OrderID)
}

// Bind meets one want: it takes the claim of that name if it is there and may be
// had, else the address that is reserved for the number, else a new one, and sets
// the lease's ports. See [Outcome.Err] for the errors. Meeting a want that is met
// changes nothing.
func (t *Table) Bind(lease market.LeaseID, w Want, now time.Time) (Claim, error) {
	id := ClaimID{lease.Owner, w.Name}
	if err := w.validate(id); err != nil {
		return Claim{}, err
	}
	c, reserved := t.usable(id, &w), t.reservation(lease.OrderID, w.Number)
	if c != nil {
		if err := c.mayBind(lease, &w); err != nil {
			return Claim{}, err
		}
	}
	ports, err := t.merge(c, id, lease, w.Ports)
	if err != nil {
		return t.has(id, lease), err
	}
	if c == nil {
		if c = t.fresh(id, reserved, &w); c == nil {
			return Claim{}, t.exhausted(w.Selection, 1)
		}
		reserved = nil
	}
	if reserved != nil && reserved != c {
		t.dropReservation(reserved)
	}
	t.hold(c, lease.DeploymentID)
	t.setPorts(c, ports)
	return c.picture(), nil
}

// has returns the claim of an ID if the lease's deployment holds it.
func (t *Table) has(id ClaimID, lease market.LeaseID) Claim {
	if c := t.claims[id]; c != nil && c.state == Bound && c.holder == lease.DeploymentID {
		return c.picture()
	}
	return Claim{}
}

// Explain says what Bind would say to a want, and changes nothing.
func (t *Table) Explain(lease market.LeaseID, w Want) error {
	id := ClaimID{lease.Owner, w.Name}
	if err := w.validate(id); err != nil {
		return err
	}
	c := t.usable(id, &w)
	if c != nil {
		if err := c.mayBind(lease, &w); err != nil {
			return err
		}
	}
	if _, err := t.merge(c, id, lease, w.Ports); err != nil {
		return err
	}
	if c == nil && t.reservation(lease.OrderID, w.Number) == nil && !t.room(&w.Selection) {
		return t.exhausted(w.Selection, 1)
	}
	return nil
}

// usable returns the claim of an ID, but not one that cools and is not as asked
// for: that goes on cooling without a name.
func (t *Table) usable(id ClaimID, w *Want) *claim {
	c := t.claims[id]
	if c != nil && c.state == Cooling && !c.satisfies(w.Selection) {
		return nil
	}
	return c
}

// room reports whether a new claim could be made.
func (t *Table) room(s *Selection) bool {
	family := t.families(*s)
	for _, f := range [...]Family{IPv4, IPv6} {
		if family&f == 0 {
			continue
		}
		if _, _, ok := t.find(f, s); !ok {
			return false
		}
	}
	return true
}

// mayBind checks whether a lease may have its ports on a claim.
func (c *claim) mayBind(lease market.LeaseID, w *Want) error {
	switch {
	case c.state == Bound && c.holder != lease.DeploymentID:
		return &WithheldError{c.id, c.holder, c.cameFrom(lease.DeploymentID)}
	case c.state != Bound && !c.satisfies(w.Selection):
		return &MismatchError{c.id, w.Selection}
	}
	return nil
}

// cameFrom reports whether the claim was moved here from a deployment.
func (c *claim) cameFrom(id market.DeploymentID) bool {
	m := c.migration
	return c.from == id || m != nil && m.Phase == Switched && m.From == id
}

// fresh returns a claim for an ID that has none that can be used: what is
// reserved, or a new one; nil when there is no address.
func (t *Table) fresh(id ClaimID, reserved *claim, w *Want) *claim {
	c := reserved
	if c != nil {
		unchain(t.orders, c.order, c)
		t.schedule(c, time.Time{})
		c.order, c.number = market.OrderID{}, 0
	} else if c = t.allocate(&w.Selection, Bound); c == nil {
		return nil
	}
	c.id = id
	if old := t.claims[id]; old != nil {
		old.id.Name = "" // it cools under its address alone
		t.touch(old)
	}
	t.claims[id] = c
	return c
}

// hold binds a claim to a deployment, if it is not.
func (t *Table) hold(c *claim, holder market.DeploymentID) {
	if c.holder == holder {
		return
	}
	t.schedule(c, time.Time{})
	t.move(c, Bound)
	c.holder = holder
	chain(t.holders, holder, c)
}

// setPorts replaces the ports of a claim, if they differ.
func (t *Table) setPorts(c *claim, ports []Port) {
	if len(ports) > 0 && len(c.ports) == len(ports) && &c.ports[0] == &ports[0] {
		return
	}
	c.ports = ports
	t.revise(c)
}

// Release takes the ports of a lease off a claim. A claim without ports is
// parked if it is retained, else it cools; while it is being moved it goes to
// the other side. Releasing what the lease does not have is fine.
func (t *Table) Release(lease market.LeaseID, name string, now time.Time) {
	c := t.claims[ClaimID{lease.Owner, name}]
	if c == nil || c.state != Bound || c.holder != lease.DeploymentID {
		return
	}
	left := without(c.ports, lease)
	switch {
	case len(left) == len(c.ports):
		return
	case len(left) > 0:
		t.setPorts(c, left)
	case c.migration != nil && c.migration.Phase == Switched:
		t.swap(c)
		t.endMove(c)
	default:
		t.letGo(c, now)
	}
}

// letGo takes a claim from its holder.
func (t *Table) letGo(c *claim, now time.Time) {
	unchain(t.holders, c.holder, c)
	t.endMove(c)
	c.holder, c.from, c.ports = market.DeploymentID{}, market.DeploymentID{}, nil
	if c.retained {
		t.move(c, Parked)
	} else {
		t.cool(c, now)
	}
	t.revise(c)
}

// cool gives a claim its rest.
func (t *Table) cool(c *claim, now time.Time) {
	t.move(c, Cooling)
	t.schedule(c, now.Add(t.cooling))
}
