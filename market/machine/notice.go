package machine

import (
	"github.com/moorage-dev/moorage/lease"
	"github.com/moorage-dev/moorage/market"
)

// resign ends the lease of a bid that has won, by the provider's wish: at once,
// or after the notice that the order asks for. The group is paused then.
func (m *Machine) resign(at Moment, bid market.Bid, reason market.CloseReason) error {
	if !reason.Provider() {
		return market.Refuse(market.ErrInvalid, "close-reason", "a provider may not give reason %s", reason)
	}
	o, err := m.Orders.Get(bid.ID.OrderID)
	if err != nil {
		return err
	}
	if o.Spec.ReclaimBlocks > 0 {
		return m.giveNotice(at, bid.ID.Lease(), o.Spec.ReclaimBlocks, reason)
	}
	g, err := m.Groups.Get(bid.ID.GroupID)
	if err != nil {
		return err
	}
	return m.stop(at, g, market.GroupPaused, reason)
}

// giveNotice begins the last blocks of a lease.
func (m *Machine) giveNotice(at Moment, id market.LeaseID, blocks int64, reason market.CloseReason) error {
	old, err := m.Leases.Get(id)
	if err != nil {
		return err
	}
	l, err := lease.GiveNotice(old, at.Height, blocks, reason)
	if err != nil {
		return err
	}
	if old.Scale != nil {
		if err := m.dropLeaseTimers(old); err != nil {
			return err
		}
		m.emit(market.EventScaleDropped, id)
	}
	m.emit(market.EventLeaseClosing, id)
	if err := m.addLeaseTimers(l); err != nil {
		return err
	}
	if err := m.Leases.Set(id, l); err != nil {
		return err
	}
	b, err := m.book(id.DeploymentID)
	if err != nil {
		return err
	}
	if err := b.EndAt(id, l.EndsAt); err != nil {
		return err
	}
	return m.keep(b)
}

// endNotice closes a lease whose notice is over. However late that is, it has cost
// nothing since.
func (m *Machine) endNotice(at Moment, t Timer) error {
	l, ok, err := m.leaseOf(t.ID)
	if err != nil || !ok || l.EndsAt != t.Height {
		return err
	}
	g, err := m.Groups.Get(l.ID.GroupID)
	if err != nil {
		return err
	}
	return m.stop(at, g, market.GroupPaused, l.Reason)
}

// lapseScale drops a request that nobody has answered in time.
func (m *Machine) lapseScale(t Timer) error {
	l, ok, err := m.leaseOf(t.ID)
	if err != nil || !ok || l.Scale == nil || l.Scale.ExpiresAt != t.Height {
		return err
	}
	return m.dropScale(l)
}

// leaseOf returns the live lease of an order, if it has one.
func (m *Machine) leaseOf(id market.OrderID) (market.Lease, bool, error) {
	refs, err := collect(m.Refs.Scan(refPrefix(RefOpenPayment, id), nil))
	if err != nil || len(refs) == 0 {
		return market.Lease{}, false, err
	}
	l, err := m.Leases.Get(refs[0].ID) // there is one
	return l, err == nil, err
}

// leaseTimers returns the timers that belong to a lease.
func leaseTimers(l market.Lease) []Timer {
	var out []Timer
	if l.Scale != nil && l.Scale.ExpiresAt != 0 {
		out = append(out, Timer{Height: l.Scale.ExpiresAt, Kind: TimerScale, ID: l.ID.OrderID})
	}
	if l.EndsAt != 0 {
		out = append(out, Timer{Height: l.EndsAt, Kind: TimerNotice, ID: l.ID.OrderID})
	}
	return out
}

func (m *Machine) addLeaseTimers(l market.Lease) error {
	for _, t := range leaseTimers(l) {
		if err := m.addTimer(t); err != nil {
			return err
		}
	}
	return nil
}

func (m *Machine) dropLeaseTimers(l market.Lease) error {
	for _, t := range leaseTimers(l) {
		if err := m.Timers.Delete(t); err != nil {
			return err
		}
	}
	return nil
}
