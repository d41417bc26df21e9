package machine

import (
	"math"

	"github.com/moorage-dev/moorage/market"
)

// liveGroup returns a group that is not closed.
func (m *Machine) liveGroup(id market.GroupID) (market.Group, error) {
	g, err := need(m.Groups, id, "group")
	if err == nil && g.State.Terminal() {
		err = market.Refuse(market.ErrState, "group-closed", "group %s is closed", id)
	}
	return g, err
}

func (m *Machine) closeGroup(at Moment, msg market.CloseGroup) error {
	g, err := m.liveGroup(msg.ID)
	if err != nil {
		return err
	}
	return m.stop(at, g, market.GroupClosed, market.ReasonTenant)
}

func (m *Machine) pauseGroup(at Moment, msg market.PauseGroup) error {
	g, err := m.liveGroup(msg.ID)
	if err != nil {
		return err
	}
	if g.State != market.GroupOpen {
		return market.Refuse(market.ErrState, "group-not-open", "group %s is %s", g.ID, g.State)
	}
	return m.stop(at, g, market.GroupPaused, market.ReasonTenant)
}

func (m *Machine) startGroup(at Moment, msg market.StartGroup) error {
	g, err := m.liveGroup(msg.ID)
	if err != nil {
		return err
	}
	if g.State == market.GroupOpen {
		return market.Refuse(market.ErrState, "group-open", "group %s is open already", g.ID)
	}
	if err := m.openOrder(at, g); err != nil {
		return err
	}
	m.emit(market.EventGroupStarted, groupEvent(g.ID))
	return nil
}

// stop is [Machine.stopGroup] with the account loaded and kept.
func (m *Machine) stop(at Moment, g market.Group, to market.GroupState, reason market.CloseReason) error {
	b, err := m.book(g.ID.DeploymentID)
	if err != nil {
		return err
	}
	if err := m.stopGroup(at, b, g, to, reason); err != nil {
		return err
	}
	return m.keep(b)
}

// stopGroup takes a group that is not closed out of the market: its order ends
// with all bids and the lease. The caller keeps the account.
func (m *Machine) stopGroup(at Moment, b *book, g market.Group, to market.GroupState, reason market.CloseReason) error {
	if g.State == market.GroupOpen {
		o, err := m.Orders.Get(market.OrderID{GroupID: g.ID, OSeq: g.LastOSeq})
		if err != nil {
			return err
		}
		if err := m.endOrder(at, b, o, reason); err != nil {
			return err
		}
	}
	g.State = to
	kind := market.EventGroupPaused
	if to.Terminal() {
		kind = market.EventGroupClosed
	}
	m.emit(kind, groupEvent(g.ID))
	return m.Groups.Set(g.ID, g)
}

// openOrder makes a group open with a new order.
func (m *Machine) openOrder(at Moment, g market.Group) error {
	if g.LastOSeq == math.MaxUint32 {
		return market.Refuse(market.ErrLimit, "group-orders", "group %s has used up its order numbers", g.ID)
	}
	g.State = market.GroupOpen
	g.LastOSeq++
	o := market.Order{
		ID:        market.OrderID{GroupID: g.ID, OSeq: g.LastOSeq},
		State:     market.OrderOpen,
		Spec:      g.Spec,
		CreatedAt: at.Height,
	}
	if life := m.Params.OrderLifetimeBlocks; life > 0 {
		o.ExpiresAt = at.Height + life
		if err := m.addTimer(orderTimer(o)); err != nil {
			return err
		}
	}
	if err := m.addRef(RefOpenOrder, orderEvent(o.ID)); err != nil {
		return err
	}
	if err := m.Groups.Set(g.ID, g); err != nil {
		return err
	}
	m.emit(market.EventOrderCreated, orderEvent(o.ID))
	return m.Orders.Set(o.ID, o)
}
