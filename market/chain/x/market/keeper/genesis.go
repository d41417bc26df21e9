package keeper

import (
	"context"
	"fmt"

	"github.com/moorage-dev/moorage/market/chain/marketpb"
	"github.com/moorage-dev/moorage/market/machine"
)

// InitGenesis writes a state into an empty store and checks it against the
// module account's balance, so that a chain never begins with money missing.
func (k *Keeper) InitGenesis(ctx context.Context, g *marketpb.GenesisState) error {
	k.config.Accounts.GetModuleAccount(ctx, ModuleName) // makes the account
	params, state, err := marketpb.ToGenesis(g)
	if err != nil {
		return fmt.Errorf("keeper: genesis: %w", err)
	}
	if err := k.params.Set(ctx, params); err != nil {
		return err
	}
	if err := machine.Import(k.State(ctx), state); err != nil {
		return fmt.Errorf("keeper: genesis: %w", err)
	}
	return k.Check(ctx)
}

// ExportGenesis reads the whole state.
func (k *Keeper) ExportGenesis(ctx context.Context) (*marketpb.GenesisState, error) {
	params, err := k.params.Get(ctx)
	if err != nil {
		return nil, err
	}
	state, err := machine.Export(k.State(ctx))
	if err != nil {
		return nil, err
	}
	return marketpb.FromGenesis(params, state), nil
}
