package iplease

import (
	"net/netip"
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
	// Ports are at least one, in any order; Lease and Number are filled in.
	Ports []Port
}

// Outcome is what became of a [Want].
type Outcome struct {
	Name string
	// Claim is what the lease has; its State is Free when it has nothing.
	Claim Claim
	// Err says why the want is not met: a [*WithheldError], [*ConflictError],
	// [*ExhaustedError], [*KeptError], [*MismatchError] or [*NumberError], or wraps
	// [market.ErrInvalid]. With a conflict with another lease the lease has the ports
	// that are not taken; else what it had before stays as it was.
	Err error
}

// Update makes the claims of a lease exactly as wanted: claims are bound, ports
// added, taken away and retargeted, and endpoints that are not wanted any more
// are released. Addresses of claims that stay do not change. A lease has at most
// one claim for each number: an endpoint under a new name gets the address that
// the deployment has just let go under an old one. Reservations of the order that
// no want has used are freed. The outcomes are in the order of the wants; one that
// cannot be met does not keep the others from it.
func (t *Table) Update(lease market.LeaseID, wants []Want, now time.Time) []Outcome {
	for _, c := range t.HeldBy(lease.DeploymentID) {
		if !slices.ContainsFunc(wants, func(w Want) bool { return w.Name == c.ID.Name }) {
			t.Release(lease, c.ID.Name, now)
		}
	}
	t.abandon(lease, wants)
	out := make([]Outcome, len(wants))
	for i, w := range wants {
		out[i] = Outcome{Name: w.Name, Err: t.renumber(lease, w, wants[:i])}
	}
	// What has a claim by its name leaves what is reserved to the others.
	for _, named := range [...]bool{true, false} {
		for i := range wants {
			o, w := &out[i], &wants[i]
			if o.Err == nil && o.Claim.State == Free && named == (t.usable(ClaimID{lease.Owner, w.Name}, w) != nil) {
				o.Claim, o.Err = t.Bind(lease, *w, now)
			}
		}
	}
	t.Unreserve(lease.OrderID)
	return out
}

// renumber gives a claim that a lease keeps the number that it has now. The error
// is a [*NumberError] when a want before has the name or the number.
func (t *Table) renumber(lease market.LeaseID, w Want, before []Want) error {
	id := ClaimID{lease.Owner, w.Name}
	for _, b := range before {
		if b.Name == w.Name || b.Number == w.Number {
			return &NumberError{id, w.Number, b.Name}
		}
	}
	if c := t.claims[id]; c != nil && c.holder == lease.DeploymentID && c.has(lease) && !c.counts(lease, w.Number) {
		ports := slices.Clone(c.ports)
		for i := range ports {
			if ports[i].Lease == lease {
				ports[i].Number = w.Number
			}
		}
		t.setPorts(c, ports)
	}
	return nil
}

// Close releases all that a lease has and what is reserved for its order.
// Closing what has nothing is fine.
func (t *Table) Close(lease market.LeaseID, now time.Time) {
	for _, c := range t.HeldBy(lease.DeploymentID) {
		t.Release(lease, c.ID.Name, now)
	}
	t.abandon(lease, nil)
	t.Unreserve(lease.OrderID)
}

// Bind meets one want: it takes the claim of that name if it is there and may be
// had, else the address that is reserved for the number, else one that the
// deployment has let go and that cools, else a new one, and sets the lease's ports.
// A lease that has another claim for the number gets none. See [Outcome.Err] for
// the errors. Meeting a want that is met changes nothing.
func (t *Table) Bind(lease market.LeaseID, w Want, now time.Time) (Claim, error) {
	id := ClaimID{lease.Owner, w.Name}
	if err := w.validate(id); err != nil {
		return Claim{}, err
	}
	c, reserved := t.usable(id, &w), t.reservation(lease.OrderID, w.Number)
	if err := t.mayBind(c, id, lease, &w); err != nil {
		return Claim{}, err
	}
	ports, refused := t.merge(c, id, lease, &w)
	switch {
	case ports == nil:
		return t.has(id, lease), refused
	case c != nil:
		t.settle(c, reserved, lease.OrderID)
	default:
		var err error
		if c, err = t.fresh(id, lease, reserved, &w); err != nil {
			return Claim{}, err
		}
		if len(c.rules) > 0 { // it had the address before
			ports, _ = t.merge(c, id, lease, &w)
		}
	}
	t.hold(c, lease.DeploymentID)
	t.setPorts(c, ports)
	return c.picture(), refused
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
	c, reserved := t.usable(id, &w), t.reservation(lease.OrderID, w.Number)
	if err := t.mayBind(c, id, lease, &w); err != nil {
		return err
	}
	if _, err := t.merge(c, id, lease, &w); err != nil {
		return err
	}
	if c != nil || reserved != nil && reserved.state == Reserved || t.rested(lease, &w) != nil || t.room(&w.Selection) {
		return nil
	}
	return t.none(reserved, &w)
}

// none says why there is no address for a want; reserved is what the order has for
// it, parked under another name or nil.
func (t *Table) none(reserved *claim, w *Want) error {
	if reserved != nil {
		return &KeptError{reserved.id, w.Name}
	}
	return t.exhausted(w.Selection, 1)
}

