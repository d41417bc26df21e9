package script_test

import (
	"context"
	"fmt"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/provider/bidengine/script"
)

// A program answers with one number.
func Example() {
	pricer, err := script.New(script.Config{Path: "/bin/sh", Args: []string{"-c", "echo 12.5"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	price, err := pricer.Price(context.Background(), bidengine.Request{Denom: "uact", Ceiling: market.NewDecimal(100)})
	fmt.Println(price, err)
	// Output: 12.5 <nil>
}
