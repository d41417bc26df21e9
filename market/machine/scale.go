package machine

import (
	"math"
	"slices"

	"github.com/moorage-dev/moorage/lease"
	"github.com/moorage-dev/moorage/market"
)

func (m *Machine) scaleLease(at Moment, msg market.ScaleLease) error {
	l, err := m.activeLease(msg.ID)
	if err != nil {
		return err
	}
	o, err := m.Orders.Get(l.ID.OrderID)
	if err != nil {
		return err
	}
	spec, err := o.Spec.WithCounts(msg.Counts)
	if err != nil {
		return err
	}
	if slices.Equal(spec.Counts(), o.Spec.Counts()) {
		return m.takeScaleBack(l)
	}
	ask, err := m.newScale(at, l, spec, msg)
	if err != nil {
		return err
	}
	if err := m.dropLeaseTimers(l); err != nil {
		return err
	}
	l.Scales, l.Scale = ask.Number, &ask
	m.emit(market.EventScaleRequested, l.ID)
	if err := m.addLeaseTimers(l); err != nil {
		return err
	}
	return m.Leases.Set(l.ID, l)
}

// newScale makes the request of a message for a group with its new counts.
func (m *Machine) newScale(at Moment, l market.Lease, spec market.GroupSpec, msg market.ScaleLease) (market.Scale, error) {
	var none market.Scale
	if l.Scales == math.MaxUint32 {
		return none, market.Refuse(market.ErrLimit, "lease-scales", "lease %s has used up its requests to scale", l.ID)
	}
	bid, err := m.Bids.Get(l.ID.Bid())
	if err != nil {
		return none, err
	}
	price, err := spec.PriceOf(bid.Price.Denom, bid.Units)
	if err != nil {
		return none, err
	}
	if most := msg.MaxPrice; most != (market.Price{}) && (most.Denom != price.Denom || price.AmountPerBlock.Cmp(most.AmountPerBlock) > 0) {
		return none, market.Refuse(market.ErrMismatch, "scale-price-over-max", "lease %s would cost %s, at most %s is wanted", l.ID, price, most)
	}
	ask := market.Scale{Number: l.Scales + 1, Counts: spec.Counts(), Price: price, Hash: msg.Hash, RequestedAt: at.Height}
	if n := m.Params.ScaleBlocks; n > 0 {
		ask.ExpiresAt = at.Height + n
	}
	if msg.Hash == (market.Hash{}) {
		return ask, nil
	}
	d, err := m.Deployments.Get(l.ID.DeploymentID)
	if err != nil {
		return none, err
	}
	if msg.Hash == d.Hash {
		return none, market.Refuse(market.ErrInvalid, "deployment-hash", "hash %s of deployment %s is the present one", msg.Hash, d.ID)
	}
	ask.From = d.Hash
	return ask, nil
}

// takeScaleBack drops the request that a lease waits with.
func (m *Machine) takeScaleBack(l market.Lease) error {
	if l.Scale == nil {
		return market.Refuse(market.ErrInvalid, "scale-nothing", "lease %s has these counts already", l.ID)
	}
	return m.dropScale(l)
}

// dropScale ends a request without effect.
func (m *Machine) dropScale(l market.Lease) error {
	if err := m.dropLeaseTimers(l); err != nil {
		return err
	}
	l.Scale = nil
	m.emit(market.EventScaleDropped, l.ID)
	return m.Leases.Set(l.ID, l)
}

// askedScale returns an active lease with the request of a number.
func (m *Machine) askedScale(at Moment, id market.LeaseID, number uint32) (market.Lease, error) {
	l, err := m.activeLease(id)
	switch {
	case err != nil:
		return l, err
	case l.Scale == nil:
		return l, market.Refuse(market.ErrState, "scale-not-asked", "lease %s has no request to scale", id)
	case l.Scale.Number != number:
		return l, market.Refuse(market.ErrState, "scale-outdated", "request %d of lease %s is answered, %d waits", number, id, l.Scale.Number)
	case l.Scale.ExpiresAt != 0 && at.Height > l.Scale.ExpiresAt:
		return l, market.Refuse(market.ErrState, "scale-outdated", "request %d of lease %s lapsed at %d", number, id, l.Scale.ExpiresAt)
	}
	return l, nil
}

