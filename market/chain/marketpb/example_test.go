package marketpb_test

import (
	"errors"
	"fmt"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
)

func ExampleParseError() {
	refused := market.Refuse(market.ErrMismatch, "bid-price-over-ceiling", "price 3 is over 2")
	log := "failed to execute message; message index: 0: " + marketpb.WireError(refused).Error()

	err, ours := marketpb.ParseError(log)
	fmt.Println(ours, errors.Is(err, market.ErrMismatch))
	if rule, ok := errors.AsType[*market.RuleError](err); ok {
		fmt.Println(rule.Rule)
	}
	// Output:
	// true true
	// bid-price-over-ceiling
}
