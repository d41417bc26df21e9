package markettest_test

import (
	"context"
	"fmt"

	"github.com/moorage-dev/moorage/market/markettest"
	"github.com/moorage-dev/moorage/market/memmarket"
)

// Cases are functions that return errors: a host can be checked outside tests
// too. (The world of this example is in memmarket_test.go.)
func ExampleCases() {
	m, err := memmarket.New(memmarket.Config{Params: markettest.Params(), BlockPerSubmit: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	w := &world{market: m}
	for _, c := range markettest.Cases() {
		if err := c.Run(context.Background(), w); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println("checked:", m.Check())
	// Output: checked: <nil>
}
