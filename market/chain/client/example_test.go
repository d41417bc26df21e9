package client_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/market/chain/keys"
)

// Nothing listens here, so the submission is certain not to have happened.
func ExampleClient_Submit() {
	conn, err := client.Dial("127.0.0.1:1", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = conn.Close() }()
	alice := keys.New("alice")
	c, err := client.New(conn, client.Config{Signer: alice, GasPrice: "0.025uakt"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err = c.Submit(ctx, market.DeleteProvider{Owner: alice.Address()})
	fmt.Println(errors.Is(err, market.ErrUnavailable), errors.Is(err, client.ErrOutcomeUnknown))
	// Output: true false
}
