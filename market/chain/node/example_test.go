package node_test

import (
	"context"
	"fmt"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/app"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/market/chain/keys"
	"github.com/moorage-dev/moorage/market/chain/node"
)

// A chain in memory, with one account, in the process that uses it. A program
// calls app.ConfigureAddresses first.
func Example() {
	alice := keys.New("alice")
	n, err := node.New(node.Config{
		BlockInterval: 50 * time.Millisecond,
		Genesis: app.Genesis{
			ChainID: "lab-1", Market: market.DefaultParams("uakt"),
			Accounts: []app.Account{{Address: alice.Address(), Coins: market.Coins{market.NewCoin("uakt", 5_000_000)}}},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	select {
	case <-n.Ready():
	case err := <-done:
		fmt.Println(err)
		return
	}
	conn, err := n.Dial()
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := client.New(conn, client.Config{Signer: alice})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = c.Submit(ctx, market.CreateProvider{Provider: market.Provider{Owner: alice.Address(), HostURI: "https://alice.example"}})
	fmt.Println("submitted:", err)
	p, err := c.Provider(ctx, alice.Address())
	fmt.Println(p.HostURI, err)
	_ = conn.Close()
	stop()
	fmt.Println("ended:", <-done)
	// Output:
	// submitted: <nil>
	// https://alice.example <nil>
	// ended: <nil>
}
