package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
)

// runMarket registers the provider, reads the state, and follows the news.
func (p *Provider) runMarket(ctx context.Context) error {
	var head market.Head
	err := p.persist(ctx, "start", func() (err error) {
		if head, err = p.cfg.Market.Head(ctx); err != nil {
			return err
		}
		if err := p.register(ctx); err != nil {
			return err
		}
		if err := p.refreshNodes(ctx); err != nil {
			return err
		}
		return p.resync(ctx)
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.ready, p.height = true, head.Height
	p.mu.Unlock()
	for block, err := range p.cfg.Market.Watch(ctx, head.Height+1) {
		if err != nil {
			return fmt.Errorf("provider: watch: %w", err)
		}
		p.mu.Lock()
		p.height = block.Height
		p.mu.Unlock()
		for _, e := range block.Events {
			p.news(e)
		}
	}
	return ctx.Err()
}

// news turns an event of the market into something to look at.
func (p *Provider) news(e market.Event) {
	switch e.Kind {
	case market.EventOrderCreated, market.EventOrderClosed, market.EventBidCreated, market.EventBidClosed:
		p.queue.add(orderTask(e.ID.OrderID))
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
	case market.EventDeploymentCreated, market.EventGroupStarted, market.EventGroupPaused, market.EventGroupClosed,
		market.EventPaymentWithdrawn, market.EventProviderChanged, market.EventCertificateChanged, market.EventAuditChanged:
		// They change no order or lease of ours by themselves.
	}
}

// persist calls f until it succeeds or fails for good. An error that no rule
// stands behind, such as an answer that was lost, is worth another look.
func (p *Provider) persist(ctx context.Context, what string, f func() error) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := f()
		if err == nil || ctx.Err() != nil || final(err) {
			return err
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
	m := p.cfg.Market
	leases := func(page market.Page) ([]market.Lease, string, error) {
		return m.Leases(ctx, market.LeaseFilter{Provider: p.me, State: market.LeaseActive}, page)
	}
	for l, err := range market.All(leases) {
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
	bids := func(page market.Page) ([]market.Bid, string, error) {
		return m.Bids(ctx, market.BidFilter{Provider: p.me, State: market.BidOpen}, page)
	}
	for b, err := range market.All(bids) {
		if err != nil {
			return err
		}
		p.queue.add(orderTask(b.ID.OrderID))
	}
	orders := func(page market.Page) ([]market.Order, string, error) {
		return m.Orders(ctx, market.OrderFilter{State: market.OrderOpen}, page)
	}
	for o, err := range market.All(orders) {
		if err != nil {
			return err
		}
		p.queue.add(orderTask(o.ID))
	}
	return nil
}
