package machine

import (
	"github.com/moorage-dev/moorage/market"
)

func (m *Machine) createBid(at Moment, msg market.CreateBid) error {
	o, err := need(m.Orders, msg.ID.OrderID, "order")
	if err != nil {
		return err
	}
	if o.State != market.OrderOpen {
		return market.Refuse(market.ErrState, "order-not-open", "order %s is %s", o.ID, o.State)
	}
	if err := m.checkBid(at, msg, o); err != nil {
		return err
	}
	old, there, err := lookup(m.Bids, msg.ID)
	if err != nil {
		return err
	}
	if there {
		if err := checkRenewal(old, msg); err != nil {
			return err
		}
	}
	if err := m.take(msg.ID.Provider, msg.Deposit); err != nil {
		return err
	}
	o.Bids++
	if err := m.Orders.Set(o.ID, o); err != nil {
		return err
	}
	bid := market.Bid{ID: msg.ID, State: market.BidOpen, Price: msg.Price, Units: msg.Units, Deposit: msg.Deposit, CreatedAt: at.Height}
	m.emit(market.EventBidCreated, bid.ID.Lease())
	return m.setBid(bid)
}

// checkRenewal checks an offer that takes the place of an older one. It may not
// ask for more: a tenant who accepts a bid must not get a dearer one under the
// same name.
func checkRenewal(old market.Bid, msg market.CreateBid) error {
	if old.State != market.BidWithdrawn {
		return market.Refuse(market.ErrExists, "bid-exists", "bid %s is %s", msg.ID, old.State)
	}
	if msg.Price.AmountPerBlock.Cmp(old.Price.AmountPerBlock) > 0 {
		return market.Refuse(market.ErrMismatch, "bid-price-raised", "bid %s was withdrawn at %s and asks %s now", msg.ID, old.Price, msg.Price)
	}
	for i, u := range msg.Units {
		if i < len(old.Units) && u.AmountPerBlock.Cmp(old.Units[i].AmountPerBlock) > 0 {
			return market.Refuse(market.ErrMismatch, "bid-price-raised", "bid %s was withdrawn and asks more for unit %d now", msg.ID, u.Unit)
		}
	}
	return nil
}

// checkBid checks an offer against its order.
func (m *Machine) checkBid(at Moment, msg market.CreateBid, o market.Order) error {
	if msg.ID.Provider == o.ID.Owner {
		return market.Refuse(market.ErrUnauthorized, "bid-own-order", "%s bids on an order of its own", msg.ID.Provider)
	}
	p, err := need(m.Providers, msg.ID.Provider, "provider")
	if err != nil {
		return err
	}
	ceiling, err := o.Spec.Ceiling()
	if err != nil {
		return err
	}
	switch {
	case msg.Price.Denom != ceiling.Denom:
		return market.Refuse(market.ErrMismatch, "bid-price-denom", "bid in %s on an order in %s", msg.Price.Denom, ceiling.Denom)
	case msg.Price.AmountPerBlock.IsZero():
		return market.Refuse(market.ErrInvalid, "bid-price-zero", "bid %s", msg.ID)
	case msg.Price.AmountPerBlock.Cmp(ceiling.AmountPerBlock) > 0:
		return market.Refuse(market.ErrMismatch, "bid-price-over-ceiling", "bid %s asks %s, the order pays at most %s", msg.ID, msg.Price, ceiling)
	case o.Bids >= m.Params.MaxBids:
		return market.Refuse(market.ErrLimit, "order-bids", "order %s has %d bids", o.ID, o.Bids)
	}
	if err := checkUnitPrices(msg, o.Spec); err != nil {
		return err
	}
	if err := checkDeposit(msg.Deposit, m.Params.BidDeposits); err != nil {
		return err
	}
	audits, err := m.auditsFor(o.Spec.Requirements.SignedBy, p.Owner)
	if err != nil {
		return err
	}
	return o.Spec.Match(p, audits, at.Time)
}

