package tenant

import (
	"context"
	"fmt"
	"time"

	"github.com/moorage-dev/moorage/market"
)

// Balance says what a deployment has cost so far, per denomination of its
// deposits.
type Balance struct {
	Deployment market.DeploymentID `json:"deployment"`
	State      market.AccountState `json:"state"`
	// Funds are still in escrow and unspent at the height of the last settlement.
	Funds market.Coins `json:"funds"`
	// Spent went to the providers' streams.
	Spent market.Coins `json:"spent"`
	// PerBlock is the sum of the prices of the leases that are not closed, zero when none.
	PerBlock market.Price `json:"per_block"`
	// BlocksLeft is how long the funds last at that price from Height on; -1 when
	// nothing is being spent.
	BlocksLeft int64 `json:"blocks_left"`
	// TimeLeft is BlocksLeft at the pace of the newest blocks; 0 when nothing is
	// being spent or the pace is not known.
	TimeLeft time.Duration `json:"time_left_ns"`
	Height   int64         `json:"height"`
}

// Balance reports the escrow account of a deployment.
func (t *Tenant) Balance(ctx context.Context, id market.DeploymentID) (Balance, error) {
	m := t.cfg.Market
	account, err := m.Account(ctx, id)
	if err != nil {
		return Balance{}, err
	}
	head, err := m.Head(ctx)
	if err != nil {
		return Balance{}, err
	}
	out := Balance{Deployment: id, State: account.State, Spent: account.Transferred, BlocksLeft: -1, Height: head.Height}
	if out.Funds, err = account.Funds(); err != nil {
		return Balance{}, err
	}
	leases, _, err := m.Leases(ctx, market.LeaseFilter{Owner: id.Owner, DSeq: id.DSeq, Live: true}, market.Page{Limit: market.MaxPageLimit})
	if err != nil {
		return Balance{}, err
	}
	for _, l := range leases {
		out.PerBlock.Denom = l.Price.Denom
		if out.PerBlock.AmountPerBlock, err = out.PerBlock.AmountPerBlock.Add(l.Price.AmountPerBlock); err != nil {
			return Balance{}, fmt.Errorf("tenant: balance: %w", err)
		}
	}
	out.BlocksLeft = blocksLeft(out.Funds.Of(out.PerBlock.Denom), out.PerBlock.AmountPerBlock, account.SettledAt, head.Height)
	if out.BlocksLeft > 0 {
		out.TimeLeft = t.lasting(ctx, head, out.BlocksLeft)
	}
	return out, nil
}

// paceBlocks is over how many of the newest blocks the pace is measured.
const paceBlocks = 100

// lasting is how long so many blocks take; 0 if that is not known, and never more
// than a time.Duration holds.
func (t *Tenant) lasting(ctx context.Context, head market.Head, blocks int64) time.Duration {
	pace := t.pace(ctx, head)
	if pace > 0 && blocks > int64(1<<63-1)/int64(pace) {
		return 1<<63 - 1
	}
	return pace * time.Duration(blocks)
}

// pace is the time between two of the newest blocks, 0 if that is not known.
func (t *Tenant) pace(ctx context.Context, head market.Head) time.Duration {
	for b, err := range t.cfg.Market.Watch(ctx, max(1, head.Height-paceBlocks)) {
		if err != nil || b.Height >= head.Height {
			return 0
		}
		return head.Time.Sub(b.Time) / time.Duration(head.Height-b.Height)
	}
	return 0
}

// blocksLeft is how many blocks after head the funds of the height settled
// last; -1 when nothing is spent.
func blocksLeft(funds market.Amount, perBlock market.Decimal, settled, head int64) int64 {
	if perBlock.IsZero() {
		return -1
	}
	raw, err := funds.Decimal()
	if err != nil {
		return 1<<63 - 1 // more than 3e20 units: for ever
	}
	blocks := raw.Raw()
	blocks.Quo(blocks, perBlock.Raw())
	if !blocks.IsInt64() {
		return 1<<63 - 1
	}
	return max(0, blocks.Int64()-(head-settled))
}
