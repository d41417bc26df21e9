package keeper

import (
	"context"
	"fmt"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
	"github.com/moorage-dev/moorage/market/machine"
)

// Migrate1to2 brings the store from version 1 to version 2, which knows scaling,
// notice, lists of providers and retainers. Rows stay as they are: what is new
// in them is absent. Parameters that version 1 did not have get the values that
// a new market starts with. What was unpaid when a payment closed was lost in
// version 1, and stays lost: from now on it would be a debt. Indexes that version 1
// did not keep are made.
func (k *Keeper) Migrate1to2(ctx context.Context) error {
	store := k.config.Store.OpenKVStore(ctx)
	raw, err := store.Get([]byte{prefixParams})
	if err != nil {
		return err
	}
	var old marketpb.Params
	if err := old.Unmarshal(raw); err != nil {
		return fmt.Errorf("keeper: migrate: parameters: %w", err)
	}
	fresh := market.DefaultParams()
	old.ScaleBlocks = fresh.ScaleBlocks
	old.MaxReclaimBlocks = fresh.MaxReclaimBlocks
	old.Limits.MaxListed = fresh.Limits.MaxListed
	old.Limits.MaxGroupBytes = fresh.Limits.MaxGroupBytes
	params, err := marketpb.ToParams(old)
	if err != nil {
		return fmt.Errorf("keeper: migrate: parameters: %w", err)
	}
	if err := k.forgetLosses(ctx); err != nil {
		return fmt.Errorf("keeper: migrate: payments: %w", err)
	}
	if err := machine.Reindex(k.State(ctx)); err != nil {
		return fmt.Errorf("keeper: migrate: indexes: %w", err)
	}
	return k.SetParams(ctx, params)
}

// forgetLosses sets what is unpaid of closed payments to nothing.
func (k *Keeper) forgetLosses(ctx context.Context) error {
	var lost []market.Payment
	err := k.payments.Walk(ctx, nil, func(_ market.LeaseID, p market.Payment) (bool, error) {
		if p.State.Terminal() && !p.Unpaid.IsZero() {
			lost = append(lost, p)
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	for _, p := range lost {
		p.Unpaid, p.OverdrawnAt = market.Amount{}, 0
		if err := k.payments.Set(ctx, p.ID, p); err != nil {
			return err
		}
	}
	return nil
}