// checkUnitPrices checks the prices per replica of a bid: there must be some if
// the group can be scaled, they add up to the price of the whole, and none is
// above what the tenant pays for a replica.
func checkUnitPrices(msg market.CreateBid, spec market.GroupSpec) error {
	if len(msg.Units) == 0 && !spec.Scalable() {
		return nil
	}
	sum, err := spec.PriceOf(msg.Price.Denom, msg.Units)
	if err != nil {
		return err
	}
	if sum != msg.Price {
		return market.Refuse(market.ErrInvalid, "bid-unit-prices", "bid %s asks %s, its prices per replica add up to %s", msg.ID, msg.Price, sum)
	}
	for i, u := range spec.Units {
		if ask := msg.Units[i].AmountPerBlock; ask.Cmp(u.Price.AmountPerBlock) > 0 {
			return market.Refuse(market.ErrMismatch, "bid-unit-price-over-ceiling", "bid %s asks %s for a replica of unit %d, the order pays at most %s", msg.ID, ask, u.ID, u.Price)
		}
	}
	return nil
}

// auditsFor returns what the auditors that an order names say of a provider.
func (m *Machine) auditsFor(by market.SignedBy, provider market.Address) ([]market.Audit, error) {
	var audits []market.Audit
	for _, list := range [][]market.Address{by.AllOf, by.AnyOf} {
		for _, auditor := range list {
			a, ok, err := lookup(m.Audits, market.AuditID{Provider: provider, Auditor: auditor})
			if err != nil {
				return nil, err
			}
			if ok {
				audits = append(audits, a)
			}
		}
	}
	return audits, nil
}

func (m *Machine) closeBid(at Moment, msg market.CloseBid) error {
	bid, err := need(m.Bids, msg.ID, "bid")
	if err != nil {
		return err
	}
	switch bid.State {
	case market.BidOpen:
		return m.withdrawBid(at, bid)
	case market.BidWon:
		return m.resign(at, bid, msg.Reason)
	default:
		return market.Refuse(market.ErrState, "bid-ended", "bid %s is %s", bid.ID, bid.State)
	}
}

func (m *Machine) withdrawBid(at Moment, bid market.Bid) error {
	o, err := m.Orders.Get(bid.ID.OrderID)
	if err != nil {
		return err
	}
	o.Bids--
	if err := m.Orders.Set(o.ID, o); err != nil {
		return err
	}
	return m.endBid(at, bid, market.BidWithdrawn)
}

// endOpenBids ends all open bids of an order. There are n: for none, it does not
// look, since a scan costs more than all else that a match takes.
func (m *Machine) endOpenBids(at Moment, id market.OrderID, n uint32, to market.BidState) error {
	if n == 0 {
		return nil
	}
	refs, err := collect(m.Refs.Scan(refPrefix(RefOpenBid, id), nil))
	if err != nil {
		return err
	}
	for _, r := range refs {
		bid, err := m.Bids.Get(r.ID.Bid())
		if err != nil {
			return err
		}
		if err := m.endBid(at, bid, to); err != nil {
			return err
		}
	}
	return nil
}

// endBid gives a bid its final state, and the deposit back.
func (m *Machine) endBid(at Moment, bid market.Bid, to market.BidState) error {
	if err := m.give(bid.ID.Provider, bid.Deposit); err != nil {
		return err
	}
	bid.State, bid.ClosedAt = to, at.Height
	m.emit(market.EventBidClosed, bid.ID.Lease())
	return m.setBid(bid)
}

// setBid writes a bid and the refs of its state.
func (m *Machine) setBid(bid market.Bid) error {
	if err := m.Bids.Set(bid.ID, bid); err != nil {
		return err
	}
	id := bid.ID.Lease()
	for _, kind := range []RefKind{RefLiveBid, RefOpenBid} {
		if err := m.dropRef(kind, id); err != nil {
			return err
		}
	}
	for _, r := range bidRefs(bid) {
		if err := m.addRef(r.Kind, r.ID); err != nil {
			return err
		}
	}
	return nil
}
