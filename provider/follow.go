package provider

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// runMarket registers the provider, reads the state, and follows the news. When
// the news break off for good, for instance because the host has discarded the
// blocks in between, it reads the state again: nothing is lost by that.
func (p *Provider) runMarket(ctx context.Context) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		head, err := p.catchUp(ctx)
		if err != nil {
			return err
		}
		began := time.Now()
		err = p.watch(ctx, head.Height+1)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(began) > lastRetry {
			wait = firstRetry // it went well for a while
		}
		if final(err) {
			return fmt.Errorf("provider: watch: %w", err)
		}
		p.cfg.Logger.Warn("the market's news broke off, reading its state again", "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// catchUp reads the state of the market and has all of it looked at.
func (p *Provider) catchUp(ctx context.Context) (head market.Head, err error) {
	err = p.persist(ctx, "start", func() (err error) {
		if head, err = p.cfg.Market.Head(ctx); err != nil {
			return err
		}
		if err := p.register(ctx); err != nil {
			return err
		}
		if err := p.refreshNodes(ctx); err != nil {
			return err
		}
		if err := p.restore(ctx); err != nil {
			return err
		}
		return p.resync(ctx)
	})
	if err != nil {
		return head, err
	}
	p.mu.Lock()
	p.vitals.ready = true
	p.mu.Unlock()
	p.saw(market.Block{Height: head.Height, Time: head.Time})
	return head, nil
}

// watch follows the blocks from a height on until that is not possible any more.
func (p *Provider) watch(ctx context.Context, from int64) error {
	for block, err := range p.cfg.Market.Watch(ctx, from) {
		if err != nil {
			return err
		}
		p.saw(block)
		for _, e := range block.Events {
			p.news(e)
		}
	}
	return market.ErrUnavailable
}

// saw notes a block.
func (p *Provider) saw(b market.Block) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.height, p.vitals.blockAt = b.Height, time.Now()
	p.pace.add(b.Height, b.Time)
}

// restore has every promise that the market knows of in the ledger before new
// ones are made. Nearly all are there already, from the records.
func (p *Provider) restore(ctx context.Context) error {
	select {
	case <-p.restored:
		return nil
	default:
	}
	var orders []market.OrderID
	for l, err := range p.activeOnMarket(ctx) {
		if err != nil {
			return err
		}
		orders = append(orders, l.ID.OrderID)
	}
	for b, err := range p.bidsOnMarket(ctx) {
		if err != nil {
			return err
		}
		orders = append(orders, b.ID.OrderID)
	}
	for _, id := range orders {
		p.mu.Lock()
		_, held := p.ledger.Placement(id.String())
		p.mu.Unlock()
		if held {
			continue
		}
		order, err := p.cfg.Market.Order(ctx, id)
		if err != nil {
			return err
		}
		if _, refused := p.reserve(order); len(refused) > 0 {
			p.cfg.Logger.Error("a promise of before does not fit the inventory", "order", id, "reasons", refused)
		}
	}
	close(p.restored)
	return nil
}

// activeOnMarket lists our leases that are not closed.
func (p *Provider) activeOnMarket(ctx context.Context) iter.Seq2[market.Lease, error] {
	return market.All(func(page market.Page) ([]market.Lease, string, error) {
		return p.cfg.Market.Leases(ctx, market.LeaseFilter{Provider: p.me, Live: true}, page)
	})
}

// bidsOnMarket lists our open bids.
func (p *Provider) bidsOnMarket(ctx context.Context) iter.Seq2[market.Bid, error] {
	return market.All(func(page market.Page) ([]market.Bid, string, error) {
		return p.cfg.Market.Bids(ctx, market.BidFilter{Provider: p.me, State: market.BidOpen}, page)
	})
}

// news turns an event of the market into something to look at.
func (p *Provider) news(e market.Event) {
	switch e.Kind {
	case market.EventOrderCreated, market.EventOrderClosed:
		p.queue.add(orderTask(e.ID.OrderID))
	case market.EventBidCreated, market.EventBidClosed:
		p.bidNews(e)
	case market.EventLeaseClosing, market.EventScaleRequested, market.EventScaleConfirmed, market.EventScaleDropped:
		if e.ID.Provider == p.me {
			p.queue.add(leaseTask(e.ID))
		}
	case market.EventLeaseCreated, market.EventLeaseClosed:
		p.queue.add(orderTask(e.ID.OrderID))
		if e.ID.Provider == p.me {
			p.queue.add(leaseTask(e.ID))
		}
	case market.EventDeploymentClosed, market.EventAccountDeposited, market.EventAccountOverdrawn,
		market.EventDeploymentUpdated:
		for _, id := range p.leasesOf(e.ID.DeploymentID) {
			p.queue.add(leaseTask(id))
		}
	case market.EventRetainerOpened, market.EventRetainerClosed:
		if e.Retainer.Provider == p.me {
			p.nudgeParking()
		}
	case market.EventDeploymentCreated, market.EventGroupStarted, market.EventGroupPaused, market.EventGroupClosed,
		market.EventPaymentWithdrawn, market.EventProviderChanged, market.EventCertificateChanged, market.EventAuditChanged,
		market.EventRetainerDeposited, market.EventRetainerWithdrawn:
		// They change no order or lease of ours by themselves.
	}
}

