package machine

import (
	"slices"

	"github.com/moorage-dev/moorage/market"
)

// unlist takes an order out of the open orders and their expiry queue.
func (m *Machine) unlist(o market.Order) error {
	if err := m.dropRef(RefOpenOrder, orderEvent(o.ID)); err != nil {
		return err
	}
	if o.ExpiresAt == 0 {
		return nil
	}
	return m.Timers.Delete(orderTimer(o))
}

// endOrder closes an order that is not closed, with its lease or its open bids.
func (m *Machine) endOrder(at Moment, b *book, o market.Order, reason market.CloseReason) error {
	if o.State == market.OrderMatched {
		if err := m.endLeaseOf(at, b, o.ID, reason); err != nil {
			return err
		}
	} else {
		if err := m.unlist(o); err != nil {
			return err
		}
		if err := m.endOpenBids(at, o.ID, o.Bids, market.BidWithdrawn); err != nil {
			return err
		}
	}
	return m.closeOrder(at, o)
}

// closeOrder writes the closed state of an order that has no live bid any more.
func (m *Machine) closeOrder(at Moment, o market.Order) error {
	o.State, o.ClosedAt, o.Bids = market.OrderClosed, at.Height, 0
	m.emit(market.EventOrderClosed, orderEvent(o.ID))
	return m.Orders.Set(o.ID, o)
}

// endLeaseOf ends the lease of a matched order: that of its open payment.
func (m *Machine) endLeaseOf(at Moment, b *book, id market.OrderID, reason market.CloseReason) error {
	i := slices.IndexFunc(b.Payments, func(p market.Payment) bool { return p.ID.OrderID == id && !p.State.Terminal() })
	if i < 0 {
		return nil
	}
	l, err := m.Leases.Get(b.Payments[i].ID)
	if err != nil {
		return err
	}
	return m.endLease(at, b, l, reason)
}

// expireOrder closes an order whose time is over; its group is paused.
func (m *Machine) expireOrder(at Moment, t Timer) error {
	o, ok, err := lookup(m.Orders, t.ID)
	if err != nil || !ok || o.State != market.OrderOpen || o.ExpiresAt != t.Height {
		return err
	}
	g, err := m.Groups.Get(o.ID.GroupID)
	if err != nil {
		return err
	}
	return m.stop(at, g, market.GroupPaused, market.ReasonNone)
}
