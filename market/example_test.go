package market_test

import (
	"errors"
	"fmt"

	"github.com/moorage-dev/moorage/market"
)

// Prices are exact: three blocks at 0.9 are 2 whole units and 0.7 carried on.
func ExampleDecimal_Accrue() {
	price, err := market.ParseDecimal("0.9")
	if err != nil {
		fmt.Println(err)
		return
	}
	whole, carry, err := price.Accrue(market.Decimal{}, 3)
	fmt.Println(whole, carry, err)
	whole, carry, err = price.Accrue(carry, 1)
	fmt.Println(whole, carry, err)
	// Output:
	// 2 0.7 <nil>
	// 1 0.6 <nil>
}

// IDs are values with one text form.
func ExampleParseOrderID() {
	id, err := market.ParseOrderID("tenant/123/1/2")
	fmt.Println(id.Owner, id.DSeq, id.GSeq, id.OSeq, err)
	_, err = market.ParseOrderID("tenant/0/1/2")
	fmt.Println(err)
	// Output:
	// tenant 123 1 2 <nil>
	// market: order id "tenant/0/1/2": invalid: want owner/dseq/gseq/oseq
}

// A refusal names the rule that was broken.
func ExampleRuleError() {
	err := market.GroupSpec{Name: "web"}.Validate(market.DefaultParams("uakt").Limits)
	var refusal *market.RuleError
	if errors.As(err, &refusal) {
		fmt.Println(refusal.Rule, errors.Is(err, market.ErrLimit))
	}
	// Output: group-units true
}
