package provider

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/iplease"
	ipdriver "github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

var _ gateway.AddressKeeper = (*Provider)(nil)

// retainers lists the open retainers for parked addresses.
func (p *Provider) retainers(ctx context.Context, owner market.Address) (out []market.Retainer, err error) {
	list := func(page market.Page) ([]market.Retainer, string, error) {
		f := market.RetainerFilter{Owner: owner, Provider: p.me, State: market.RetainerOpen, Kind: api.RetainerKind}
		return p.cfg.Market.Retainers(ctx, f, page)
	}
	for r, err := range market.All(list) {
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// paid reports whether a retainer pays what is asked.
func (b *addressBook) paid(r market.Retainer) bool {
	return slices.ContainsFunc(b.cfg.ParkPrices, func(p market.Price) bool {
		return p.Denom == r.Price.Denom && p.AmountPerBlock.Cmp(r.Price.AmountPerBlock) <= 0
	})
}

// accepts reports whether a claim is kept for a retainer: it pays what is asked, or
// what was accepted when the claim was retained first.
func (b *addressBook) accepts(r market.Retainer, c iplease.Claim) bool {
	return b.paid(r) || c.Retained && c.RetainedPrice == r.Price
}

// reconcileParking has kept what is paid for, lets go what is not, and ends
// retainers that pay for nothing: their tenants have the rest of the money back.
func (p *Provider) reconcileParking(ctx context.Context) error {
	b := p.addresses
	open, err := p.retainers(ctx, "")
	if err != nil {
		return err
	}
	keep := map[iplease.ClaimID]market.Retainer{}
	var useless []market.Retainer
	for _, r := range open {
		id := iplease.ClaimID{Owner: r.ID.Owner, Name: r.ID.Name}
		if c := b.claim(id); c.State == iplease.Free || !b.accepts(r, c) {
			useless = append(useless, r)
			continue
		}
		keep[id] = r
	}
	err = b.change(func(t *iplease.Table) {
		for id, r := range keep {
			_ = t.Retain(id, r.ExpiresAt, r.Price) // it may have gone since: the next look ends the retainer
		}
		for _, c := range t.Retained() {
			if _, ok := keep[c.ID]; !ok {
				_ = t.Unretain(c.ID, time.Now())
			}
		}
	})
	for _, r := range useless {
		p.cfg.Logger.Info("a retainer pays for no address, or too little, and is ended", "retainer", r.ID)
		_, fault := p.cfg.Market.Submit(ctx, market.CloseRetainer{ID: r.ID, By: p.me})
		if !errors.Is(fault, market.ErrState) && !errors.Is(fault, market.ErrNotFound) {
			err = errors.Join(err, fault)
		}
	}
	return err
}

// nudgeParking has the parked addresses looked at soon.
func (p *Provider) nudgeParking() {
	if p.addresses == nil {
		return
	}
	select {
	case p.addresses.wake <- struct{}{}:
	default:
	}
}

// withdrawRetainers has the earnings of parked addresses paid out.
func (p *Provider) withdrawRetainers(ctx context.Context) error {
	open, err := p.retainers(ctx, "")
	for _, r := range open {
		_, fault := p.cfg.Market.Submit(ctx, market.WithdrawRetainer{ID: r.ID})
		if !errors.Is(fault, market.ErrState) && !errors.Is(fault, market.ErrNotFound) {
			err = errors.Join(err, fault)
		}
	}
	return err
}

// HeldIPs implements [gateway.AddressKeeper].
func (p *Provider) HeldIPs(_ context.Context, owner market.Address) (api.HeldIPs, error) {
	out := api.HeldIPs{IPs: []api.HeldIP{}, ParkPrices: []market.Price{}}
	b := p.addresses
	if b == nil {
		return out, nil
	}
	out.ParkPrices = append(out.ParkPrices, b.cfg.ParkPrices...)
	var claims []iplease.Claim
	b.look(func(t *iplease.Table) { claims = t.Claims(owner) })
	for _, c := range claims {
		if c.ID.Name != "" {
			out.IPs = append(out.IPs, heldIP(c))
		}
	}
	return out, nil
}

func heldIP(c iplease.Claim) api.HeldIP {
	out := api.HeldIP{
		Endpoint: c.ID.Name, Addresses: c.Addresses(), State: c.State.String(), Retained: c.Retained, RetainedUntil: c.RetainedUntil,
	}
	if c.State == iplease.Bound {
		holder := c.Holder
		out.Holder = &holder
	}
	if c.State == iplease.Cooling {
		out.Until = c.Until.UTC()
	}
	return out
}

// held returns a tenant's claim that is there.
func (p *Provider) held(owner market.Address, name string) (iplease.Claim, error) {
	if p.addresses == nil {
		return iplease.Claim{}, fmt.Errorf("provider: leased addresses: %w", errors.ErrUnsupported)
	}
	c := p.addresses.claim(iplease.ClaimID{Owner: owner, Name: name})
	if c.State == iplease.Free {
		return c, market.Refuse(market.ErrNotFound, api.RuleEndpointNotHeld, "you hold no endpoint %.70q at this provider", name)
	}
	return c, nil
}

// ParkIP implements [gateway.AddressKeeper]: it looks at the market for the
// retainer that pays for the address, without waiting for the news of it.
func (p *Provider) ParkIP(ctx context.Context, owner market.Address, name string) (api.HeldIP, error) {
	c, err := p.held(owner, name)
	if err != nil {
		return api.HeldIP{}, err
	}
	b := p.addresses
	if len(b.cfg.ParkPrices) == 0 {
		return api.HeldIP{}, market.Refuse(market.ErrState, api.RuleParkNotOffered, "this provider parks no addresses")
	}
	r, err := p.cfg.Market.Retainer(ctx, market.RetainerID{Owner: owner, Provider: p.me, Kind: api.RetainerKind, Name: name})
	if err != nil && !errors.Is(err, market.ErrNotFound) {
		return api.HeldIP{}, err
	}
	if err != nil || r.State != market.RetainerOpen || !b.accepts(r, c) {
		return api.HeldIP{}, market.Refuse(market.ErrState, api.RuleParkNotPaid,
			"parking %s takes a retainer of kind %q and this name, of at least %s", name, api.RetainerKind, b.cfg.ParkPrices[0])
	}
	var gone error
	if err := b.change(func(t *iplease.Table) { gone = t.Retain(c.ID, r.ExpiresAt, r.Price) }); err != nil {
		return api.HeldIP{}, err
	}
	return heldIP(b.claim(c.ID)), gone
}

// ReleaseIP implements [gateway.AddressKeeper]: nothing is kept any more. A parked
// address cools; one that a deployment has will when that closes. The retainer is
// ended.
func (p *Provider) ReleaseIP(ctx context.Context, owner market.Address, name string) (api.HeldIP, error) {
	c, err := p.held(owner, name)
	if err != nil {
		return api.HeldIP{}, err
	}
	id := market.RetainerID{Owner: owner, Provider: p.me, Kind: api.RetainerKind, Name: name}
	r, err := p.cfg.Market.Retainer(ctx, id)
	if err == nil && r.State == market.RetainerOpen {
		_, err = p.cfg.Market.Submit(ctx, market.CloseRetainer{ID: id, By: p.me})
	}
	if err != nil && !errors.Is(err, market.ErrNotFound) && !errors.Is(err, market.ErrState) {
		return api.HeldIP{}, err
	}
	var gone error
	if err := p.addresses.change(func(t *iplease.Table) { gone = t.Unretain(c.ID, time.Now()) }); err != nil {
		return api.HeldIP{}, err
	}
	return heldIP(p.addresses.claim(c.ID)), gone
}

// LimitSources implements [gateway.AddressKeeper].
func (p *Provider) LimitSources(ctx context.Context, owner market.Address, name string, limit api.SourceLimit) error {
	c, err := p.held(owner, name)
	if err != nil {
		return err
	}
	if can, ok := p.addresses.cfg.Announcer.(ipdriver.SourceFilterer); !ok || can.CanFilterSources() != nil {
		return fmt.Errorf("provider: this network cannot hold a port to some clients: %w", errors.ErrUnsupported)
	}
	var proto iplease.Protocol
	if err := proto.UnmarshalText([]byte(limit.Proto)); err != nil {
		return err
	}
	var sources []netip.Prefix
	if len(limit.Sources) > 0 {
		sources = limit.Sources
	}
	var refused error
	err = p.addresses.change(func(t *iplease.Table) { refused = t.SetSources(c.ID, proto, limit.ExternalPort, sources) })
	if err = errors.Join(err, refused); err != nil {
		return err
	}
	for _, lease := range c.Leases() {
		p.queue.add(leaseTask(lease))
	}
	return p.syncClaim(ctx, c.ID)
}
