package lease_test

import (
	"fmt"

	"github.com/moorage-dev/moorage/lease"
	"github.com/moorage-dev/moorage/market"
)

// An account pays a lease of 0.9 per block, settled whenever somebody looks,
// and gives the rest back.
func Example() {
	id := market.DeploymentID{Owner: "tenant", DSeq: 1}
	stream := market.LeaseID{OrderID: market.OrderID{GroupID: market.GroupID{DeploymentID: id, GSeq: 1}, OSeq: 1}, Provider: "provider"}
	perBlock, _ := market.ParseDecimal("0.9")

	book := lease.Open(id, 100)
	_ = book.Deposit(100, "tenant", market.NewCoin("uakt", 1000))
	_ = book.Start(100, stream, market.Price{Denom: "uakt", AmountPerBlock: perBlock})
	fmt.Println("funds run out at", book.RunsOutAt())

	for height := int64(101); height < 200; height++ {
		_ = book.Settle(height)
	}
	out, _ := book.Withdraw(200, stream, 250)
	fmt.Println("provider gets", out.Net, "the market", out.Fee)

	_, out, _ = book.Stop(210, stream, 250)
	refunds, _ := book.Close(210)
	fmt.Println("provider gets", out.Net, "and", refunds[0].Depositor, "gets back", refunds[0].Balance)
	// Output:
	// funds run out at 1213
	// provider gets 88uakt the market 2uakt
	// provider gets 9uakt and tenant gets back 901uakt
}
