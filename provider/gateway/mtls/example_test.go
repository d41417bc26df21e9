package mtls_test

import (
	"context"
	"fmt"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/mtls"
)

// published is a registry with the certificates of one message.
type published struct{ msg market.CreateCertificate }

func (p published) Certificate(_ context.Context, id market.CertificateID) (market.Certificate, error) {
	return market.Certificate{ID: id, State: market.CertificateValid, DER: p.msg.DER}, nil
}

func Example() {
	now := time.Now()
	cert, err := mtls.Generate(mtls.Request{Owner: "akash1tenant"}, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	msg, err := mtls.Message(cert) // what the owner submits to the market
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier, err := mtls.NewVerifier(published{msg}, mtls.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	owner, err := verifier.Verify(context.Background(), cert.Leaf, mtls.ClientUse, now)
	fmt.Println(owner, err)
	_, err = verifier.Verify(context.Background(), cert.Leaf, mtls.ClientUse, now.AddDate(2, 0, 0))
	fmt.Println(err != nil)
	// Output:
	// akash1tenant <nil>
	// true
}