func (m *Machine) declineScale(at Moment, msg market.DeclineScale) error {
	l, err := m.askedScale(at, msg.ID, msg.Number)
	if err != nil {
		return err
	}
	return m.dropScale(l)
}

func (m *Machine) confirmScale(at Moment, msg market.ConfirmScale) error {
	l, err := m.askedScale(at, msg.ID, msg.Number)
	if err != nil {
		return err
	}
	ask := *l.Scale
	if err := m.reprice(at, l, ask.Price); err != nil {
		return err
	}
	if err := m.setCounts(l.ID.OrderID, ask.Counts); err != nil {
		return err
	}
	if err := m.dropLeaseTimers(l); err != nil {
		return err
	}
	l.Price, l.Scale = ask.Price, nil
	if err := m.Leases.Set(l.ID, l); err != nil {
		return err
	}
	m.emit(market.EventScaleConfirmed, l.ID)
	return m.setScaledHash(l.ID.DeploymentID, ask)
}

// reprice settles the account at the old price and goes on at the new one. A
// lease that gets dearer must be paid for like a new one: no debts, and the
// price of a block at hand.
func (m *Machine) reprice(at Moment, l market.Lease, price market.Price) error {
	b, err := m.book(l.ID.DeploymentID)
	if err != nil {
		return err
	}
	if err := b.Reprice(at.Height, l.ID, price); err != nil {
		return err
	}
	if price.AmountPerBlock.Cmp(l.Price.AmountPerBlock) > 0 {
		if b.Account.State != market.AccountOpen {
			return market.Refuse(market.ErrState, "account-overdrawn", "account %s is %s", b.Account.ID, b.Account.State)
		}
		if err := checkFunded(b.Book, l.ID, price); err != nil {
			return err
		}
	}
	return m.keep(b)
}

// setCounts writes new counts into an order and its group, so that what is
// ordered next is what ran last.
func (m *Machine) setCounts(id market.OrderID, counts []market.UnitCount) error {
	o, err := m.Orders.Get(id)
	if err != nil {
		return err
	}
	g, err := m.Groups.Get(id.GroupID)
	if err != nil {
		return err
	}
	if o.Spec, err = o.Spec.WithCounts(counts); err != nil {
		return err
	}
	if g.Spec, err = g.Spec.WithCounts(counts); err != nil {
		return err
	}
	if err := m.Orders.Set(o.ID, o); err != nil {
		return err
	}
	return m.Groups.Set(g.ID, g)
}

// setScaledHash replaces the hash of a deployment by that of a request, if it
// has one.
func (m *Machine) setScaledHash(id market.DeploymentID, ask market.Scale) error {
	if ask.Hash == (market.Hash{}) {
		return nil
	}
	d, err := m.Deployments.Get(id)
	if err != nil {
		return err
	}
	if d.Hash != ask.From {
		return market.Refuse(market.ErrState, "scale-hash-changed", "deployment %s was at hash %s when the request was made and is at %s", id, ask.From, d.Hash)
	}
	d.Hash = ask.Hash
	m.emit(market.EventDeploymentUpdated, deploymentEvent(id))
	return m.Deployments.Set(d.ID, d)
}

// activeLease returns a lease that is neither closed nor closing.
func (m *Machine) activeLease(id market.LeaseID) (market.Lease, error) {
	l, err := m.liveLease(id)
	if err == nil && l.State != market.LeaseActive {
		err = market.Refuse(market.ErrState, "lease-not-active", "lease %s is %s", id, l.State)
	}
	return l, err
}

// checkFunded checks that an account holds at least the price of one block.
func checkFunded(b *lease.Book, id market.LeaseID, price market.Price) error {
	funds, err := b.Account.Funds()
	if err != nil {
		return err
	}
	if funds.Of(price.Denom).Cmp(price.AmountPerBlock.Ceil()) < 0 {
		return market.Refuse(market.ErrInsufficientFunds, "lease-not-funded", "account %s holds %v, lease %s costs %s", b.Account.ID, funds, id, price)
	}
	return nil
}
