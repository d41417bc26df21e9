package keeper

import (
	"context"
	"fmt"

	"github.com/moorage-dev/moorage/market"
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
	if err := checkSettled(state, max(1, moment(ctx).Height)); err != nil {
		return err
	}
	if err := k.params.Set(ctx, params); err != nil {
		return err
	}
	if err := machine.Import(k.State(ctx), state); err != nil {
		return fmt.Errorf("keeper: genesis: %w", err)
	}
	return k.Check(ctx)
}

// checkSettled refuses a state that is settled beyond the height at which it is to
// go on: nothing could be done with its accounts until that height.
func checkSettled(g machine.Genesis, height int64) error {
	bad := func(what any, at int64) error {
		return fmt.Errorf("keeper: genesis: %v is settled up to %d, the chain begins at %d: %w", what, at, height, market.ErrInvalid)
	}
	for _, a := range g.Accounts {
		if a.SettledAt > height {
			return bad(a.ID, a.SettledAt)
		}
	}
	for _, r := range g.Retainers {
		if r.SettledAt > height {
			return bad(r.ID, r.SettledAt)
		}
	}
	return nil
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
