package gateway_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/client"
	"github.com/moorage-dev/moorage/provider/gateway/gatewaytest"
	"github.com/moorage-dev/moorage/provider/gateway/mtls"
)

// chain is a market registry in a map; a program would use a market client.
type chain map[market.CertificateID]market.Certificate

func (c chain) Certificate(_ context.Context, id market.CertificateID) (market.Certificate, error) {
	cert, ok := c[id]
	if !ok {
		return cert, market.ErrNotFound
	}
	return cert, nil
}

func (c chain) publish(msg market.CreateCertificate, id market.CertificateID) {
	c[id] = market.Certificate{ID: id, State: market.CertificateValid, DER: msg.DER}
}

func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	registry := chain{}

	// Both sides make a certificate and publish it on the market.
	providerCert, _ := mtls.Generate(mtls.Request{Owner: "provider1"}, time.Now())
	tenantCert, _ := mtls.Generate(mtls.Request{Owner: "tenant1"}, time.Now())
	providerMsg, _ := mtls.Message(providerCert)
	providerID, _ := mtls.ID(providerCert.Leaf)
	registry.publish(providerMsg, providerID)
	tenantMsg, _ := mtls.Message(tenantCert)
	tenantID, _ := mtls.ID(tenantCert.Leaf)
	registry.publish(tenantMsg, tenantID)

	// The provider opens its gateway.
	lease := gatewaytest.Lease("tenant1")
	verifier, _ := mtls.NewVerifier(registry, mtls.Config{})
	g, err := gateway.New(gateway.Config{
		Provider: "provider1", Backend: gatewaytest.NewBackend(lease), Certificates: verifier,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error, 1)
	go func() { served <- g.Serve(ctx, listener, providerCert) }()

	// The tenant asks, and runs a command.
	c, err := client.New(client.Config{
		Provider: "provider1", HostURI: "https://" + listener.Addr().String(), Market: registry, Certificate: tenantCert,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	status, err := c.LeaseStatus(ctx, lease)
	fmt.Println(status.Phase, err)
	code, err := c.Exec(ctx, lease, driver.Exec{Service: "web", Command: []string{"echo", "hello"}, Stdout: os.Stdout})
	fmt.Println(code, err)

	stop()
	fmt.Println(<-served)
	// Output:
	// active <nil>
	// hello
	// 0 <nil>
	// <nil>
}
