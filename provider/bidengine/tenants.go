package bidengine

import (
	"context"
	"fmt"
	"math/big"

	"github.com/moorage-dev/moorage/market"
)

// Tenants puts lists of tenants before another strategy: whom to serve, whom
// not, and who pays less or more. The zero lists serve everybody alike.
type Tenants struct {
	// Pricer sets the price of those who are served.
	Pricer Pricer
	// Deny are tenants that are not served ([TenantDenied]).
	Deny map[market.Address]bool
	// Allow, unless it is nil, are the only tenants that are served
	// ([TenantNotAllowed]). Deny comes first.
	Allow map[market.Address]bool
	// Percent is what a tenant pays of the price, in whole percent: 80 is a
	// discount of a fifth. A tenant that is not in it pays all of it. 0 is
	// [ErrNoPrice]: the market takes no bid for nothing.
	Percent map[market.Address]uint32
}

var _ Pricer = Tenants{}

// Price implements [Pricer].
func (t Tenants) Price(ctx context.Context, r Request) (market.Decimal, error) {
	tenant := r.Order.ID.Owner
	switch {
	case t.Deny[tenant]:
		return market.Decimal{}, &RefusalError{Reason{TenantDenied, "this provider does not serve this tenant"}}
	case t.Allow != nil && !t.Allow[tenant]:
		return market.Decimal{}, &RefusalError{Reason{TenantNotAllowed, "this provider serves only tenants that its operator knows"}}
	}
	price, err := t.Pricer.Price(ctx, r)
	percent, special := t.Percent[tenant]
	if err != nil || !special {
		return price, err
	}
	if percent == 0 {
		return market.Decimal{}, fmt.Errorf("%w: 0 %% of the price", ErrNoPrice)
	}
	return portion(price, uint64(percent), 100)
}

// portion returns d × n / of, rounded up to 18 decimals.
func portion(d market.Decimal, n, of uint64) (market.Decimal, error) {
	raw := d.Raw()
	raw.Mul(raw, new(big.Int).SetUint64(n))
	raw.Add(raw, new(big.Int).SetUint64(of-1))
	raw.Quo(raw, new(big.Int).SetUint64(of))
	out, ok := market.DecimalFromRaw(raw)
	if !ok {
		return market.Decimal{}, fmt.Errorf("bidengine: price: %w", market.ErrOverflow)
	}
	return out, nil
}

// Percent asks a part or a multiple of what another strategy asks, in whole
// percent above 0, rounded up to 18 decimals.
func Percent(p Pricer, percent uint32) Pricer {
	return PricerFunc(func(ctx context.Context, r Request) (market.Decimal, error) {
		price, err := p.Price(ctx, r)
		if err != nil {
			return price, err
		}
		return portion(price, uint64(percent), 100)
	})
}