// bidNews looks at an order whose bids have changed, if that can concern us: ours
// did, or there was no room for ours.
func (p *Provider) bidNews(e market.Event) {
	ours := e.ID.Provider == p.me
	p.mu.Lock()
	entry := p.orders[e.ID.OrderID]
	full := entry != nil && slices.ContainsFunc(entry.declined, func(r bidengine.Reason) bool {
		return r.Code == bidengine.OrderFull || r.Code == "order-bids"
	})
	p.mu.Unlock()
	if ours || full && e.Kind == market.EventBidClosed {
		p.queue.add(orderTask(e.ID.OrderID))
	}
	if ours && e.Kind == market.EventBidClosed {
		p.retryDeclined(bidengine.Reason.Deposit)
	}
}

// persist calls f until it succeeds or fails for good. An error that no rule
// stands behind, such as an answer that was lost, is worth another look.
func (p *Provider) persist(ctx context.Context, what string, f func() error) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := f()
		if err == nil || final(err) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.cfg.Logger.Warn("not ready, trying again", "step", what, "wait", wait, "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// passing reports whether an error may go away by itself.
func passing(err error) bool {
	var transient *driver.TransientError
	return errors.Is(err, market.ErrUnavailable) || errors.As(err, &transient)
}

// final reports whether doing the same again cannot help.
func final(err error) bool {
	var rule *market.RuleError
	return errors.As(err, &rule) || errors.Is(err, market.ErrInvalid) ||
		errors.Is(err, market.ErrUnauthorized) || errors.Is(err, market.ErrInsufficientFunds)
}

// register puts the provider's facts on the market if they are not there.
func (p *Provider) register(ctx context.Context) error {
	want := market.Provider{
		Owner: p.me, HostURI: p.cfg.HostURI, Attributes: p.cfg.Attributes.Sorted(),
		Email: p.cfg.Email, Website: p.cfg.Website,
	}
	have, err := p.cfg.Market.Provider(ctx, p.me)
	var msg market.Msg = market.UpdateProvider{Provider: want}
	switch {
	case errors.Is(err, market.ErrNotFound):
		msg = market.CreateProvider{Provider: want}
	case err != nil:
		return err
	case have.HostURI == want.HostURI && slices.Equal(have.Attributes, want.Attributes) &&
		have.Email == want.Email && have.Website == want.Website:
		msg = nil
	}
	if msg != nil {
		if _, err := p.cfg.Market.Submit(ctx, msg); err != nil {
			return fmt.Errorf("provider: register: %w", err)
		}
	}
	p.observe(Event{Kind: EventRegistered})
	return nil
}

// resync puts everything on the market, in the store and on the cluster that
// could concern us into the queue.
func (p *Provider) resync(ctx context.Context) error {
	for l, err := range p.activeOnMarket(ctx) {
		if err != nil {
			return err
		}
		p.queue.add(leaseTask(l.ID))
	}
	running, err := p.cfg.Cluster.List(ctx)
	if err != nil {
		return err
	}
	for _, id := range append(running, p.knownLeases()...) {
		p.queue.add(leaseTask(id))
	}
	for b, err := range p.bidsOnMarket(ctx) {
		if err != nil {
			return err
		}
		p.queue.add(orderTask(b.ID.OrderID))
	}
	for _, id := range p.knownOrders() {
		p.queue.add(orderTask(id))
	}
	orders := func(page market.Page) ([]market.Order, string, error) {
		return p.cfg.Market.Orders(ctx, market.OrderFilter{State: market.OrderOpen}, page)
	}
	for o, err := range market.All(orders) {
		if err != nil {
			return err
		}
		p.queue.add(orderTask(o.ID))
	}
	return nil
}

// knownOrders are those that we have promised something for without a lease, or
// remember as open.
func (p *Provider) knownOrders() []market.OrderID {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []market.OrderID
	for id, r := range p.records {
		if !r.Won() {
			out = append(out, id.OrderID)
		}
	}
	for id := range p.orders {
		out = append(out, id)
	}
	return out
}
