package provider

import (
	"context"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/market"
)

// facts are what decisions need of the market besides the order. They are read
// once per block, however many orders are decided on.
type facts struct {
	head   market.Head
	params market.Params
	audits []market.Audit
	// funds are what the provider's account could spend.
	funds market.Coins
}

// factsCache keeps the facts of the newest block.
type factsCache struct {
	reading keyedMutex[string] // one reader at a time; it is held during the call-out

	mu    sync.Mutex // guards all below
	at    int64      // the height watched when the facts were read
	facts facts
	known bool
}

// facts returns what was read at the newest block that the provider has seen, or
// reads it.
func (p *Provider) facts(ctx context.Context) (facts, error) {
	defer p.cache.reading.lock("")()
	at := p.seenHeight()
	p.cache.mu.Lock()
	f, fresh := p.cache.facts, p.cache.known && p.cache.at >= at
	p.cache.mu.Unlock()
	if fresh {
		return f, nil
	}
	f, err := p.readFacts(ctx)
	if err != nil {
		return facts{}, err
	}
	p.cache.mu.Lock()
	defer p.cache.mu.Unlock()
	p.cache.facts, p.cache.at, p.cache.known = f, max(at, f.head.Height), true
	return f, nil
}

func (p *Provider) readFacts(ctx context.Context) (f facts, err error) {
	m := p.cfg.Market
	if f.head, err = m.Head(ctx); err != nil {
		return facts{}, err
	}
	if f.params, err = m.Params(ctx); err != nil {
		return facts{}, err
	}
	if f.funds, err = m.Balances(ctx, p.me); err != nil {
		return facts{}, err
	}
	list := func(page market.Page) ([]market.Audit, string, error) {
		return m.Audits(ctx, market.AuditFilter{Provider: p.me}, page)
	}
	for a, err := range market.All(list) {
		if err != nil {
			return facts{}, err
		}
		f.audits = append(f.audits, a)
	}
	return f, nil
}

// seenHeight is the newest block that was watched.
func (p *Provider) seenHeight() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.height
}

// usualBlockTime stands for the time between blocks until two were seen.
const usualBlockTime = 6 * time.Second

// paceBlocks is over how many blocks the time between blocks is measured.
const paceBlocks = 128

// pace measures the time between blocks.
type pace struct {
	seen  [paceBlocks]market.Head
	count int
}

// add notes a block.
func (c *pace) add(height int64, at time.Time) {
	c.seen[c.count%paceBlocks] = market.Head{Height: height, Time: at}
	c.count++
}

// blockTime is the mean time between the blocks seen last.
func (c *pace) blockTime() time.Duration {
	if c.count < 2 {
		return usualBlockTime
	}
	newest := c.seen[(c.count-1)%paceBlocks]
	oldest := c.seen[max(0, c.count-paceBlocks)%paceBlocks]
	blocks := newest.Height - oldest.Height
	if between := newest.Time.Sub(oldest.Time); blocks > 0 && between > 0 {
		return between / time.Duration(blocks)
	}
	return usualBlockTime
}
