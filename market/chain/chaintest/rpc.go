package chaintest

import (
	"context"
	"fmt"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/p2p"
	coretypes "github.com/cometbft/cometbft/rpc/core/types"
	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/cosmos/cosmos-sdk/client"
)

// rpc answers what the SDK's services ask CometBFT. The embedded interface is
// nil: what is not answered here is not asked in a test.
type rpc struct {
	client.CometRPC
	chain *Chain
}

// Status implements [client.CometRPC].
func (r rpc) Status(context.Context) (*coretypes.ResultStatus, error) {
	c := r.chain
	c.mu.Lock()
	defer c.mu.Unlock()
	return &coretypes.ResultStatus{
		NodeInfo: p2p.DefaultNodeInfo{Network: c.config.Genesis.ChainID, Moniker: "chaintest"},
		SyncInfo: coretypes.SyncInfo{LatestBlockHeight: c.height, LatestBlockTime: c.time, EarliestBlockHeight: c.first},
	}, nil
}

// at returns a block; nil is the newest. The lock is held.
func (c *Chain) at(height *int64) (made, error) {
	h := c.height
	if height != nil {
		h = *height
	}
	if h < c.first || h > c.height {
		return made{}, fmt.Errorf("chaintest: height %d is not available, lowest height is %d, highest %d", h, c.first, c.height)
	}
	return c.blocks[h-c.first], nil
}

// Block implements [client.CometRPC].
func (r rpc) Block(_ context.Context, height *int64) (*coretypes.ResultBlock, error) {
	r.chain.mu.Lock()
	defer r.chain.mu.Unlock()
	m, err := r.chain.at(height)
	if err != nil {
		return nil, err
	}
	return &coretypes.ResultBlock{BlockID: cmttypes.BlockID{Hash: m.block.Hash()}, Block: m.block}, nil
}

// BlockResults implements [client.CometRPC].
func (r rpc) BlockResults(_ context.Context, height *int64) (*coretypes.ResultBlockResults, error) {
	r.chain.mu.Lock()
	defer r.chain.mu.Unlock()
	m, err := r.chain.at(height)
	if err != nil {
		return nil, err
	}
	return &coretypes.ResultBlockResults{
		Height: m.block.Height, TxsResults: m.results.TxResults, FinalizeBlockEvents: m.results.Events,
		ValidatorUpdates: m.results.ValidatorUpdates, AppHash: m.results.AppHash,
	}, nil
}

// BroadcastTxSync implements [client.CometRPC]: the transaction is checked and
// pooled, and unless the chain is manual, a block is made of it.
func (r rpc) BroadcastTxSync(ctx context.Context, tx cmttypes.Tx) (*coretypes.ResultBroadcastTx, error) {
	c := r.chain
	c.mu.Lock()
	defer c.mu.Unlock()
	checked, err := c.abci.CheckTx(ctx, &abci.RequestCheckTx{Tx: tx, Type: abci.CheckTxType_New})
	if err != nil {
		return nil, err
	}
	if checked.Code == 0 {
		c.pool = append(c.pool, tx)
		if !c.config.Manual {
			err = c.makeBlock()
		}
	}
	return &coretypes.ResultBroadcastTx{
		Code: checked.Code, Codespace: checked.Codespace, Log: checked.Log, Data: checked.Data, Hash: tx.Hash(),
	}, err
}
