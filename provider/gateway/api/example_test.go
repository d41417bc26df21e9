package api_test

import (
	"errors"
	"fmt"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

func ExampleFromError() {
	err := market.Refuse(market.ErrMismatch, "manifest-hash", "the manifest is not the one on the market")
	e := api.FromError(err)
	fmt.Println(e.Status, e.Code, e.Rule)
	fmt.Println(errors.Is(e, market.ErrMismatch))
	// Output:
	// 422 mismatch manifest-hash
	// true
}
