package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// reconcileOrder does what an order calls for.
func (p *Provider) reconcileOrder(ctx context.Context, id market.OrderID) error {
	order, err := p.cfg.Market.Order(ctx, id)
	if errors.Is(err, market.ErrNotFound) {
		p.forgetOrder(id)
		return p.dropBid(id)
	}
	if err != nil {
		return err
	}
	bid, err := p.cfg.Market.Bid(ctx, market.BidID{OrderID: id, Provider: p.me})
	if err != nil && !errors.Is(err, market.ErrNotFound) {
		return err
	}
	switch {
	case bid.State == market.BidWon:
		p.forgetOrder(id)
		p.queue.add(leaseTask(bid.ID.Lease()))
		return nil
	case order.State != market.OrderOpen:
		p.endBid(bid)
		p.forgetOrder(id)
		return p.dropBid(id)
	case bid.State == market.BidOpen:
		return p.keepBid(ctx, order, bid)
	default:
		return p.considerOrder(ctx, order, bid)
	}
}

// serving reports whether a lease is known to be ours.
func (p *Provider) serving(id market.LeaseID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.records[id].Won()
}

// endBid tells the observer of a bid that came to nothing.
func (p *Provider) endBid(bid market.Bid) {
	p.mu.Lock()
	entry := p.orders[bid.ID.OrderID]
	p.mu.Unlock()
	if entry != nil && entry.bid != nil {
		p.observe(Event{Kind: EventBidEnded, Lease: bid.ID.Lease(), Price: bid.Price})
	}
}

// forgetOrder drops what is remembered of an order that is not open any more.
func (p *Provider) forgetOrder(id market.OrderID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.orders, id)
}

// entry returns what is remembered of an order, and whether it is new.
func (p *Provider) entry(id market.OrderID) (e *orderEntry, fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.orders[id]
	if !ok {
		e = &orderEntry{seenAt: time.Now()}
		p.orders[id] = e
	}
	return e, !ok
}

func (p *Provider) isStale(e *orderEntry) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return e.stale
}

// considerOrder decides on an open order without a bid of ours, and bids. What
// the bid promises is reserved and on disk before the market hears of it. before is
// a bid of ours that was withdrawn, if there was one: the market lets it be renewed,
// not raised.
func (p *Provider) considerOrder(ctx context.Context, order market.Order, before market.Bid) error {
	entry, fresh := p.entry(order.ID)
	if fresh {
		p.observe(Event{Kind: EventOrderSeen, Lease: market.LeaseID{OrderID: order.ID}})
	}
	if p.isStale(entry) {
		return p.dropBid(order.ID)
	}
	s, err := p.snapshot(ctx)
	if err != nil {
		return err
	}
	s.Inventory = bidengine.PlacerFunc(func(market.GroupSpec) (inventory.Placement, []inventory.Reason) {
		return p.reserve(order)
	})
	s.Addresses = func() []bidengine.Reason { return p.reserveAddresses(order, p.bidReservation()) }
	decision, reasons := bidengine.Decide(ctx, order, s)
	if ctx.Err() != nil {
		return ctx.Err() // not the pricer's fault
	}
	if len(reasons) > 0 {
		return p.decline(order.ID, entry, reasons)
	}
	if decision, err = notAbove(decision, before, order.Spec); err != nil {
		return err
	}
	return p.bid(ctx, order, entry, decision)
}

// notAbove is a decision that asks no more than the bid that it renews.
func notAbove(d bidengine.Decision, before market.Bid, spec market.GroupSpec) (bidengine.Decision, error) {
	if before.State != market.BidWithdrawn || before.Price.Denom != d.Price.Denom {
		return d, nil
	}
	if len(d.Units) == 0 {
		if before.Price.AmountPerBlock.Cmp(d.Price.AmountPerBlock) < 0 {
			d.Price = before.Price
		}
		return d, nil
	}
	for i, u := range before.Units {
		if i < len(d.Units) && u.AmountPerBlock.Cmp(d.Units[i].AmountPerBlock) < 0 {
			d.Units[i].AmountPerBlock = u.AmountPerBlock
		}
	}
	var err error
	d.Price, err = spec.PriceOf(d.Price.Denom, d.Units)
	return d, err
}

// bid puts a bid on the market.
func (p *Provider) bid(ctx context.Context, order market.Order, entry *orderEntry, d bidengine.Decision) error {
	msg := market.CreateBid{ID: market.BidID{OrderID: order.ID, Provider: p.me}, Price: d.Price, Units: d.Units, Deposit: d.Deposit}
	_, err := p.changeRecord(msg.ID.Lease(), true, func(r *Record) {
		r.Placement, r.BidAt = d.Placement, time.Now().UTC()
	})
	if err != nil {
		return err
	}
	if err := p.bids.submit(ctx, msg); err != nil {
		return p.bidRefused(order.ID, entry, err)
	}
	p.mu.Lock()
	entry.declined, entry.bid = nil, &market.Bid{ID: msg.ID, State: market.BidOpen, Price: msg.Price, Deposit: msg.Deposit}
	after := time.Since(entry.seenAt)
	p.mu.Unlock()
	p.observe(Event{Kind: EventBid, Lease: msg.ID.Lease(), Price: d.Price, After: after})
	p.queue.addAfter(orderTask(order.ID), p.cfg.BidTimeout)
	return nil
}

