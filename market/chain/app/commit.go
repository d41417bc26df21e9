package app

import (
	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmttypes "github.com/cometbft/cometbft/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
)

// Commit implements the method of [baseapp.BaseApp]. While it runs, the new state
// can be queried already, but simulations would still run on the old one: they
// wait, see [App.Simulate]. Commit waits for nobody.
func (a *App) Commit() (*abci.ResponseCommit, error) {
	done := make(chan struct{})
	a.committing.Store(&done)
	defer func() {
		a.committing.Store(nil)
		close(done)
	}()
	return a.BaseApp.Commit()
}

// Simulate carries a transaction out without keeping the result, on a state that
// is at least as new as any that was queried before.
func (a *App) Simulate(tx []byte) (sdk.GasInfo, *sdk.Result, error) {
	if done := a.committing.Load(); done != nil {
		<-*done
	}
	return a.BaseApp.Simulate(tx)
}

// consensusParams translates parameters; sections that were never set have the
// defaults.
func consensusParams(p cmtproto.ConsensusParams) cmttypes.ConsensusParams {
	fallback := cmttypes.DefaultConsensusParams().ToProto()
	if p.Block == nil {
		p.Block = fallback.Block
	}
	if p.Evidence == nil {
		p.Evidence = fallback.Evidence
	}
	if p.Validator == nil {
		p.Validator = fallback.Validator
	}
	if p.Version == nil {
		p.Version = fallback.Version
	}
	return cmttypes.ConsensusParamsFromProto(p)
}
