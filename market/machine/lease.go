package machine

import (
	"github.com/moorage-dev/moorage/lease"
	"github.com/moorage-dev/moorage/market"
)

func (m *Machine) createLease(at Moment, msg market.CreateLease) error {
	bid, err := need(m.Bids, msg.ID, "bid")
	if err != nil {
		return err
	}
	l, err := lease.Begin(bid, at.Height)
	if err != nil {
		return err
	}
	if err := m.startPayment(at, l); err != nil {
		return err
	}
	bid.State = market.BidWon
	if err := m.setBid(bid); err != nil {
		return err
	}
	m.emit(market.EventLeaseCreated, l.ID)
	if err := m.Leases.Set(l.ID, l); err != nil {
		return err
	}
	return m.matchOrder(at, bid.ID.OrderID)
}

// startPayment opens the payment of a new lease. The account must hold at
// least the price of its first block.
func (m *Machine) startPayment(at Moment, l market.Lease) error {
	b, err := m.book(l.ID.DeploymentID)
	if err != nil {
		return err
	}
	if err := b.Start(at.Height, l.ID, l.Price); err != nil {
		return err
	}
	if err := checkFunded(b.Book, l.ID, l.Price); err != nil {
		return err
	}
	if err := m.addRef(RefOpenPayment, l.ID); err != nil {
		return err
	}
	return m.keep(b)
}

// matchOrder writes the matched state of an order; its other bids lose.
func (m *Machine) matchOrder(at Moment, id market.OrderID) error {
	o, err := m.Orders.Get(id)
	if err != nil {
		return err
	}
	if err := m.unlist(o); err != nil {
		return err
	}
	others := o.Bids - 1
	o.State, o.Bids = market.OrderMatched, 0
	if err := m.Orders.Set(o.ID, o); err != nil {
		return err
	}
	return m.endOpenBids(at, o.ID, others, market.BidLost)
}

func (m *Machine) closeLease(at Moment, msg market.CloseLease) error {
	l, err := m.liveLease(msg.ID)
	if err != nil {
		return err
	}
	b, err := m.book(l.ID.DeploymentID)
	if err != nil {
		return err
	}
	if err := m.endLease(at, b, l, market.ReasonTenant); err != nil {
		return err
	}
	if err := m.keep(b); err != nil {
		return err
	}
	o, err := m.Orders.Get(l.ID.OrderID)
	if err != nil {
		return err
	}
	if err := m.closeOrder(at, o); err != nil {
		return err
	}
	g, err := m.Groups.Get(l.ID.GroupID)
	if err != nil {
		return err
	}
	return m.openOrder(at, g)
}

// liveLease returns a lease that is not closed.
func (m *Machine) liveLease(id market.LeaseID) (market.Lease, error) {
	l, err := need(m.Leases, id, "lease")
	if err == nil && l.State.Terminal() {
		err = market.Refuse(market.ErrState, "lease-closed", "lease %s is closed", id)
	}
	return l, err
}

// endLease closes a lease with its payment and bid: the provider gets what it
// has earned and its bid's deposit. The caller sees to the order and keeps the
// account.
func (m *Machine) endLease(at Moment, b *book, l market.Lease, reason market.CloseReason) error {
	if err := m.dropLeaseTimers(l); err != nil {
		return err
	}
	l, err := lease.End(l, at.Height, reason)
	if err != nil {
		return err
	}
	if err := m.Leases.Set(l.ID, l); err != nil {
		return err
	}
	if err := m.endPayment(at, b, l.ID); err != nil {
		return err
	}
	m.emit(market.EventLeaseClosed, l.ID)
	bid, err := m.Bids.Get(l.ID.Bid())
	if err != nil {
		return err
	}
	return m.endBid(at, bid, market.BidClosed)
}

func (m *Machine) withdrawLease(at Moment, msg market.WithdrawLease) error {
	l, err := m.liveLease(msg.ID)
	if err != nil {
		return err
	}
	b, err := m.book(l.ID.DeploymentID)
	if err != nil {
		return err
	}
	out, err := b.Withdraw(at.Height, l.ID, m.Params.FeePerMyriad)
	if err != nil {
		return err
	}
	m.emit(market.EventPaymentWithdrawn, l.ID)
	if err := m.payOut(out); err != nil {
		return err
	}
	return m.keep(b)
}