// Serves says whether the wants of a lease without claims can be met out of what
// is reserved for its order. The error is a [*KeptError]: a parked claim backs the
// order, no want has its name, and there is no other address. Nothing that is seen
// changes.
func (t *Table) Serves(lease market.LeaseID, wants []Want) error {
	var kept *claim
	reserved := 0
	for c := t.orders[lease.OrderID]; c != nil; c = c.next {
		switch {
		case c.state == Reserved:
			reserved++
		case !slices.ContainsFunc(wants, func(w Want) bool { return w.Name == c.id.Name }):
			kept = c
		}
	}
	var tried []*claim
	defer func() {
		for _, c := range tried {
			t.remove(c)
		}
	}()
	for i := range wants {
		w := &wants[i]
		if kept == nil || t.usable(ClaimID{lease.Owner, w.Name}, w) != nil {
			continue
		}
		if reserved--; reserved >= 0 {
			continue
		}
		c := t.allocate(lease.Owner, &w.Selection, Reserved)
		if c == nil {
			return &KeptError{kept.id, w.Name}
		}
		tried = append(tried, c)
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

// mayBind checks whether a lease may have its ports on a claim, nil for a new one.
// That a claim is as asked for is settled once the lease is on it: pools may
// change.
func (t *Table) mayBind(c *claim, id ClaimID, lease market.LeaseID, w *Want) error {
	switch {
	case c == nil:
	case c.state == Bound && c.holder != lease.DeploymentID:
		return &WithheldError{c.id, c.holder, c.cameFrom(lease.DeploymentID)}
	case c.has(lease):
		return nil
	case !c.satisfies(w.Selection):
		return &MismatchError{c.id, w.Selection}
	}
	return t.unpaid(c, id, lease, w.Number)
}

// unpaid returns a [*NumberError] when a lease has another claim than c for a
// number.
func (t *Table) unpaid(c *claim, id ClaimID, lease market.LeaseID, number uint32) error {
	for o := t.holders[lease.DeploymentID]; o != nil; o = o.next {
		if o != c && o.counts(lease, number) {
			return &NumberError{id, number, o.id.Name}
		}
	}
	return nil
}

// cameFrom reports whether the claim was moved here from a deployment.
func (c *claim) cameFrom(id market.DeploymentID) bool {
	m := c.migration
	return c.from == id || m != nil && m.Phase == Switched && m.From == id
}

// fresh returns a claim for an ID that has none that can be used: what is
// reserved, what the deployment has let go, or a new one.
func (t *Table) fresh(id ClaimID, lease market.LeaseID, reserved *claim, w *Want) (*claim, error) {
	c := reserved
	if c == nil || c.state != Reserved {
		if c = t.rested(lease, w); c == nil {
			c = t.allocate(id.Owner, &w.Selection, Bound)
		}
		if c == nil {
			return nil, t.none(reserved, w)
		}
	}
	if reserved != nil {
		t.unreserve(reserved)
		t.touch(reserved)
	}
	if old := t.claims[id]; old != nil {
		t.unname(old) // it cools under its address alone
	}
	t.unname(c)
	c.id.Name = id.Name
	c.former = withoutName(c.former, id.Name)
	t.claims[id] = c
	return c, nil
}

// rested returns what the deployment of a lease has let go and can have again
// under another name: that for the same number, else the one with the lowest
// address; nil for none.
func (t *Table) rested(lease market.LeaseID, w *Want) (out *claim) {
	for c := t.owners[lease.Owner]; c != nil; c = c.after {
		if c.state != Cooling || c.from != lease.DeploymentID || !c.satisfies(w.Selection) {
			continue
		}
		if out == nil || (c.number == w.Number) != (out.number == w.Number) && c.number == w.Number ||
			(c.number == w.Number) == (out.number == w.Number) && c.key().Less(out.key()) {
			out = c
		}
	}
	return out
}

// unname takes the name off a claim, which may still be announced under it.
func (t *Table) unname(c *claim) {
	if c.id.Name == "" {
		return
	}
	delete(t.claims, c.id)
	if !slices.Contains(c.former, c.id.Name) {
		c.former = append(slices.Clone(c.former), c.id.Name)
	}
	c.id.Name = ""
	t.touch(c)
}

// Withdrawn notes that no announcer has an address under a former name of its
// claim any more.
func (t *Table) Withdrawn(at netip.Addr, former string) {
	c := t.addrs[at]
	if c == nil || !slices.Contains(c.former, former) {
		return
	}
	c.former = withoutName(c.former, former)
	t.touch(c)
}

// withoutName returns the names but one; nil for none.
func withoutName(names []string, name string) []string {
	left := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name })
	if len(left) == 0 {
		return nil
	}
	return left
}

// settle gives back what is reserved for a want that a claim by its name meets. If
// that claim backs an order, what was reserved takes its place.
func (t *Table) settle(c, reserved *claim, order market.OrderID) {
	if c.backs() {
		backed, number, until := c.order, c.number, c.until
		t.unback(c)
		if reserved != nil && reserved != c && (backed == order || reserved.alike(c)) {
			t.unreserve(reserved)
			t.reserveFor(reserved, backed, number)
			t.schedule(reserved, until)
			t.touch(reserved)
			return
		}
	}
	if reserved != nil && reserved != c {
		t.dropReservation(reserved)
	}
}

// hold binds a claim to a deployment, if it is not.
func (t *Table) hold(c *claim, holder market.DeploymentID) {
	if c.holder == holder {
		return
	}
	t.schedule(c, time.Time{})
	t.move(c, Bound)
	c.holder, c.from, c.number = holder, market.DeploymentID{}, 0
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
	c.number = c.ports[0].Number
	c.from, c.holder, c.ports = c.holder, market.DeploymentID{}, nil
	if c.retained {
		t.park(c)
	} else {
		t.cool(c, now)
	}
	t.revise(c)
}

// park keeps a claim, for whatever order.
func (t *Table) park(c *claim) {
	t.move(c, Parked)
	c.number = 0
}

// cool gives a claim its rest.
func (t *Table) cool(c *claim, now time.Time) {
	t.move(c, Cooling)
	t.schedule(c, now.Add(t.cooling))
}
