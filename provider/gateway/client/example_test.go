package client_test

import (
	"fmt"

	"github.com/moorage-dev/moorage/provider/gateway/client"
	"github.com/moorage-dev/moorage/provider/gateway/gatewaytest"
)

func ExampleNew() {
	_, err := client.New(client.Config{
		Provider: "provider1", HostURI: "http://gateway.example:8443", Market: gatewaytest.NewRegistry(),
	})
	fmt.Println(err != nil) // gateways are reached over https alone
	// Output: true
}
