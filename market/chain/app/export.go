package app

import (
	"encoding/json"
	"fmt"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	genutiltypes "github.com/cosmos/cosmos-sdk/x/genutil/types"
	"github.com/cosmos/cosmos-sdk/x/staking"
)

// Export reads the newest committed state as a genesis from which a chain can
// go on at the next height. Call it while no
// block is being made.
func (a *App) Export(chainID string) (out *genutiltypes.AppGenesis, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("app: export: %v", r)
		}
	}()
	height := a.LastBlockHeight()
	if height == 0 {
		return nil, fmt.Errorf("app: export: no block is committed yet")
	}
	ctx := a.NewContextLegacy(true, cmtproto.Header{ChainID: chainID, Height: height})
	state, err := a.modules.ExportGenesis(ctx, a.codec)
	if err != nil {
		return nil, fmt.Errorf("app: export: %w", err)
	}
	raw, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("app: export: %w", err)
	}
	validators, err := staking.WriteValidators(ctx, a.keepers.staking)
	if err != nil {
		return nil, fmt.Errorf("app: export: validators: %w", err)
	}
	params := consensusParams(a.GetConsensusParams(ctx))
	return &genutiltypes.AppGenesis{
		AppName: Name, AppVersion: appVersion, ChainID: chainID, InitialHeight: height + 1, AppState: raw,
		Consensus: &genutiltypes.ConsensusGenesis{Validators: validators, Params: &params},
	}, nil
}
