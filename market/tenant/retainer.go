package tenant

import (
	"context"
	"fmt"

	"github.com/moorage-dev/moorage/market"
)

// Retain begins a standing payment to a provider for keeping something while no
// lease does, and returns it as it stands. A zero owner means the tenant; a zero
// deposit the least the market takes, in the denomination of the price.
func (t *Tenant) Retain(ctx context.Context, msg market.OpenRetainer) (market.Retainer, error) {
	m := t.cfg.Market
	if msg.ID.Owner == "" {
		msg.ID.Owner = m.Address()
	}
	var err error
	if msg.Deposit, err = t.affordable(ctx, msg.Deposit, msg.Price.Denom); err != nil {
		return market.Retainer{}, err
	}
	if _, err := m.Submit(ctx, msg); err != nil {
		return market.Retainer{}, fmt.Errorf("tenant: open retainer: %w", err)
	}
	return m.Retainer(ctx, msg.ID)
}

// Release ends a retainer of the tenant and returns it as it ended; what was
// left came back.
func (t *Tenant) Release(ctx context.Context, id market.RetainerID) (market.Retainer, error) {
	m := t.cfg.Market
	if _, err := m.Submit(ctx, market.CloseRetainer{ID: id, By: m.Address()}); err != nil {
		return market.Retainer{}, fmt.Errorf("tenant: close retainer: %w", err)
	}
	return m.Retainer(ctx, id)
}

// Retainers returns the tenant's open retainers, sorted by ID.
func (t *Tenant) Retainers(ctx context.Context) ([]market.Retainer, error) {
	m := t.cfg.Market
	f := market.RetainerFilter{Owner: m.Address(), State: market.RetainerOpen}
	var out []market.Retainer
	for r, err := range market.All(func(p market.Page) ([]market.Retainer, string, error) { return m.Retainers(ctx, f, p) }) {
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}
