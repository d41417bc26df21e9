package bidengine

import (
	"context"
	"errors"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
)

// ErrNoPrice is what a [Pricer] wraps when it has no price for a request: the
// order is not bid on, for that reason.
var ErrNoPrice = errors.New("bidengine: no price")

// RefusalError is an error with which a [Pricer] refuses an order for a reason of its
// own: no bid is made, and the reason is shown like any other.
type RefusalError struct{ Reason Reason }

// Error implements error.
func (e *RefusalError) Error() string { return "bidengine: no bid: " + e.Reason.String() }

// Pricer sets prices. It may be called concurrently.
type Pricer interface {
	// Price returns what the provider asks for the whole group for one block, in
	// the request's denomination, above 0. The engine compares it with the
	// order's ceiling; a Pricer need not.
	Price(ctx context.Context, r Request) (market.Decimal, error)
}

// Request is what there is to price. It is not to be changed.
type Request struct {
	Order market.Order
	// Denom is the denomination to price in.
	Denom string
	// Ceiling is the most the tenant pays per block.
	Ceiling market.Decimal
	// Placement says where the group would run, with the cards it would get.
	Placement inventory.Placement
}

// PricerFunc makes a function a [Pricer].
type PricerFunc func(ctx context.Context, r Request) (market.Decimal, error)

// Price implements [Pricer].
func (f PricerFunc) Price(ctx context.Context, r Request) (market.Decimal, error) { return f(ctx, r) }
