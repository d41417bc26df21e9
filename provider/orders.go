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
		p.forgetOrder(id, true)
		return nil
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
		p.forgetOrder(id, false)
		p.queue.add(leaseTask(bid.ID.Lease()))
		return nil
	case order.State != market.OrderOpen:
		p.endBid(bid)
		p.forgetOrder(id, !p.serving(bid.ID.Lease())) // a workload keeps its room until it is gone
		return nil
	case bid.State == market.BidOpen:
		return p.keepBid(ctx, order, bid)
	default:
		return p.considerOrder(ctx, order)
	}
}

// serving reports whether there is a record of the lease.
func (p *Provider) serving(id market.LeaseID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.records[id]
	return ok
}

// endBid tells the observer of a bid that came to nothing.
func (p *Provider) endBid(bid market.Bid) {
	p.mu.Lock()
	entry := p.orders[bid.ID.OrderID]
	p.mu.Unlock()
	if entry != nil && !entry.bidSeenAt.IsZero() {
		p.observe(Event{Kind: EventBidEnded, Lease: bid.ID.Lease(), Price: bid.Price})
	}
}

// forgetOrder drops what is remembered of an order, and its reservation.
func (p *Provider) forgetOrder(id market.OrderID, release bool) {
	p.mu.Lock()
	delete(p.orders, id)
	released := release && p.ledger.Release(id.String())
	p.mu.Unlock()
	if released {
		p.retryDeclined()
	}
}

// entry returns what is remembered of an order, and whether it is new.
func (p *Provider) entry(id market.OrderID) (e *orderEntry, fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.orders[id]
	if !ok {
		e = &orderEntry{}
		p.orders[id] = e
	}
	return e, !ok
}

// considerOrder decides on an open order without a bid of ours, and bids.
func (p *Provider) considerOrder(ctx context.Context, order market.Order) error {
	entry, fresh := p.entry(order.ID)
	if fresh {
		p.observe(Event{Kind: EventOrderSeen, Lease: market.LeaseID{OrderID: order.ID}})
	}
	if entry.stale {
		return nil
	}
	p.mu.Lock()
	p.ledger.Release(order.ID.String()) // there is no bid: nothing is promised yet
	p.mu.Unlock()
	s, err := p.snapshot(ctx)
	if err != nil {
		return err
	}
	decision, reasons := bidengine.Decide(ctx, order, s)
	if len(reasons) == 0 {
		_, reasons = p.reserve(order)
	}
	if len(reasons) > 0 {
		p.decline(order.ID, entry, reasons)
		return nil
	}
	msg := market.CreateBid{ID: market.BidID{OrderID: order.ID, Provider: p.me}, Price: decision.Price, Deposit: decision.Deposit}
	if _, err := p.cfg.Market.Submit(ctx, msg); err != nil {
		return p.bidRefused(order.ID, entry, err)
	}
	p.mu.Lock()
	entry.declined, entry.bidSeenAt = nil, time.Now()
	p.mu.Unlock()
	p.observe(Event{Kind: EventBid, Lease: msg.ID.Lease(), Price: decision.Price})
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
	code := bidengine.Code(rule.Rule)
	p.decline(id, entry, []bidengine.Reason{{Code: code, Detail: rule.Detail}})
	switch {
	case errors.Is(err, market.ErrExists) || errors.Is(err, market.ErrState):
		return err // our view was old: look again
	case !errors.Is(err, market.ErrLimit) && !errors.Is(err, market.ErrInsufficientFunds):
		p.mu.Lock()
		entry.stale = true // the market will not change its mind
		p.mu.Unlock()
	}
	return nil
}

// decline notes why there is no bid. An order without a bid has no reservation,
// not even one left from a bid whose withdrawal was not heard of.
func (p *Provider) decline(id market.OrderID, entry *orderEntry, reasons []bidengine.Reason) {
	p.mu.Lock()
	same := slices.Equal(entry.declined, reasons)
	entry.declined, entry.bidSeenAt = reasons, time.Time{}
	p.ledger.Release(id.String())
	p.mu.Unlock()
	if !same {
		p.cfg.Logger.Info("no bid", "order", id, "reasons", reasons)
		p.observe(Event{Kind: EventDeclined, Lease: market.LeaseID{OrderID: id}, Reasons: reasons})
	}
}

// keepBid keeps the reservation behind an open bid, and withdraws a bid that
// has stood too long or can no longer be kept.
func (p *Provider) keepBid(ctx context.Context, order market.Order, bid market.Bid) error {
	entry, _ := p.entry(order.ID)
	p.mu.Lock()
	if entry.bidSeenAt.IsZero() {
		entry.bidSeenAt = time.Now()
	}
	left := p.cfg.BidTimeout - time.Since(entry.bidSeenAt)
	p.mu.Unlock()
	_, reasons := p.reserve(order)
	if left > 0 && len(reasons) == 0 {
		p.queue.addAfter(orderTask(order.ID), left)
		return nil
	}
	p.cfg.Logger.Info("withdrawing a bid", "bid", bid.ID, "stale", left <= 0, "reasons", reasons)
	_, err := p.cfg.Market.Submit(ctx, market.CloseBid{ID: bid.ID, Reason: market.ReasonUnspecified})
	if err != nil && !errors.Is(err, market.ErrState) {
		return fmt.Errorf("provider: withdraw bid %s: %w", bid.ID, err)
	}
	p.mu.Lock()
	entry.stale, entry.declined, entry.bidSeenAt = left <= 0, reasons, time.Time{}
	p.ledger.Release(order.ID.String())
	p.mu.Unlock()
	p.observe(Event{Kind: EventBidEnded, Lease: bid.ID.Lease(), Price: bid.Price, Reasons: reasons})
	p.retryDeclined()
	return nil
}

// reserve promises the order's resources, or says why not. It is idempotent.
func (p *Provider) reserve(order market.Order) (inventory.Placement, []bidengine.Reason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.hasNodes {
		held, _ := p.ledger.Placement(order.ID.String())
		return held, nil // before the first look at the cluster nothing can be judged
	}
	placement, refused := p.ledger.Reserve(order.ID.String(), order.Spec)
	return placement, bidengine.FromInventory(refused)
}

// snapshot is what a decision is made on.
func (p *Provider) snapshot(ctx context.Context) (bidengine.Snapshot, error) {
	params, err := p.cfg.Market.Params(ctx)
	if err != nil {
		return bidengine.Snapshot{}, err
	}
	head, err := p.cfg.Market.Head(ctx)
	if err != nil {
		return bidengine.Snapshot{}, err
	}
	var audits []market.Audit
	list := func(page market.Page) ([]market.Audit, string, error) {
		return p.cfg.Market.Audits(ctx, p.me, page)
	}
	for a, err := range market.All(list) {
		if err != nil {
			return bidengine.Snapshot{}, err
		}
		audits = append(audits, a)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return bidengine.Snapshot{
		Provider:  market.Provider{Owner: p.me, HostURI: p.cfg.HostURI, Attributes: p.cfg.Attributes.Sorted()},
		Audits:    audits,
		Params:    params,
		Inventory: p.ledger.Snapshot(),
		Pricer:    p.cfg.Pricer,
		Now:       head.Time,
		Draining:  p.draining,
	}, nil
}

var _ bidengine.Placer = inventory.Snapshot{}
