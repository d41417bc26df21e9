package lease

import "github.com/moorage-dev/moorage/market"

// Begin returns the lease that an open bid becomes when it wins at a height. A
// bid that is not open is [market.ErrState].
func Begin(b market.Bid, height int64) (market.Lease, error) {
	if b.State != market.BidOpen {
		return market.Lease{}, market.Refuse(market.ErrState, "bid-not-open", "bid %s is %s", b.ID, b.State)
	}
	return market.Lease{ID: b.ID.Lease(), State: market.LeaseActive, Price: b.Price, CreatedAt: height}, nil
}

// GiveNotice returns a lease that its provider will end after so many blocks. A
// request to scale that waits is dropped. A lease that is not active is
// [market.ErrState].
func GiveNotice(l market.Lease, height, blocks int64, reason market.CloseReason) (market.Lease, error) {
	if l.State != market.LeaseActive {
		return market.Lease{}, market.Refuse(market.ErrState, "lease-not-active", "lease %s is %s", l.ID, l.State)
	}
	l.State, l.Reason, l.EndsAt, l.Scale = market.LeaseClosing, reason, height+blocks, nil
	return l, nil
}

// End returns the lease closed at a height for a reason. A lease that is closed
// already is [market.ErrState]: it cannot end twice.
func End(l market.Lease, height int64, reason market.CloseReason) (market.Lease, error) {
	if l.State.Terminal() {
		return market.Lease{}, market.Refuse(market.ErrState, "lease-closed", "lease %s is closed", l.ID)
	}
	l.State, l.ClosedAt, l.Reason, l.EndsAt, l.Scale = market.LeaseClosed, height, reason, 0, nil
	return l, nil
}
