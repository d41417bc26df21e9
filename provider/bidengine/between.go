package bidengine

import (
	"context"
	"fmt"
	"math/big"
	"math/rand/v2"
	"sync"

	"github.com/moorage-dev/moorage/market"
)

// Between asks a random price in the band between what two strategies ask, both
// ends included, but not more than the tenant pays as long as the lower end
// allows that. It spreads the bids of providers that are otherwise alike. Make
// it with [NewBetween].
type Between struct {
	low, high Pricer
	source    source
}

var _ Pricer = (*Between)(nil)

// NewBetween makes a band; both strategies are asked for each price. The same source gives the same prices for the same
// requests in the same order; it is used by the Between alone from now on.
func NewBetween(low, high Pricer, rng *rand.Rand) *Between {
	return &Between{low: low, high: high, source: source{rng: rng}}
}

// Price implements [Pricer]. A band whose lower end is above its upper end is an
// error.
func (b *Between) Price(ctx context.Context, r Request) (market.Decimal, error) {
	low, err := b.low.Price(ctx, r)
	if err != nil {
		return market.Decimal{}, err
	}
	high, err := b.high.Price(ctx, r)
	if err != nil {
		return market.Decimal{}, err
	}
	return b.source.within(low, high, r.Ceiling)
}

// Spread asks up to so much more than another strategy does, at random, but not
// more than the tenant pays as long as that strategy's price allows it. The
// strategy is asked once per request. Make it with [NewSpread].
type Spread struct {
	pricer  Pricer
	percent uint32
	source  source
}

var _ Pricer = (*Spread)(nil)

// NewSpread makes a spread of at most so many percent. The same source gives the
// same prices for the same requests in the same order; it is used by the Spread
// alone from now on.
func NewSpread(p Pricer, percent uint32, rng *rand.Rand) *Spread {
	return &Spread{pricer: p, percent: percent, source: source{rng: rng}}
}

// Price implements [Pricer].
func (s *Spread) Price(ctx context.Context, r Request) (market.Decimal, error) {
	low, err := s.pricer.Price(ctx, r)
	if err != nil {
		return market.Decimal{}, err
	}
	high, err := portion(low, 100+uint64(s.percent), 100)
	if err != nil {
		return market.Decimal{}, err
	}
	return s.source.within(low, high, r.Ceiling)
}

// source draws numbers. Safe for concurrent use.
type source struct {
	mu  sync.Mutex // guards rng
	rng *rand.Rand
}

// within draws a price from low to high, or to the ceiling if that lies between.
func (b *source) within(low, high, ceiling market.Decimal) (market.Decimal, error) {
	if low.Cmp(high) > 0 {
		return market.Decimal{}, fmt.Errorf("bidengine: the band begins at %s and ends at %s", low, high)
	}
	if high.Cmp(ceiling) > 0 && low.Cmp(ceiling) <= 0 {
		high = ceiling
	}
	raw := b.draw(new(big.Int).Sub(high.Raw(), low.Raw()))
	out, ok := market.DecimalFromRaw(raw.Add(raw, low.Raw()))
	if !ok {
		return market.Decimal{}, fmt.Errorf("bidengine: price: %w", market.ErrOverflow)
	}
	return out, nil
}

// draw returns a number from 0 to most, each as likely as the others.
func (b *source) draw(most *big.Int) *big.Int {
	b.mu.Lock()
	defer b.mu.Unlock()
	limit := new(big.Int).Add(most, big.NewInt(1))
	words := (limit.BitLen() + 63) / 64
	mask := new(big.Int).Lsh(big.NewInt(1), uint(limit.BitLen()))
	mask.Sub(mask, big.NewInt(1))
	for {
		n := new(big.Int)
		for range words {
			n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(b.rng.Uint64()))
		}
		if n.And(n, mask); n.Cmp(limit) < 0 {
			return n
		}
	}
}
