package keeper

import (
	"context"
	"fmt"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
)

// Migrate1to2 brings the store from version 1 to version 2, which knows scaling,
// notice, lists of providers and retainers. Rows stay as they are: what is new
// in them is absent. Parameters that version 1 did not have get the values that
// a new market starts with.
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
	params, err := marketpb.ToParams(old)
	if err != nil {
		return fmt.Errorf("keeper: migrate: parameters: %w", err)
	}
	return k.SetParams(ctx, params)
}
