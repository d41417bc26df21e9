package client

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"time"

	cmtv1beta1 "cosmossdk.io/api/cosmos/base/tendermint/v1beta1"
	abciv1 "cosmossdk.io/api/tendermint/abci"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
)

// txHash names a transaction.
type txHash [sha256.Size]byte

// String returns the name as explorers show it.
func (h txHash) String() string { return fmt.Sprintf("%X", h[:]) }

// block is what the client needs of one height.
type block struct {
	height int64
	time   time.Time
	txs    map[txHash]result
	events []market.Event
}

// maxRecent bounds the blocks that are kept for others who wait for the same.
const maxRecent = 64

// blockCache keeps recent blocks, and makes sure that each is read once.
type blockCache struct {
	mu     sync.Mutex
	blocks map[int64]*fetching
}

type fetching struct {
	done  chan struct{}
	block *block
	err   error
}

// blockAt reads a block that is committed.
func (c *Client) blockAt(ctx context.Context, height int64) (*block, error) {
	f, mine := c.recent.begin(height)
	if mine {
		f.block, f.err = c.readBlock(ctx, height)
		c.recent.end(height, f)
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f.err != nil && !mine {
		return c.readBlock(ctx, height) // the other's context may have ended
	}
	return f.block, f.err
}

func (b *blockCache) begin(height int64) (f *fetching, mine bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f, ok := b.blocks[height]; ok {
		return f, false
	}
	if b.blocks == nil {
		b.blocks = make(map[int64]*fetching)
	}
	f = &fetching{done: make(chan struct{})}
	b.blocks[height] = f
	return f, true
}

func (b *blockCache) end(height int64, f *fetching) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(f.done)
	if f.err != nil {
		delete(b.blocks, height)
	}
	for h := range b.blocks {
		if len(b.blocks) <= maxRecent {
			break
		}
		if h < height-maxRecent || h > height+maxRecent {
			delete(b.blocks, h)
		}
	}
}

// readBlock asks for a block and its results.
func (c *Client) readBlock(ctx context.Context, height int64) (*block, error) {
	raw, err := c.blocks.GetBlockByHeight(ctx, &cmtv1beta1.GetBlockByHeightRequest{Height: height})
	if err != nil {
		return nil, fromStatus(fmt.Sprintf("block %d", height), err)
	}
	res, err := c.blocks.GetBlockResults(ctx, &cmtv1beta1.GetBlockResultsRequest{Height: height})
	if err != nil {
		return nil, fromStatus(fmt.Sprintf("results of block %d", height), err)
	}
	txs := raw.GetSdkBlock().GetData().GetTxs()
	if len(txs) != len(res.GetTxsResults()) {
		return nil, fmt.Errorf("client: block %d: %w: %d transactions and %d results", height, errNode, len(txs), len(res.GetTxsResults()))
	}
	b := &block{height: height, time: raw.GetSdkBlock().GetHeader().GetTime().AsTime(), txs: make(map[txHash]result, len(txs))}
	for i, r := range res.GetTxsResults() {
		b.txs[sha256.Sum256(txs[i])] = result{r.GetCode(), r.GetCodespace(), r.GetLog()}
		if r.GetCode() == 0 {
			b.events = appendEvents(b.events, r.GetEvents())
		}
	}
	b.events = appendEvents(b.events, res.GetFinalizeBlockEvents())
	return b, nil
}

// appendEvents appends the events that are the market's.
func appendEvents(to []market.Event, raw []*abciv1.Event) []market.Event {
	for _, e := range raw {
		if !strings.HasPrefix(e.GetType_(), marketpb.EventPrefix) {
			continue
		}
		attributes := make([]marketpb.EventAttribute, len(e.GetAttributes()))
		for i, a := range e.GetAttributes() {
			attributes[i] = marketpb.EventAttribute{Key: a.GetKey(), Value: a.GetValue()}
		}
		if event, ok := marketpb.ToEvent(e.GetType_(), attributes); ok {
			to = append(to, event)
		}
	}
	return to
}