// bidRefused sorts the market's refusal of a bid: final for this order, or
// worth another try.
func (p *Provider) bidRefused(id market.OrderID, entry *orderEntry, err error) error {
	var rule *market.RuleError
	if !errors.As(err, &rule) {
		// It may have been carried out all the same: the reservation stays until
		// the market has been asked again.
		return fmt.Errorf("provider: bid on %s: %w", id, err)
	}
	if errors.Is(err, market.ErrExists) || errors.Is(err, market.ErrState) {
		return err // our view was old: look again, and keep the promise until then
	}
	if !errors.Is(err, market.ErrLimit) && !errors.Is(err, market.ErrInsufficientFunds) {
		p.mu.Lock()
		entry.stale = true // the market will not change its mind
		p.mu.Unlock()
	}
	return p.decline(id, entry, []bidengine.Reason{{Code: bidengine.Code(rule.Rule), Detail: rule.Detail}})
}

// decline notes why there is no bid. An order without a bid has no reservation,
// not even one left from a bid whose withdrawal was not heard of.
func (p *Provider) decline(id market.OrderID, entry *orderEntry, reasons []bidengine.Reason) error {
	p.mu.Lock()
	same := slices.Equal(entry.declined, reasons)
	entry.declined, entry.bid = reasons, nil
	p.mu.Unlock()
	if !same {
		p.cfg.Logger.Info("no bid", "order", id, "reasons", reasons)
		p.observe(Event{Kind: EventDeclined, Lease: market.LeaseID{OrderID: id}, Reasons: reasons})
	}
	return p.dropBid(id)
}

// dropBid gives back what a bid has promised, on disk and in the ledger. A lease
// that was won keeps it.
func (p *Provider) dropBid(id market.OrderID) error {
	lease := market.BidID{OrderID: id, Provider: p.me}.Lease()
	unlock := p.saving.lock(lease)
	defer unlock()
	p.mu.Lock()
	r, known := p.records[lease]
	p.mu.Unlock()
	if known && r.Won() {
		return nil
	}
	if err := p.dropAddresses(id); err != nil {
		return err
	}
	if known {
		if err := p.cfg.Store.Remove(lease); err != nil {
			return err
		}
	}
	p.mu.Lock()
	delete(p.records, lease)
	released := p.ledger.Release(id.String())
	p.mu.Unlock()
	if released && known {
		p.retryDeclined(bidengine.Reason.Capacity)
	}
	return nil
}

// keepBid keeps the reservation behind an open bid, and withdraws a bid that
// has stood too long or can no longer be kept.
func (p *Provider) keepBid(ctx context.Context, order market.Order, bid market.Bid) error {
	entry, _ := p.entry(order.ID)
	placement, reasons := p.reserve(order)
	refused := append(bidengine.FromInventory(reasons), p.reserveAddresses(order, p.bidReservation())...)
	r, err := p.changeRecord(bid.ID.Lease(), true, func(r *Record) {
		if len(placement.Assignments) > 0 {
			r.Placement = placement
		}
		if r.BidAt.IsZero() {
			r.BidAt = time.Now().UTC()
		}
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	entry.declined, entry.bid = nil, &bid
	p.mu.Unlock()
	left := p.cfg.BidTimeout - time.Since(r.BidAt)
	if left > 0 && len(refused) == 0 {
		p.queue.addAfter(orderTask(order.ID), left)
		return nil
	}
	return p.withdrawBid(ctx, bid, entry, left <= 0, refused)
}

// withdrawBid takes a bid back. A bid that has won meanwhile stays: the market
// ends no lease for a provider that gives no reason.
func (p *Provider) withdrawBid(ctx context.Context, bid market.Bid, entry *orderEntry, stale bool, reasons []bidengine.Reason) error {
	p.cfg.Logger.Info("withdrawing a bid", "bid", bid.ID, "stale", stale, "reasons", reasons)
	_, err := p.cfg.Market.Submit(ctx, market.CloseBid{ID: bid.ID, Reason: market.ReasonNone})
	if err != nil {
		// What it promised is kept until the market has been asked again.
		return fmt.Errorf("provider: withdraw bid %s: %w", bid.ID, err)
	}
	p.mu.Lock()
	entry.stale, entry.declined, entry.bid = stale, reasons, nil
	p.mu.Unlock()
	p.observe(Event{Kind: EventBidEnded, Lease: bid.ID.Lease(), Price: bid.Price, Reasons: reasons})
	return p.dropBid(bid.ID.OrderID)
}

// reserve promises the order's resources, or says why not. It is idempotent.
func (p *Provider) reserve(order market.Order) (inventory.Placement, []inventory.Reason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.hasNodes {
		held, _ := p.ledger.Placement(order.ID.String())
		return held, nil // before the first look at the cluster nothing can be judged
	}
	return p.ledger.Reserve(order.ID.String(), order.Spec)
}

// snapshot is what a decision is made on.
func (p *Provider) snapshot(ctx context.Context) (bidengine.Snapshot, error) {
	f, err := p.facts(ctx)
	if err != nil {
		return bidengine.Snapshot{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return bidengine.Snapshot{
		Provider: market.Provider{Owner: p.me, HostURI: p.cfg.HostURI, Attributes: p.cfg.Attributes.Sorted()},
		Audits:   f.audits,
		Params:   f.params,
		Funds:    append(market.Coins{}, f.funds...), // known, also when it is nothing
		Pricer:   p.cfg.Pricer,
		Now:      f.head.Time,
		Draining: p.draining.on,
		Notice:   p.draining.notice,
	}, nil
}

var _ bidengine.Placer = inventory.Snapshot{}
